# cython: language_level=3, binding=True, embedsignature=False
# cython: boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
# cython: freethreading_compatible=True, auto_pickle=False
"""The compiled framing twin: masking, frame headers, events and the frame decoder; imports leaves of wscore only.

``wscore/_framing_py.py`` is the reference: same names, same meaning, same tests. Lengths are unsigned and are checked before any
arithmetic; a buffer is held for as long as its memory is used; nothing here keeps a pointer across a call into Python code.
"""

cimport cython
from cpython.buffer cimport PyBUF_SIMPLE, PyBUF_WRITABLE, PyBuffer_Release, PyObject_GetBuffer
from cpython.bytearray cimport PyByteArray_AS_STRING, PyByteArray_GET_SIZE, PyByteArray_Resize
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memcpy

import copyreg
import os
from dataclasses import FrozenInstanceError
from types import GenericAlias

from wscore import _events_py
from wscore._close_payload import decode_close_payload
from wscore._codes import CloseReason, Opcode, RsvBits
from wscore.errors import LocalProtocolError, ParseFailed

cdef extern from "Python.h":
    Py_ssize_t PY_SSIZE_T_MAX
    object PyUnicode_New(Py_ssize_t size, Py_UCS4 maxchar)
    void *PyUnicode_DATA(object o)
    bint PyUnicode_IS_COMPACT_ASCII(object o)
    Py_ssize_t PyUnicode_GET_LENGTH(object o)
    object PyUnicode_DecodeUTF8Stateful(const char *s, Py_ssize_t size, const char *errors, Py_ssize_t *consumed)
    long PyLong_AsLongAndOverflow(object o, int *overflow) except? -1
    object PyNumber_Index(object o)

cdef extern from "xor_mask.h" nogil:
    const char *xor_mask_choose(const char *name)
    uint32_t xor_mask_key_word(const unsigned char *key, unsigned phase)
    unsigned xor_mask(unsigned char *dst, const unsigned char *src, size_t n, uint32_t key)

cdef extern from "utf8.h" nogil:
    size_t utf8_measure(const unsigned char *src, size_t n, unsigned char *largest)
    int utf8_to_ucs1(const unsigned char *src, size_t n, uint8_t *dst)
    int utf8_to_ucs2(const unsigned char *src, size_t n, uint16_t *dst)
    int utf8_to_ucs4(const unsigned char *src, size_t n, uint32_t *dst)
    void utf8_use_vectors(int wanted)

IMPLEMENTATION = "cython"

cdef uint64_t MAX_LENGTH = (<uint64_t>1 << 63) - 1


def _choose_kernel(name):
    """Takes the masking kernel of this name, None for the best; returns its name, ValueError where the processor lacks it."""
    cdef bytes wanted = None if name is None else name.encode()
    cdef const char *chosen = xor_mask_choose(NULL if wanted is None else <const char *>wanted)
    if chosen is NULL:
        raise ValueError(f"this processor has no masking kernel {name!r}")
    utf8_use_vectors(chosen[:3] == b"avx")
    return (<bytes>chosen).decode()


KERNEL = _choose_kernel(os.environ.get("WSCORE_MASK_KERNEL") or None)


# Masking and headers

cdef object _ZERO = 0


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
    if not isinstance(key, (bytes, bytearray, memoryview)):
        raise TypeError(f"the masking key must be bytes-like, not {type(key).__name__}")
    cdef bytes four = bytes(key)
    if PyBytes_GET_SIZE(four) != 4:
        raise ValueError(f"the masking key must be 4 bytes, not {len(four)}")
    return xor_mask_key_word(<const unsigned char *>PyBytes_AS_STRING(four), phase)


def apply_mask(data, key, phase=0):
    """Returns a masked (or unmasked) copy of the payload. See the Python twin."""
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
    xor_mask(<unsigned char *>PyBytes_AS_STRING(result), data, <size_t>size, word)
    return result


def apply_mask_inplace(buffer, key, phase=0):
    """Masks (or unmasks) a writable buffer where it lies; returns the next phase. See the Python twin."""
    cdef Py_buffer view
    cdef unsigned offset = _offset(phase)
    cdef uint32_t word = _key_word(key, offset)
    cdef size_t size
    cdef unsigned char *data
    if type(buffer) is bytearray:  # a buffer request would cost more than masking a short one
        with cython.critical_section(buffer):
            data = <unsigned char *>PyByteArray_AS_STRING(buffer)
            size = <size_t>PyByteArray_GET_SIZE(buffer)
            xor_mask(data, data, size, word)
    else:
        PyObject_GetBuffer(buffer, &view, PyBUF_WRITABLE)
        data = <unsigned char *>view.buf
        size = <size_t>view.len
        xor_mask(data, data, size, word)
        PyBuffer_Release(&view)
    return (offset + size) & 3


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


def encode_frame_header(first_byte, length, key=None):
    """Writes a frame's header, the masking key included. See the Python twin."""
    cdef unsigned char out[14]
    cdef size_t size
    cdef uint32_t word
    cdef int first = _checked_first_byte(first_byte)
    exact = PyNumber_Index(length)
    if not 0 <= exact <= MAX_LENGTH:
        raise ValueError(f"the length must be 0 to 2**63 - 1, not {length}")
    size = _put_header(out, first, <uint64_t>exact, 0 if key is None else 0x80)
    if key is not None:
        word = _key_word(key, 0)
        memcpy(out + size, &word, 4)
        size += 4
    return PyBytes_FromStringAndSize(<const char *>out, <Py_ssize_t>size)


cdef bytes _frame(int first, const unsigned char *payload, Py_ssize_t length, bint masked, uint32_t word):
    cdef unsigned char header[14]
    cdef size_t size = _put_header(header, first, <uint64_t>length, 0x80 if masked else 0)
    if masked:
        memcpy(header + size, &word, 4)
        size += 4
    if length > PY_SSIZE_T_MAX - 14:
        raise MemoryError("the payload leaves no room for a header")
    cdef bytes frame = PyBytes_FromStringAndSize(NULL, <Py_ssize_t>size + length)
    cdef unsigned char *out = <unsigned char *>PyBytes_AS_STRING(frame)
    memcpy(out, header, size)
    if masked:
        xor_mask(out + size, payload, <size_t>length, word)
    elif length:
        memcpy(out + size, payload, <size_t>length)
    return frame


cdef bytes _str_frame(int first, str text, bint masked, uint32_t word):
    if PyUnicode_IS_COMPACT_ASCII(text):
        return _frame(first, <const unsigned char *>PyUnicode_DATA(text), PyUnicode_GET_LENGTH(text), masked, word)
    return _bytes_frame(first, text.encode(), masked, word)


cdef bytes _bytes_frame(int first, bytes data, bint masked, uint32_t word):
    return _frame(first, <const unsigned char *>PyBytes_AS_STRING(data), PyBytes_GET_SIZE(data), masked, word)


def encode_frame(first_byte, payload, key=None):
    """Writes a whole frame: header, key, and the payload masked where there is a key. See the Python twin."""
    cdef Py_buffer view
    cdef int first = _checked_first_byte(first_byte)
    cdef bint masked = key is not None
    cdef uint32_t word = _key_word(key, 0) if masked else 0
    if isinstance(payload, str):
        return _str_frame(first, payload, masked, word)
    if type(payload) is bytes:
        return _bytes_frame(first, <bytes>payload, masked, word)
    PyObject_GetBuffer(payload, &view, PyBUF_SIMPLE)
    try:
        return _frame(first, <const unsigned char *>view.buf, view.len, masked, word)
    finally:
        PyBuffer_Release(&view)


# Events
#
# Their docstrings begin with the signature, which is where inspect.signature looks for that of a type.

@cython.no_gc
@cython.freelist(64)
cdef class Event:
    """Event()\n--\n\nBase of everything that a connection reports or is asked to send."""

    # The fields of all the classes below, since only the root of a hierarchy can have a free list.
    cdef object _value
    cdef object _code
    cdef bint _frame_finished
    cdef bint _message_finished

    def __reduce__(self):
        # For the events that are dataclasses: without it, an object with C fields can be neither pickled nor copied.
        return copyreg.__newobj__, (type(self),), getattr(self, "__dict__", None)


@cython.no_gc
cdef class _FrozenEvent(Event):
    """What a frozen dataclass has besides its fields."""

    cdef tuple _fields(self):
        raise TypeError("abstract")

    def __setattr__(self, name, value):
        raise FrozenInstanceError(f"cannot assign to field {name!r}")

    def __delattr__(self, name):
        raise FrozenInstanceError(f"cannot delete field {name!r}")

    def __eq__(self, other):
        if type(self) is not type(other):
            return NotImplemented
        return self._fields() == (<_FrozenEvent>other)._fields()

    def __hash__(self):
        return hash(self._fields())

    def __repr__(self):
        shown = ", ".join([f"{name}={value!r}" for name, value in zip(self.__match_args__, self._fields())])
        return f"{type(self).__qualname__}({shown})"

    def __reduce__(self):
        return type(self), self._fields(), getattr(self, "__dict__", None) or None


@cython.no_gc
cdef class Message(_FrozenEvent):
    """Message(data, frame_finished=True, message_finished=True)\n--\n\nA piece of a data message, or the whole of it (RFC 6455, section 5.6). See the Python twin."""

    __match_args__ = ("data", "frame_finished", "message_finished")
    __dataclass_fields__ = _events_py.Message.__dataclass_fields__
    __dataclass_params__ = _events_py.Message.__dataclass_params__
    def __init__(self, data, frame_finished=True, message_finished=True):
        self._value = data
        self._frame_finished = frame_finished
        self._message_finished = message_finished

    def __class_getitem__(cls, item):
        return GenericAlias(cls, item)

    cdef tuple _fields(self):
        return (self._value, self._frame_finished, self._message_finished)

    @property
    def data(self):
        """The payload of this piece."""
        return self._value

    @property
    def frame_finished(self):
        """Whether this piece ends its frame."""
        return self._frame_finished

    @property
    def message_finished(self):
        """Whether this piece ends its message."""
        return self._message_finished


@cython.no_gc
cdef class TextMessage(Message):
    """TextMessage(data, frame_finished=True, message_finished=True)\n--\n\nA text message, or a piece of one; ``data`` is a str whose UTF-8 was checked."""


@cython.no_gc
cdef class BytesMessage(Message):
    """BytesMessage(data, frame_finished=True, message_finished=True)\n--\n\nA binary message, or a piece of one; ``data`` is bytes."""


@cython.no_gc
cdef class Ping(_FrozenEvent):
    """Ping(payload=b'')\n--\n\nA ping (RFC 6455, section 5.5.2). Answer a received one by sending :meth:`response`."""

    __match_args__ = ("payload",)
    __dataclass_fields__ = _events_py.Ping.__dataclass_fields__
    __dataclass_params__ = _events_py.Ping.__dataclass_params__
    def __init__(self, payload=b""):
        self._value = payload

    cdef tuple _fields(self):
        return (self._value,)

    @property
    def payload(self):
        """At most 125 bytes, which the pong returns."""
        return self._value

    def response(self):
        """Returns the pong that answers this ping."""
        return Pong(self._value)


@cython.no_gc
cdef class Pong(_FrozenEvent):
    """Pong(payload=b'')\n--\n\nA pong (RFC 6455, section 5.5.3), solicited or not."""

    __match_args__ = ("payload",)
    __dataclass_fields__ = _events_py.Pong.__dataclass_fields__
    __dataclass_params__ = _events_py.Pong.__dataclass_params__
    def __init__(self, payload=b""):
        self._value = payload

    cdef tuple _fields(self):
        return (self._value,)

    @property
    def payload(self):
        """That of the ping it answers, at most 125 bytes."""
        return self._value


@cython.no_gc
cdef class CloseConnection(_FrozenEvent):
    """CloseConnection(code, reason=None)\n--\n\nA close frame (RFC 6455, section 5.5.1), or the end of a connection without one. See the Python twin."""

    __match_args__ = ("code", "reason")
    __dataclass_fields__ = _events_py.CloseConnection.__dataclass_fields__
    __dataclass_params__ = _events_py.CloseConnection.__dataclass_params__
    def __init__(self, code, reason=None):
        self._code = code
        self._value = reason

    cdef tuple _fields(self):
        return (self._code, self._value)

    @property
    def code(self):
        """The close code."""
        return self._code

    @property
    def reason(self):
        """Text for people, or None."""
        return self._value

    def response(self):
        """Returns the close frame that answers this one."""
        return CloseConnection(self._code, self._value)


# Sending

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


def new_mask_key():
    """Returns four bytes of the system's random source that no other call has had."""
    cdef uint32_t word = _pool.take()
    return PyBytes_FromStringAndSize(<const char *>&word, 4)


cdef bytes _whole_message(object event, bint masked):
    """The frame of a message that is one frame, or None where the event is not such a message."""
    if not isinstance(event, Message) or not (<Message>event)._message_finished:
        return None
    data = (<Message>event)._value
    if type(data) is str:
        return _str_frame(0x81, <str>data, masked, _pool.take() if masked else 0)
    if type(data) is bytes:
        return _bytes_frame(0x82, <bytes>data, masked, _pool.take() if masked else 0)
    return None


# The decoder

cdef enum:
    EXTENSION_STEP = 8192  # see the Python twin
    NONE = -1
    CONTINUATION = 0
    TEXT = 1
    BINARY = 2
    CLOSE = 8
    PING = 9
    PONG = 10


# What the hooks of extensions are shown, made once.
cdef dict _OPCODES = {int(opcode): opcode for opcode in Opcode}
cdef list _RSV_BITS = [RsvBits(bool(bits & 4), bool(bits & 2), bool(bits & 1)) for bits in range(8)]


cdef uint64_t _limit(str name, object value) except? 0:
    if value is None:
        return MAX_LENGTH
    if not 0 <= value <= MAX_LENGTH:
        raise ValueError(f"{name} must be 0 to 2**63 - 1, not {value}")
    return <uint64_t>value


cdef class FrameDecoder:
    """FrameDecoder(client, extensions=(), *, whole_messages=False, max_frame_size=None, max_message_size=None, max_fragments=None)\n--\n\nTurns the bytes of a peer into events, as far as they have come, and never further than asked. See the Python twin."""

    cdef bint _client, _whole, _closed
    cdef tuple _extensions
    cdef uint64_t _max_frame, _max_message, _max_fragments
    # What has come and was not read yet: the memory of _chunk, which is the bytes object that was given, or a bytearray of our own
    # where more came before the last was read.
    cdef object _chunk
    cdef const unsigned char *_data
    cdef size_t _pos, _end
    # A header cut by the end of what has come, and a control payload so cut.
    cdef unsigned char _head[14]
    cdef size_t _head_size
    cdef bytes _control
    # The frame under way: its opcode is NONE between frames.
    cdef int _opcode
    cdef bint _fin
    cdef unsigned char _key[4]
    cdef unsigned _phase
    cdef uint64_t _remaining
    # The message under way: its opcode is NONE between messages.
    cdef int _message
    cdef uint64_t _fragments, _size
    cdef unsigned char _utf8[4]
    cdef size_t _utf8_size
    cdef bytearray _held

    def __init__(self, client, extensions=(), *, whole_messages=False, max_frame_size=None, max_message_size=None,
                 max_fragments=None):
        self._max_frame = _limit("max_frame_size", max_frame_size)
        self._max_message = _limit("max_message_size", max_message_size)
        self._max_fragments = _limit("max_fragments", max_fragments)
        self._client = client
        self._whole = whole_messages
        self._extensions = tuple(extensions) or None
        self._closed = False
        self._chunk = self._held = self._control = None
        self._data = NULL
        self._pos = self._end = self._head_size = self._utf8_size = 0
        self._opcode = self._message = NONE
        self._fragments = self._size = self._remaining = 0
        memcpy(self._key, b"\0\0\0\0", 4)

    @property
    def client(self):
        """Whether this end is the client."""
        return self._client

    @property
    def closed(self):
        """Whether the peer's close frame, or a violation, has been given out as an event."""
        return self._closed

    @property
    def message_room(self):
        """Bytes that the message under way may still take; a decompressing extension must not exceed it."""
        return self._max_message - self._size

    def receive_data(self, data):
        """Takes bytes from the peer; dropped once closed. See the Python twin."""
        self._feed(data)

    cdef int _feed(self, object data) except -1:
        with cython.critical_section(self):
            if type(data) is not bytes:
                data = _copied(data)
            if self._closed or PyBytes_GET_SIZE(data) == 0:
                return 0
            if self._pos == self._end:
                self._chunk = data
                self._data = <const unsigned char *>PyBytes_AS_STRING(data)
                self._pos = 0
                self._end = <size_t>PyBytes_GET_SIZE(data)
            else:
                self._append(data)
        return 0

    cdef int _append(self, bytes data) except -1:
        """Keeps more behind what was not read yet; a byte is moved a bounded number of times however small the pieces are."""
        cdef bytearray backlog
        if type(self._chunk) is bytearray:
            backlog = <bytearray>self._chunk
            if self._pos > self._end - self._pos:
                del backlog[: self._pos]
                self._pos = 0
            backlog += data
        else:
            backlog = bytearray(PyBytes_FromStringAndSize(<const char *>self._data + self._pos,
                                                          <Py_ssize_t>(self._end - self._pos)))
            self._pos = 0
            backlog += data
            self._chunk = backlog
        self._data = <const unsigned char *>PyByteArray_AS_STRING(backlog)
        self._end = <size_t>PyByteArray_GET_SIZE(backlog)
        return 0

    def __iter__(self):
        return self

    def __next__(self):
        cdef object event = None
        with cython.critical_section(self):
            if not self._closed:
                try:
                    event = self._next_event()
                except ParseFailed as exc:
                    event = CloseConnection(exc.code, str(exc))
                if type(event) is CloseConnection:
                    self._closed = True
                    self._chunk = self._held = None
                    self._pos = self._end = 0
        if event is None:
            raise StopIteration
        return event

    cdef object _next_event(self):
        cdef object event
        while self._opcode != NONE or self._read_header():
            if self._opcode & 8:
                return self._read_control()
            if self._remaining and self._pos == self._end:
                return None
            event = self._read_data()
            if event is not None:
                return event
        return None

    cdef bint _read_header(self) except -1:
        """Reads the header at the front, each part checked as soon as it is there."""
        cdef const unsigned char *at
        cdef size_t have, need = 2, before = self._head_size, i
        cdef int opcode
        cdef bint masked
        cdef uint64_t length
        if self._pos == self._end:
            return False
        if before == 0:
            at = self._data + self._pos
            have = self._end - self._pos
        else:
            have = min(self._end - self._pos, 14 - before)
            memcpy(self._head + before, self._data + self._pos, have)
            have += before
            at = self._head
        opcode = self._check_first_byte(at[0])
        if have < 2:
            return self._keep_head(at, have)
        masked = (at[1] & 0x80) != 0
        if masked == self._client:
            raise ParseFailed("masked frame from a server" if self._client else "unmasked frame from a client")
        length = at[1] & 0x7F
        if length > 125:
            if opcode & 8:
                raise ParseFailed("control frame with more than 125 bytes")
            need += 2 if length == 126 else 8
            if need == 10 and have > 2 and at[2] & 0x80:
                raise ParseFailed("frame length with the top bit set")
            if have < need:
                return self._keep_head(at, have)
            length = 0
            for i in range(2, need):
                length = (length << 8) | at[i]
            if length <= (125 if need == 4 else 0xFFFF):
                raise ParseFailed("frame length not in its shortest form")
        self._check_limits(opcode, length)
        if not self._client:
            if have < need + 4:
                return self._keep_head(at, have)
            memcpy(self._key, at + need, 4)
            need += 4
        cdef unsigned char first = at[0]
        self._pos += need - before
        self._head_size = 0
        if self._extensions is not None:
            self._offer_header(opcode, first, length)
        self._opcode = opcode
        self._fin = (first & 0x80) != 0
        self._phase = 0
        self._remaining = length
        if not opcode & 8:
            self._fragments += 1
            if self._message == NONE:
                self._message = opcode
        return True

    cdef bint _keep_head(self, const unsigned char *at, size_t have) noexcept:
        if at != self._head:
            memcpy(self._head, at, have)
        self._head_size = have
        self._pos = self._end
        return False

    cdef int _check_first_byte(self, unsigned char first) except -1:
        cdef int opcode = first & 0x0F
        if opcode > PONG or (BINARY < opcode < CLOSE):
            raise ParseFailed(f"frame with the reserved opcode {opcode:#x}")
        if first & 0x70 and self._extensions is None:
            raise ParseFailed("reserved bit set without an extension")
        if opcode & 8:
            if not first & 0x80:
                raise ParseFailed("fragmented control frame")
        elif opcode == CONTINUATION:
            if self._message == NONE:
                raise ParseFailed("continuation frame without a message to continue")
        elif self._message != NONE:
            raise ParseFailed("new message inside a fragmented one")
        return opcode

    cdef int _check_limits(self, int opcode, uint64_t length) except -1:
        if opcode & 8:
            return 0
        if length > self._max_frame:
            raise ParseFailed(f"frame of {length} bytes, limit {self._max_frame}", CloseReason.MESSAGE_TOO_BIG)
        if self._extensions is None and length > self._max_message - self._size:
            raise ParseFailed(f"message of more than {self._max_message} bytes", CloseReason.MESSAGE_TOO_BIG)
        if self._fragments >= self._max_fragments:
            raise ParseFailed(f"message of more than {self._max_fragments} frames", CloseReason.MESSAGE_TOO_BIG)
        return 0

    cdef int _offer_header(self, int opcode, unsigned char first, uint64_t length) except -1:
        """Shows the header to the extensions; a reserved bit that none of them claims is a violation."""
        cdef unsigned char claimed = 0
        rsv = _RSV_BITS[(first >> 4) & 7]
        for extension in self._extensions:
            answer = extension.frame_inbound_header(self, _OPCODES[opcode], rsv, length)
            if isinstance(answer, CloseReason):
                raise ParseFailed("frame header refused by an extension", answer)
            used1, used2, used3 = answer
            claimed |= (0x40 if used1 else 0) | (0x20 if used2 else 0) | (0x10 if used3 else 0)
        if first & 0x70 & ~claimed:
            raise ParseFailed("reserved bit set that no extension uses")
        return 0

    cdef object _run_extensions(self, bytes piece):
        cdef bint complete = self._remaining == 0
        for extension in self._extensions:
            result = extension.frame_inbound_payload_data(self, piece)
            if isinstance(result, CloseReason):
                raise ParseFailed("payload refused by an extension", result)
            piece = result if type(result) is bytes else _copied(result)
        if complete:
            for extension in self._extensions:
                result = extension.frame_inbound_complete(self, self._fin)
                if isinstance(result, CloseReason):
                    raise ParseFailed("payload refused by an extension", result)
                if result is not None:
                    piece += result
        return piece

    cdef size_t _available(self) noexcept:
        """Bytes of the frame's payload that are there and make one step."""
        cdef size_t there = self._end - self._pos
        if self._extensions is not None and not self._whole and there > EXTENSION_STEP:
            there = EXTENSION_STEP
        return there if there < self._remaining else <size_t>self._remaining

    cdef unsigned _unmask(self, unsigned char *out, size_t size) noexcept:
        """Moves that many bytes of payload, unmasked, to ``out``; says whether one of them is above 127."""
        cdef unsigned high = xor_mask(out, self._data + self._pos, size, xor_mask_key_word(self._key, self._phase))
        self._pos += size
        self._remaining -= size
        self._phase = (self._phase + <unsigned>(size & 3)) & 3
        return high

    cdef object _read_control(self):
        cdef size_t size = self._available()
        cdef int opcode = self._opcode
        cdef bytes payload = PyBytes_FromStringAndSize(NULL, <Py_ssize_t>size)
        if size:
            self._unmask(<unsigned char *>PyBytes_AS_STRING(payload), size)
        if self._control is not None:
            payload = self._control + payload
        if self._remaining:
            self._control = payload
            return None
        self._control = None
        self._opcode = NONE
        if self._extensions is not None:
            payload = self._run_extensions(payload)
        if opcode == PING:
            return Ping(payload)
        if opcode == PONG:
            return Pong(payload)
        code, reason = decode_close_payload(payload)
        return CloseConnection(code, reason)

    cdef object _read_data(self):
        cdef size_t size = self._available()
        cdef bint frame_finished = size == self._remaining
        cdef bint finished = frame_finished and self._fin
        cdef bint text = self._message == TEXT
        cdef object data
        if self._extensions is None and self._whole and (not finished or self._held is not None):
            self._size += size
            data = self._hold_raw(size, text, finished)
        else:
            data = self._read_piece(size, text, finished)
        if frame_finished:
            self._opcode = NONE
        if finished:
            self._message = NONE
            self._size = self._fragments = 0
        if data is None:
            return None
        return _message_event(text, data, frame_finished, finished)

    cdef object _read_piece(self, size_t size, bint text, bint finished):
        """The payload that is there, as the data of an event; None where it is held until its message is whole."""
        cdef object piece
        cdef const unsigned char *start
        cdef unsigned high
        if self._extensions is None:
            self._size += size
            if not text:
                piece = PyBytes_FromStringAndSize(NULL, <Py_ssize_t>size)
                self._unmask(<unsigned char *>PyBytes_AS_STRING(piece), size)
                return piece
            # Most text is ASCII: unmask straight into the str, and look for high bits on the way.
            piece = PyUnicode_New(<Py_ssize_t>size, 127)
            if size == 0 and self._utf8_size == 0:
                return piece
            high = self._unmask(<unsigned char *>PyUnicode_DATA(piece), size) if size else 0
            if high == 0 and self._utf8_size == 0:
                return piece
            return self._decode(<const unsigned char *>PyUnicode_DATA(piece), size, finished)
        piece = PyBytes_FromStringAndSize(NULL, <Py_ssize_t>size)
        self._unmask(<unsigned char *>PyBytes_AS_STRING(piece), size)
        piece = self._run_extensions(piece)
        # Only an extension can exceed what the header announced.
        if <uint64_t>PyBytes_GET_SIZE(piece) > self._max_message - self._size:
            raise ParseFailed(f"message of more than {self._max_message} bytes", CloseReason.MESSAGE_TOO_BIG)
        self._size += <uint64_t>PyBytes_GET_SIZE(piece)
        data = piece
        if text:
            start = <const unsigned char *>PyBytes_AS_STRING(piece)
            data = self._decode(start, <size_t>PyBytes_GET_SIZE(piece), finished)
        if not self._whole or (finished and self._held is None):
            return data
        if self._held is None:
            self._held = bytearray()
        self._held += piece
        return self._release_held(text) if finished else None

    cdef object _hold_raw(self, size_t size, bint text, bint finished):
        """Unmasks what is there behind what is held of the message; kept as bytes, since many small str take 50 times the room."""
        cdef Py_ssize_t before
        cdef unsigned char *start
        cdef unsigned high = 0
        if self._held is None:
            self._held = bytearray()
        before = PyByteArray_GET_SIZE(self._held)
        if size:
            PyByteArray_Resize(self._held, before + <Py_ssize_t>size)
        start = <unsigned char *>PyByteArray_AS_STRING(self._held) + before
        if size:
            high = self._unmask(start, size)
        if text and (high or self._utf8_size):
            self._decode(start, size, finished)  # for its check alone: bad UTF-8 ends the connection at once
        return self._release_held(text) if finished else None

    cdef object _release_held(self, bint text):
        cdef bytearray held = self._held
        self._held = None
        if text:  # each piece of it was checked
            return _utf8_str(<const unsigned char *>PyByteArray_AS_STRING(held), <size_t>PyByteArray_GET_SIZE(held))
        return bytes(held)

    cdef object _decode(self, const unsigned char *start, size_t size, bint final):
        """Decodes UTF-8 that may begin and end inside a character."""
        cdef bytes joined
        cdef Py_ssize_t consumed = 0
        cdef str text
        if self._utf8_size:
            joined = (PyBytes_FromStringAndSize(<const char *>self._utf8, <Py_ssize_t>self._utf8_size)
                      + PyBytes_FromStringAndSize(<const char *>start, <Py_ssize_t>size))
            start = <const unsigned char *>PyBytes_AS_STRING(joined)
            size = <size_t>PyBytes_GET_SIZE(joined)
        if final:
            text = _utf8_str(start, size)
            if text is None:
                raise ParseFailed("text that is not UTF-8", CloseReason.INVALID_FRAME_PAYLOAD_DATA)
            self._utf8_size = 0
            return text
        try:
            text = PyUnicode_DecodeUTF8Stateful(<const char *>start, <Py_ssize_t>size, NULL, &consumed)
        except UnicodeDecodeError:
            raise ParseFailed("text that is not UTF-8", CloseReason.INVALID_FRAME_PAYLOAD_DATA) from None
        self._utf8_size = 0
        if <size_t>consumed < size:
            self._utf8_size = size - <size_t>consumed
            if self._utf8_size > 3:
                raise SystemError("the UTF-8 decoder left more than one character")
            memcpy(self._utf8, start + consumed, self._utf8_size)
            # CPython waits for the third byte of a surrogate, which strict UTF-8 never has.
            if self._utf8_size == 2 and self._utf8[0] == 0xED and self._utf8[1] >= 0xA0:
                raise ParseFailed("text that is not UTF-8", CloseReason.INVALID_FRAME_PAYLOAD_DATA)
        return text


cdef str _utf8_str(const unsigned char *start, size_t size):
    """The text of whole UTF-8, or None where it is not valid."""
    cdef unsigned char largest
    cdef int failed
    cdef size_t count = utf8_measure(start, size, &largest)
    cdef Py_UCS4 widest = 0x7F if largest < 0x80 else 0xFF if largest < 0xC4 else 0xFFFF if largest < 0xF0 else 0x10FFFF
    cdef str text = PyUnicode_New(<Py_ssize_t>count, widest)
    if count == 0:
        return text if size == 0 else None
    if widest <= 0xFF:
        failed = utf8_to_ucs1(start, size, <uint8_t *>PyUnicode_DATA(text))
    elif widest == 0xFFFF:
        failed = utf8_to_ucs2(start, size, <uint16_t *>PyUnicode_DATA(text))
    else:
        failed = utf8_to_ucs4(start, size, <uint32_t *>PyUnicode_DATA(text))
    return None if failed else text


# The connection

cdef class OpenConnection:
    """OpenConnection(decoder, plain)\n--\n\nWhat every message passes through in an open connection. See the Python twin."""

    cdef FrameDecoder _framer
    cdef public list _events
    cdef public bint _open
    cdef public bint _plain

    def __init__(self, FrameDecoder decoder not None, plain):
        self._framer = decoder
        self._events = []
        self._open = True
        self._plain = plain

    @property
    def client(self):
        """Whether this end is the client."""
        return self._framer._client

    @property
    def _decoder(self):
        return self._framer

    def send(self, event):
        """Returns the bytes that tell the peer. See the Python twin."""
        cdef bytes frame
        if self._open and self._plain and not self._framer._closed:
            frame = _whole_message(event, self._framer._client)
            if frame is not None:
                return frame
        return self._send_other(event)

    def receive_data(self, data):
        """Takes bytes that the peer sent, or None when the transport has ended. See the Python twin."""
        if self._open and data is not None:
            self._framer._feed(data)
        else:
            self._receive_other(data)

    def events(self):
        """Returns the events that are due, each parsed when it is taken."""
        return self._queued_events() if self._events else self._framer

    def _queued_events(self):
        while self._events:
            yield self._events.pop(0)
        yield from self._framer

    def _send_other(self, event):
        raise LocalProtocolError(f"{type(event).__name__} cannot be sent")

    def _receive_other(self, data):
        raise LocalProtocolError("the connection is closed already")


cdef bytes _copied(object data):
    cdef Py_buffer view
    PyObject_GetBuffer(data, &view, PyBUF_SIMPLE)
    try:
        return PyBytes_FromStringAndSize(<const char *>view.buf, view.len)
    finally:
        PyBuffer_Release(&view)


cdef Message _message_event(bint text, object data, bint frame_finished, bint message_finished):
    """Makes the event without its ``__init__``, which would parse arguments."""
    cdef Message event = TextMessage.__new__(TextMessage) if text else BytesMessage.__new__(BytesMessage)
    event._value = data
    event._frame_finished = frame_finished
    event._message_finished = message_finished
    return event
