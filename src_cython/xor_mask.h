/* XOR masking (RFC 6455, section 5.3): kernels chosen once at run time by what the processor can do.
 *
 * Masks repeat every four bytes, so a kernel sees the key as the 32-bit word whose bytes, in memory order, fall on the
 * first four bytes of its input: the caller rotates the key by the phase and no kernel needs a byte-wise prologue.
 * Every load and store goes through an unaligned vector instruction or memcpy, inside [src, src + n) and [dst, dst + n).
 */
#ifndef WSCORE_XOR_MASK_H
#define WSCORE_XOR_MASK_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* dst = src ^ key, n bytes; dst == src, or the two do not overlap. Returns the OR of all bytes written, of which only the high
 * bit (0x80) means anything: zero says that the result is ASCII. */
typedef unsigned (*xor_mask_kernel)(unsigned char *dst, const unsigned char *src, size_t n, uint32_t key);

extern xor_mask_kernel xor_mask_best;

/* Chooses the best kernel, or the one of that name (NULL: best). Returns the name, or NULL where this processor lacks it. */
const char *xor_mask_choose(const char *name);

/* Whether src holds a byte above 127. */
unsigned xor_mask_high_bits(const unsigned char *src, size_t n);

/* The key word for a payload piece that starts at this phase (bytes already masked, modulo 4). */
static inline uint32_t xor_mask_key_word(const unsigned char key[4], unsigned phase) {
    unsigned char rotated[4];
    uint32_t word;
    for (unsigned i = 0; i < 4; i++) rotated[i] = key[(i + phase) & 3];
    memcpy(&word, rotated, 4);
    return word;
}

/* Up to 15 bytes cost less here than through a pointer. */
static inline unsigned xor_mask(unsigned char *dst, const unsigned char *src, size_t n, uint32_t key) {
    if (n >= 16) return xor_mask_best(dst, src, n, key);
    uint64_t key8 = ((uint64_t)key << 32) | key, a, b;
    if (n >= 8) {                       /* two overlapping words; both are read before either is written */
        unsigned shift = (unsigned)((n - 8) & 3) * 8;
        uint64_t tail_key = key8;
#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
        if (shift) tail_key = (key8 << shift) | (key8 >> (64 - shift));
#else
        if (shift) tail_key = (key8 >> shift) | (key8 << (64 - shift));
#endif
        memcpy(&a, src, 8);
        memcpy(&b, src + n - 8, 8);
        a ^= key8;
        b ^= tail_key;
        memcpy(dst, &a, 8);
        memcpy(dst + n - 8, &b, 8);
        a |= b;
        return (a & UINT64_C(0x8080808080808080)) ? 0x80 : 0;
    }
    unsigned char k[4], seen = 0;
    memcpy(k, &key, 4);
    for (size_t i = 0; i < n; i++) {
        unsigned char c = src[i] ^ k[i & 3];
        dst[i] = c;
        seen |= c;
    }
    return seen & 0x80;
}

#endif
