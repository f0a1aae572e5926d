/* The masking kernels. See xor_mask.h for the contract.
 *
 * All vector kernels have one shape: the last vector of the input, which overlaps the one before it, is loaded first (an
 * in-place call would otherwise read bytes already masked), then full vectors from the front, then the tail is stored. The
 * tail starts at an offset that need not be a multiple of four, so its key is the word rotated by that offset. A long input has
 * a head for the same reason: its vectors begin where the destination is aligned, and the head overlaps the first of them.
 */
#include "xor_mask.h"

#if defined(__x86_64__) && (defined(__GNUC__) || defined(__clang__))
#define WSCORE_X86 1
#include <immintrin.h>
#elif defined(_M_X64) && !defined(_M_ARM64EC)
#define WSCORE_SSE2_ONLY 1
#include <emmintrin.h>
#elif defined(__aarch64__) || defined(_M_ARM64)
#define WSCORE_NEON 1
#include <arm_neon.h>
#endif

static unsigned mask_word(unsigned char *dst, const unsigned char *src, size_t n, uint32_t key) {
    uint64_t key8 = xor_mask_twice(key), seen;
    if (n < 8) return xor_mask(mask_word, dst, src, n, key);
    uint64_t tail = xor_mask_load(src + n - 8) ^ xor_mask_twice(xor_mask_rotated(key, n - 8));
    seen = tail;
    size_t i = 0;
    for (; n - i >= 32; i += 32) {
        uint64_t a = xor_mask_load(src + i) ^ key8, b = xor_mask_load(src + i + 8) ^ key8;
        uint64_t c = xor_mask_load(src + i + 16) ^ key8, d = xor_mask_load(src + i + 24) ^ key8;
        memcpy(dst + i, &a, 8);
        memcpy(dst + i + 8, &b, 8);
        memcpy(dst + i + 16, &c, 8);
        memcpy(dst + i + 24, &d, 8);
        seen |= a | b | c | d;
    }
    for (; n - i > 8; i += 8) {
        uint64_t a = xor_mask_load(src + i) ^ key8;
        memcpy(dst + i, &a, 8);
        seen |= a;
    }
    memcpy(dst + n - 8, &tail, 8);
    return (seen & UINT64_C(0x8080808080808080)) ? 0x80 : 0;
}

/* From this many bytes on, aligned stores gain more than it costs to begin at such an address. */
#define ALIGN_FROM 4096

/* From this many bytes on, 512 bits at once. A processor needs some microseconds before it runs such instructions at full
 * speed, and again after each pause; a message now and then never gets there, and slows what comes after it.
 */
#define WIDE_FROM 16384

/* One body for every vector width. Four vectors a turn: enough for the loads to overlap. */
#define VECTOR_KERNEL(NAME, TARGET, V, WIDTH, FROM, SMALLER, LOAD, STORE, SPLAT, XOR, OR, HIGH)                          \
    TARGET static unsigned NAME(unsigned char *dst, const unsigned char *src, size_t n, uint32_t key) {                  \
        if (n < FROM) return SMALLER(dst, src, n, key);                                                                  \
        V k = SPLAT(key), head = XOR(LOAD(src), k);                                                                      \
        V tail = XOR(LOAD(src + n - WIDTH), SPLAT(xor_mask_rotated(key, n - WIDTH)));                                    \
        V seen = OR(head, tail);                                                                                         \
        size_t i = 0;                                                                                                    \
        if (n >= ALIGN_FROM) {                                                                                           \
            i = WIDTH - ((uintptr_t)dst & (WIDTH - 1));                                                                  \
            k = SPLAT(xor_mask_rotated(key, i));                                                                         \
        }                                                                                                                \
        for (; n - i >= 4 * WIDTH; i += 4 * WIDTH) {                                                                     \
            V a = XOR(LOAD(src + i), k), b = XOR(LOAD(src + i + WIDTH), k);                                              \
            V c = XOR(LOAD(src + i + 2 * WIDTH), k), d = XOR(LOAD(src + i + 3 * WIDTH), k);                              \
            STORE(dst + i, a);                                                                                           \
            STORE(dst + i + WIDTH, b);                                                                                   \
            STORE(dst + i + 2 * WIDTH, c);                                                                               \
            STORE(dst + i + 3 * WIDTH, d);                                                                               \
            seen = OR(OR(seen, OR(a, b)), OR(c, d));                                                                     \
        }                                                                                                                \
        for (; n - i > WIDTH; i += WIDTH) {                                                                              \
            V a = XOR(LOAD(src + i), k);                                                                                 \
            STORE(dst + i, a);                                                                                           \
            seen = OR(seen, a);                                                                                          \
        }                                                                                                                \
        if (n >= ALIGN_FROM) STORE(dst, head);                                                                           \
        STORE(dst + n - WIDTH, tail);                                                                                    \
        return HIGH(seen);                                                                                               \
    }

#if defined(WSCORE_X86) || defined(WSCORE_SSE2_ONLY)
#define SSE_LOAD(p) _mm_loadu_si128((const __m128i *)(const void *)(p))
#define SSE_STORE(p, v) _mm_storeu_si128((__m128i *)(void *)(p), v)
#define SSE_SPLAT(k) _mm_set1_epi32((int)(k))
#define SSE_HIGH(v) (_mm_movemask_epi8(v) ? 0x80u : 0u)
VECTOR_KERNEL(mask_sse2, , __m128i, 16, 16, mask_word, SSE_LOAD, SSE_STORE, SSE_SPLAT, _mm_xor_si128, _mm_or_si128, SSE_HIGH)
#endif

#ifdef WSCORE_X86
#define AVX2_LOAD(p) _mm256_loadu_si256((const __m256i *)(const void *)(p))
#define AVX2_STORE(p, v) _mm256_storeu_si256((__m256i *)(void *)(p), v)
#define AVX2_SPLAT(k) _mm256_set1_epi32((int)(k))
#define AVX2_HIGH(v) (_mm256_movemask_epi8(v) ? 0x80u : 0u)
VECTOR_KERNEL(mask_avx2, __attribute__((target("avx2"))), __m256i, 32, 32, mask_sse2, AVX2_LOAD, AVX2_STORE, AVX2_SPLAT,
              _mm256_xor_si256, _mm256_or_si256, AVX2_HIGH)

#define AVX512_LOAD(p) _mm512_loadu_si512((const void *)(p))
#define AVX512_STORE(p, v) _mm512_storeu_si512((void *)(p), v)
#define AVX512_SPLAT(k) _mm512_set1_epi32((int)(k))
#define AVX512_HIGH(v) (_mm512_movepi8_mask(v) ? 0x80u : 0u)
VECTOR_KERNEL(mask_avx512, __attribute__((target("avx512f,avx512bw"))), __m512i, 64, WIDE_FROM, mask_avx2, AVX512_LOAD,
              AVX512_STORE, AVX512_SPLAT, _mm512_xor_si512, _mm512_or_si512, AVX512_HIGH)
#endif

#ifdef WSCORE_NEON
#define NEON_SPLAT(k) vreinterpretq_u8_u32(vdupq_n_u32(k))
#define NEON_HIGH(v) ((vmaxvq_u8(v) & 0x80) ? 0x80u : 0u)
VECTOR_KERNEL(mask_neon, , uint8x16_t, 16, 16, mask_word, vld1q_u8, vst1q_u8, NEON_SPLAT, veorq_u8, vorrq_u8, NEON_HIGH)
#endif

struct named_kernel {
    const char *name;
    xor_mask_kernel run;
};

static const struct named_kernel kernels[] = {
#ifdef WSCORE_X86
    {"avx512", mask_avx512},
    {"avx2", mask_avx2},
#endif
#if defined(WSCORE_X86) || defined(WSCORE_SSE2_ONLY)
    {"sse2", mask_sse2},
#endif
#ifdef WSCORE_NEON
    {"neon", mask_neon},
#endif
    {"word", mask_word},
};

static int supported(const char *name) {
#ifdef WSCORE_X86
    __builtin_cpu_init();
    if (!strcmp(name, "avx512")) return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw");
    if (!strcmp(name, "avx2")) return __builtin_cpu_supports("avx2");
#endif
    (void)name;
    return 1;
}

const char *xor_mask_choose(const char *name, xor_mask_kernel *kernel) {
    for (size_t i = 0; i < sizeof kernels / sizeof *kernels; i++) {
        if (name && strcmp(name, kernels[i].name)) continue;
        if (!supported(kernels[i].name)) continue;
        *kernel = kernels[i].run;
        return kernels[i].name;
    }
    return NULL;
}
