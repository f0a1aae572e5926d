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

/* Gives the best kernel, or the one of that name (NULL: best). Returns the name, or NULL where this processor lacks it. */
const char *xor_mask_choose(const char *name, xor_mask_kernel *kernel);

/* A word turned so that its byte number `by` comes first in memory. */
static inline uint32_t xor_mask_rotated(uint32_t word, size_t by) {
    unsigned bits = (unsigned)(by & 3) * 8;
#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
    return (word << bits) | (word >> ((32 - bits) & 31));
#else
    return (word >> bits) | (word << ((32 - bits) & 31));
#endif
}

/* The key word for a payload piece that starts at this phase (bytes already masked, modulo 4). */
static inline uint32_t xor_mask_key_word(const unsigned char key[4], unsigned phase) {
    uint32_t word;
    memcpy(&word, key, 4);
    return xor_mask_rotated(word, phase);
}

static inline uint64_t xor_mask_twice(uint32_t key) { return ((uint64_t)key << 32) | key; }

static inline uint64_t xor_mask_load(const unsigned char *from) {
    uint64_t word;
    memcpy(&word, from, 8);
    return word;
}

static inline void xor_mask_store(unsigned char *to, uint64_t word) { memcpy(to, &word, 8); }

/* What is short costs less here than through a pointer. As in the kernels, all that overlaps is read before it is written. */
static inline unsigned xor_mask(xor_mask_kernel kernel, unsigned char *dst, const unsigned char *src, size_t n, uint32_t key) {
    const uint64_t high = UINT64_C(0x8080808080808080);
    if (n > 32) return kernel(dst, src, n, key);
    if (n >= 8) {
        uint64_t front_key = xor_mask_twice(key), tail_key = xor_mask_twice(xor_mask_rotated(key, n));
        uint64_t a = xor_mask_load(src) ^ front_key, z = xor_mask_load(src + n - 8) ^ tail_key, seen = a | z;
        if (n > 16) {
            uint64_t b = xor_mask_load(src + 8) ^ front_key, y = xor_mask_load(src + n - 16) ^ tail_key;
            xor_mask_store(dst + 8, b);
            xor_mask_store(dst + n - 16, y);
            seen |= b | y;
        }
        xor_mask_store(dst, a);
        xor_mask_store(dst + n - 8, z);
        return (seen & high) ? 0x80 : 0;
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
