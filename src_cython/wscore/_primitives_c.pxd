"""What the compiled modules above take from `_primitives_c`."""

from libc.stdint cimport uint32_t, uint64_t

cdef extern from "xor_mask.h" nogil:
    ctypedef unsigned (*xor_mask_kernel)(unsigned char *dst, const unsigned char *src, size_t n, uint32_t key) noexcept
    uint32_t xor_mask_key_word(const unsigned char *key, unsigned phase)
    unsigned xor_mask(xor_mask_kernel kernel, unsigned char *dst, const unsigned char *src, size_t n, uint32_t key)

cdef enum:
    MASK_BIT = 0x80
    FRAME_HEAD = 10  # a header's size at most, without a key

cdef extern from *:
    uint64_t MAX_LENGTH "INT64_MAX"  # of a frame or a message (RFC 6455, section 5.2)

cdef xor_mask_kernel best_kernel


cdef inline unsigned mask(unsigned char *dst, const unsigned char *src, size_t n, uint32_t key) noexcept nogil:
    return xor_mask(best_kernel, dst, src, n, key)


cdef uint32_t fresh_key() except? 0
cdef bytes frame_header(int first, uint64_t length)
cdef bytes bytes_frame(int first, bytes data, bint masked, uint32_t word)
cdef bytes message_frame(object data, bint masked)
cdef Py_ssize_t plain_size(object data) noexcept
cdef Py_ssize_t put_plain(unsigned char *out, object data) noexcept
cdef bytes copied(object data)
cdef str utf8_str(const unsigned char *start, size_t size)
