# cython: language_level=3, binding=True, embedsignature=False
# cython: boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
# cython: freethreading_compatible=True, auto_pickle=False
"""Masks, masking keys, frame headers and UTF-8, compiled; imports nothing of wscore.

``wscore/_primitives_py.py`` is the reference: same names, same meaning, same tests. Lengths are unsigned and are checked before any
arithmetic; a buffer is held for as long as its memory is used; nothing here keeps a pointer across a call into Python code.
"""

cimport cython
from cpython.buffer cimport PyBUF_SIMPLE, PyBUF_WRITABLE, PyBuffer_Release, PyObject_GetBuffer
from cpython.bytearray cimport PyByteArray_AS_STRING, PyByteArray_GET_SIZE
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memcpy

import os

cdef extern from "Python.h":
    Py_ssize_t PY_SSIZE_T_MAX
    object PyUnicode_New(Py_ssize_t size, Py_UCS4 maxchar)
    void *PyUnicode_DATA(object o)
    bint PyUnicode_IS_COMPACT_ASCII(object o)
    Py_ssize_t PyUnicode_GET_LENGTH(object o)
    bytes PyUnicode_AsUTF8String(object o)
    long PyLong_AsLongAndOverflow(object o, int *overflow) except? -1
    object PyNumber_Index(object o)

cdef extern from "xor_mask.h" nogil:
    const char *xor_mask_choose(const char *name, xor_mask_kernel *kernel)

cdef extern from "utf8.h" nogil:
    size_t utf8_measure(const unsigned char *src, size_t n, unsigned char *largest)
    int utf8_to_ucs1(const unsigned char *src, size_t n, uint8_t *dst)
    int utf8_to_ucs2(const unsigned char *src, size_t n, uint16_t *dst)
    int utf8_to_ucs4(const unsigned char *src, size_t n, uint32_t *dst)
    void utf8_use_vectors(int wanted)


# Kernels

def _choose_kernel(name):
    """Takes the masking kernel of this name, None for the best; returns its name, ValueError where the processor lacks it."""
    cdef bytes wanted = None if name is None else name.encode()
    cdef const char *chosen = xor_mask_choose(NULL if wanted is None else <const char *>wanted, &best_kernel)
    if chosen is NULL:
        raise ValueError(f"this processor has no masking kernel {name!r}")
    utf8_use_vectors(chosen[:3] == b"avx")
    return (<bytes>chosen).decode()


KERNEL = _choose_kernel(os.environ.get("WSCORE_MASK_KERNEL") or None)


# Masking

cdef object _ZERO = 0
cdef tuple _PHASES = (0, 1, 2, 3)


cdef inline unsigned _offset(object phase) except? 9:
    cdef int overflow = 0
    cdef long value
    if phase is _ZERO:  # the default, and every other small zero
        return 0
    value = PyLong_AsLongAndOverflow(PyNumber_Index(phase), &overflow)
    if overflow or value < 0 or value > 3:
        raise ValueError(f"the phase must be 0 to 3, not {phase}")
    return <unsigned>value


cdef inline uint32_t _key_word(object key, unsigned phase) except? 0:
    if type(key) is bytes and PyBytes_GET_SIZE(key) == 4:
        return xor_mask_key_word(<const unsigned char *>PyBytes_AS_STRING(key), phase)
    return _checked_key_word(key, phase)


cdef uint32_t _checked_key_word(object key, unsigned phase) except? 0:
    if not isinstance(key, (bytes, bytearray, memoryview)):
        raise TypeError(f"the masking key must be bytes-like, not {type(key).__name__}")
    cdef bytes four = bytes(key)
    if PyBytes_GET_SIZE(four) != 4:
        raise ValueError(f"the masking key must be 4 bytes, not {len(four)}")
    return xor_mask_key_word(<const unsigned char *>PyBytes_AS_STRING(four), phase)


@cython.binding(False)
def apply_mask(data, key, phase=0):
    """apply_mask(data, key, phase=0)\n--\n\nReturns a masked (or unmasked) copy of the payload. See the Python twin."""
    cdef Py_buffer view
    cdef uint32_t word = _key_word(key, _offset(phase))
    if type(data) is bytes:
        return _masked_copy(<const unsigned char *>PyBytes_AS_STRING(data), PyBytes_GET_SIZE(data), word)
    PyObject_GetBuffer(data, &view, PyBUF_SIMPLE)
    try:
        return _masked_copy(<const unsigned char *>view.buf, view.len, word)
    finally:
        PyBuffer_Release(&view)


cdef bytes _masked_copy(const unsigned char *data, Py_ssize_t size, uint32_t word):
    cdef bytes result = PyBytes_FromStringAndSize(NULL, size)
    mask(<unsigned char *>PyBytes_AS_STRING(result), data, <size_t>size, word)
    return result


@cython.binding(False)
def apply_mask_inplace(buffer, key, phase=0):
    """apply_mask_inplace(buffer, key, phase=0)\n--\n\nMasks (or unmasks) a writable buffer where it lies; returns the next phase. See the Python twin."""
    cdef Py_buffer view
    cdef unsigned offset = _offset(phase)
    cdef uint32_t word = _key_word(key, offset)
    cdef size_t size
    cdef unsigned char *data
    if type(buffer) is bytearray:  # a buffer request would cost more than masking a short one
        with cython.critical_section(buffer):
            data = <unsigned char *>PyByteArray_AS_STRING(buffer)
            size = <size_t>PyByteArray_GET_SIZE(buffer)
            mask(data, data, size, word)
    else:
        PyObject_GetBuffer(buffer, &view, PyBUF_WRITABLE)
        data = <unsigned char *>view.buf
        size = <size_t>view.len
        mask(data, data, size, word)
        PyBuffer_Release(&view)
    return _PHASES[<Py_ssize_t>((offset + size) & 3)]


# Frames

cdef int _checked_first_byte(object value) except -1:
    cdef int overflow = 0
    cdef long byte = PyLong_AsLongAndOverflow(PyNumber_Index(value), &overflow)
    if overflow or byte < 0 or byte > 255:
        raise ValueError(f"the first byte must be 0 to 255, not {value}")
    return <int>byte


cdef inline size_t _put_header(unsigned char *out, int first_byte, uint64_t length, unsigned char mask_bit) noexcept nogil:
    """Writes all of a header but the key, at most 10 bytes, and returns how many."""
    cdef int i, width
    out[0] = <unsigned char>first_byte
    if length <= 125:
        out[1] = mask_bit | <unsigned char>length
        return 2
    if length <= 0xFFFF:
        out[1] = mask_bit | 126
        width = 2
    else:
        out[1] = mask_bit | 127
        width = 8
    for i in range(width):
        out[2 + i] = <unsigned char>((length >> (8 * (width - 1 - i))) & 0xFF)
    return 2 + width


@cython.binding(False)
def encode_frame_header(first_byte, length, key=None):
    """encode_frame_header(first_byte, length, key=None)\n--\n\nWrites a frame's header, the masking key included. See the Python twin."""
    cdef int first = _checked_first_byte(first_byte)
    exact = PyNumber_Index(length)
    if not 0 <= exact <= MAX_LENGTH:
        raise ValueError(f"the length must be 0 to 2**63 - 1, not {length}")
    if key is None:
        return frame_header(first, <uint64_t>exact)
    return _masked_header(first, <uint64_t>exact, _key_word(key, 0))


cdef bytes frame_header(int first, uint64_t length):
    cdef unsigned char out[10]
    cdef size_t size = _put_header(out, first, length, 0)
    return PyBytes_FromStringAndSize(<const char *>out, <Py_ssize_t>size)


cdef bytes _masked_header(int first, uint64_t length, uint32_t word):
    cdef unsigned char out[14]
    cdef size_t size = _put_header(out, first, length, MASK_BIT)
    memcpy(out + size, &word, 4)
    return PyBytes_FromStringAndSize(<const char *>out, <Py_ssize_t>size + 4)


cdef inline bytes _frame(int first, const unsigned char *payload, Py_ssize_t length, bint masked, uint32_t word):
    cdef Py_ssize_t header = (2 if length <= 125 else 4 if length <= 0xFFFF else 10) + (4 if masked else 0)
    if length > PY_SSIZE_T_MAX - 14:
        raise MemoryError("the payload leaves no room for a header")
    cdef bytes frame = PyBytes_FromStringAndSize(NULL, header + length)
    cdef unsigned char *out = <unsigned char *>PyBytes_AS_STRING(frame)
    out += _put_header(out, first, <uint64_t>length, MASK_BIT if masked else 0)
    if masked:
        memcpy(out, &word, 4)
        mask(out + 4, payload, <size_t>length, word)
    elif length:
        memcpy(out, payload, <size_t>length)
    return frame


cdef inline bytes _str_frame(int first, str text, bint masked, uint32_t word):
    if PyUnicode_IS_COMPACT_ASCII(text):
        return _frame(first, <const unsigned char *>PyUnicode_DATA(text), PyUnicode_GET_LENGTH(text), masked, word)
    return bytes_frame(first, text.encode(), masked, word)


cdef bytes bytes_frame(int first, bytes data, bint masked, uint32_t word):
    return _frame(first, <const unsigned char *>PyBytes_AS_STRING(data), PyBytes_GET_SIZE(data), masked, word)


cdef bytes message_frame(object data, bint masked):
    """The frame of a message that is not compressed, or None where it is of another type."""
    if type(data) is str:
        return _str_frame(0x81, <str>data, masked, fresh_key() if masked else 0)
    if type(data) is bytes:
        return bytes_frame(0x82, <bytes>data, masked, fresh_key() if masked else 0)
    return None


cdef Py_ssize_t plain_size(object data) noexcept:
    """Bytes of a message that can be put into a frame as it lies in memory; -1 for any other."""
    if type(data) is bytes:
        return PyBytes_GET_SIZE(data)
    return PyUnicode_GET_LENGTH(data) if type(data) is str and PyUnicode_IS_COMPACT_ASCII(data) else -1


cdef Py_ssize_t put_plain(unsigned char *out, object data) noexcept:
    """Writes the unmasked frame of a message that has a plain size, and returns the size of the frame."""
    cdef bint binary = type(data) is bytes
    cdef Py_ssize_t size = PyBytes_GET_SIZE(data) if binary else PyUnicode_GET_LENGTH(data)
    cdef const void *payload = PyBytes_AS_STRING(data) if binary else PyUnicode_DATA(data)
    cdef size_t head = _put_header(out, 0x82 if binary else 0x81, <uint64_t>size, 0)
    memcpy(out + head, payload, <size_t>size)
    return <Py_ssize_t>head + size


@cython.binding(False)
def encode_frame(first_byte, payload, key=None):
    """encode_frame(first_byte, payload, key=None)\n--\n\nWrites a whole frame: header, key, and the payload masked where there is a key. See the Python twin."""
    cdef Py_buffer view
    cdef int first = _checked_first_byte(first_byte)
    cdef bint masked = key is not None
    cdef uint32_t word = _key_word(key, 0) if masked else 0
    if isinstance(payload, str):
        if type(payload) is str:
            return _str_frame(first, <str>payload, masked, word)
        return bytes_frame(first, PyUnicode_AsUTF8String(payload), masked, word)
    if type(payload) is bytes:
        return bytes_frame(first, <bytes>payload, masked, word)
    PyObject_GetBuffer(payload, &view, PyBUF_SIMPLE)
    try:
        return _frame(first, <const unsigned char *>view.buf, view.len, masked, word)
    finally:
        PyBuffer_Release(&view)


# Masking keys

cdef class _KeyPool:
    """Masking keys, drawn from the system's random source many at a time. See wscore/_mask_keys.py."""

    cdef bytes _drawn
    cdef Py_ssize_t _at

    def __cinit__(self):
        self.drop()

    def drop(self):
        """Forgets what was drawn; a child process must not use the keys that its parent will use."""
        self._drawn = b""
        self._at = 0

    cdef uint32_t take(self) except? 0:
        cdef uint32_t word
        with cython.critical_section(self):
            if self._at + 4 > PyBytes_GET_SIZE(self._drawn):
                # Another thread may come by during the call; what it draws and what we draw are both fresh.
                fresh = os.urandom(4096)
                self._drawn = fresh
                self._at = 0
            memcpy(&word, PyBytes_AS_STRING(self._drawn) + self._at, 4)
            self._at += 4
        return word


cdef _KeyPool _pool = _KeyPool()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_pool.drop)


cdef uint32_t fresh_key() except? 0:
    return _pool.take()


def new_mask_key():
    """Returns four bytes of the system's random source that no other call has had."""
    cdef uint32_t word = _pool.take()
    return PyBytes_FromStringAndSize(<const char *>&word, 4)


# Bytes and text

cdef bytes copied(object data):
    cdef Py_buffer view
    PyObject_GetBuffer(data, &view, PyBUF_SIMPLE)
    try:
        return PyBytes_FromStringAndSize(<const char *>view.buf, view.len)
    finally:
        PyBuffer_Release(&view)


cdef str utf8_str(const unsigned char *start, size_t size):
    """The text of whole UTF-8, or None where it is not valid."""
    cdef unsigned char largest
    cdef int failed = 0
    cdef size_t count = utf8_measure(start, size, &largest)
    cdef Py_UCS4 widest = 0x7F if largest < 0x80 else 0xFF if largest < 0xC4 else 0xFFFF if largest < 0xF0 else 0x10FFFF
    cdef str text = PyUnicode_New(<Py_ssize_t>count, widest)
    if count == 0:
        return text if size == 0 else None
    if widest <= 0x7F:
        memcpy(PyUnicode_DATA(text), start, size)
    elif widest <= 0xFF:
        failed = utf8_to_ucs1(start, size, <uint8_t *>PyUnicode_DATA(text))
    elif widest == 0xFFFF:
        failed = utf8_to_ucs2(start, size, <uint16_t *>PyUnicode_DATA(text))
    else:
        failed = utf8_to_ucs4(start, size, <uint32_t *>PyUnicode_DATA(text))
    return None if failed else text
