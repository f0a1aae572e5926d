/* The UTF-8 decoder. See utf8.h for the contract.
 *
 * Characters of three bytes (Chinese, Japanese, Korean, most of the world's scripts) come in long runs: the vector loop takes eight
 * of them at a time, and leaves everything else, invalid bytes too, to the plain loop.
 */
#include "utf8.h"

#if defined(__x86_64__) && (defined(__GNUC__) || defined(__clang__))
#define WSCORE_X86 1
#include <immintrin.h>
#endif

/* So many bytes are counted in a byte each; a number that the compiler knows, and vectors divide. */
#define COUNTED 128

static inline size_t measure(const unsigned char *src, size_t n, unsigned char *largest) {
    unsigned char leads = 0, most = 0;
    for (size_t i = 0; i < n; i++) {
        leads = (unsigned char)(leads + ((src[i] & 0xC0) != 0x80));
        most = src[i] > most ? src[i] : most;
    }
    if (most > *largest) *largest = most;
    return leads;
}

size_t utf8_measure(const unsigned char *src, size_t n, unsigned char *largest) {
    size_t count = 0, i = 0;
    *largest = 0;
    for (; n - i >= COUNTED; i += COUNTED) count += measure(src + i, COUNTED, largest);
    return count + measure(src + i, n - i, largest);
}

static inline int continues(unsigned char byte) { return (byte & 0xC0) == 0x80; }

/* The plain loop for each width. What VECTORS decodes at a time is left to it as long as it can; it is empty but for one width. */
#define DECODER(NAME, ITEM, VECTORS)                                                                                      \
    static int NAME(const unsigned char *p, const unsigned char *end, ITEM *out) {                                        \
        while (p < end) {                                                                                                 \
            unsigned char lead = *p;                                                                                      \
            if (lead < 0x80) {                                                                                            \
                *out++ = (ITEM)lead;                                                                                      \
                p += 1;                                                                                                   \
            } else if (lead < 0xE0) {                                                                                     \
                if (lead < 0xC2 || end - p < 2 || !continues(p[1])) return -1;                                            \
                *out++ = (ITEM)(((lead & 0x1Fu) << 6) | (p[1] & 0x3Fu));                                                  \
                p += 2;                                                                                                   \
            } else if (lead < 0xF0) {                                                                                     \
                VECTORS                                                                                                   \
                if (end - p < 3 || !continues(p[1]) || !continues(p[2])) return -1;                                       \
                uint32_t c = ((lead & 0x0Fu) << 12) | ((p[1] & 0x3Fu) << 6) | (p[2] & 0x3Fu);                             \
                if (c < 0x800 || (c & 0xF800) == 0xD800) return -1;                                                       \
                *out++ = (ITEM)c;                                                                                         \
                p += 3;                                                                                                   \
            } else {                                                                                                      \
                if (end - p < 4 || !continues(p[1]) || !continues(p[2]) || !continues(p[3])) return -1;                   \
                uint32_t c = ((lead & 0x07u) << 18) | ((p[1] & 0x3Fu) << 12) | ((p[2] & 0x3Fu) << 6) | (p[3] & 0x3Fu);    \
                if (lead > 0xF4 || c < 0x10000 || c > 0x10FFFF) return -1;                                                \
                *out++ = (ITEM)c;                                                                                         \
                p += 4;                                                                                                   \
            }                                                                                                             \
        }                                                                                                                 \
        return 0;                                                                                                         \
    }

DECODER(decode_ucs1, uint8_t, )
DECODER(decode_ucs2, uint16_t, )
DECODER(decode_ucs4, uint32_t, )

#ifdef WSCORE_X86
/* Decodes eight characters of three bytes from 28 readable bytes; 0 where the first 24 are anything else. */
__attribute__((target("avx2"))) static inline int eight_of_three(const unsigned char *p, uint16_t *out) {
    const __m256i order = _mm256_setr_epi8(2, 1, 0, -1, 5, 4, 3, -1, 8, 7, 6, -1, 11, 10, 9, -1,
                                           2, 1, 0, -1, 5, 4, 3, -1, 8, 7, 6, -1, 11, 10, 9, -1);
    __m128i low = _mm_loadu_si128((const __m128i *)(const void *)p);
    __m128i high = _mm_loadu_si128((const __m128i *)(const void *)(p + 12));
    __m256i v = _mm256_shuffle_epi8(_mm256_inserti128_si256(_mm256_castsi128_si256(low), high, 1), order);
    /* Each lane of 32 bits now holds one character, its lead byte highest. */
    __m256i c = _mm256_or_si256(
        _mm256_or_si256(_mm256_and_si256(v, _mm256_set1_epi32(0x3F)),
                        _mm256_and_si256(_mm256_srli_epi32(v, 2), _mm256_set1_epi32(0xFC0))),
        _mm256_and_si256(_mm256_srli_epi32(v, 4), _mm256_set1_epi32(0xF000)));
    __m256i shape = _mm256_cmpeq_epi32(_mm256_and_si256(v, _mm256_set1_epi32(0x00F0C0C0)), _mm256_set1_epi32(0x00E08080));
    __m256i shortest = _mm256_cmpgt_epi32(c, _mm256_set1_epi32(0x7FF));
    __m256i surrogate = _mm256_cmpeq_epi32(_mm256_and_si256(c, _mm256_set1_epi32(0xF800)), _mm256_set1_epi32(0xD800));
    __m256i good = _mm256_andnot_si256(surrogate, _mm256_and_si256(shape, shortest));
    if (_mm256_movemask_epi8(good) != -1) return 0;
    __m256i packed = _mm256_permute4x64_epi64(_mm256_packus_epi32(c, c), 0x08);
    _mm_storeu_si128((__m128i *)(void *)out, _mm256_castsi256_si128(packed));
    return 1;
}

#define EIGHT_OF_THREE                                                                                                    \
    if (end - p >= 28 && eight_of_three(p, out)) {                                                                        \
        p += 24;                                                                                                          \
        out += 8;                                                                                                         \
        continue;                                                                                                         \
    }
__attribute__((target("avx2"))) DECODER(decode_ucs2_avx2, uint16_t, EIGHT_OF_THREE)
#endif

static int (*best_ucs2)(const unsigned char *, const unsigned char *, uint16_t *) = decode_ucs2;

void utf8_use_vectors(int wanted) {
    best_ucs2 = decode_ucs2;
#ifdef WSCORE_X86
    __builtin_cpu_init();
    if (wanted && __builtin_cpu_supports("avx2")) best_ucs2 = decode_ucs2_avx2;
#else
    (void)wanted;
#endif
}

int utf8_to_ucs1(const unsigned char *src, size_t n, uint8_t *dst) { return decode_ucs1(src, src + n, dst); }
int utf8_to_ucs2(const unsigned char *src, size_t n, uint16_t *dst) { return best_ucs2(src, src + n, dst); }
int utf8_to_ucs4(const unsigned char *src, size_t n, uint32_t *dst) { return decode_ucs4(src, src + n, dst); }
