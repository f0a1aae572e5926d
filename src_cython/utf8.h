/* UTF-8 (RFC 3629) to the three widths of a Python str, checked on the way.
 *
 * Two passes: one counts the characters and finds the largest byte, which says the width exactly, since a lead byte from 0xC4
 * on means a character above 0xFF and one from 0xF0 on a character above 0xFFFF; the other decodes into the memory of the str.
 * CPython's decoder takes one pass but widens and copies on the way.
 */
#ifndef WSCORE_UTF8_H
#define WSCORE_UTF8_H

#include <stddef.h>
#include <stdint.h>

/* Returns how many bytes begin a character, and gives the largest byte. */
size_t utf8_measure(const unsigned char *src, size_t n, unsigned char *largest);

/* Decode whole characters; return 0, or -1 where the input is not valid UTF-8. As many items are written as utf8_measure counted, at
 * the most. The narrow ones are for input whose largest byte is below 0xC4, or below 0xF0. */
int utf8_to_ucs1(const unsigned char *src, size_t n, uint8_t *dst);
int utf8_to_ucs2(const unsigned char *src, size_t n, uint16_t *dst);
int utf8_to_ucs4(const unsigned char *src, size_t n, uint32_t *dst);

/* Takes the vector loop where the processor has what it needs, or not. */
void utf8_use_vectors(int wanted);

#endif
