# cython: language_level=3, binding=True, embedsignature=False
# cython: boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
# cython: freethreading_compatible=True, auto_pickle=False
"""The frame decoder, compiled; imports the compiled primitives and events, and leaves of wscore.

``wscore/_decoder_py.py`` is the reference: same meaning, same tests. Lengths are unsigned and are checked before
any arithmetic; what was received is held for as long as its memory is read.
"""

cimport cython
from cpython.bytearray cimport PyByteArray_AS_STRING, PyByteArray_GET_SIZE, PyByteArray_Resize
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.stdint cimport uint64_t
from libc.string cimport memcpy

from wscore._events_c cimport CloseConnection, Ping, Pong, message_event
from wscore._primitives_c cimport MAX_LENGTH, copied, mask, utf8_str, xor_mask_key_word

from wscore._close_payload import decode_close_payload
from wscore._codes import CloseReason, Opcode, RsvBits
from wscore._deflate import MAX_ROOM, TAIL
from wscore._inbound_hooks import offer_header, run_payload
from wscore.errors import ParseFailed

cdef extern from "Python.h":
    object PyUnicode_New(Py_ssize_t size, Py_UCS4 maxchar)
    void *PyUnicode_DATA(object o)
    object PyUnicode_DecodeUTF8Stateful(const char *s, Py_ssize_t size, const char *errors, Py_ssize_t *consumed)

cdef enum:
    EXTENSION_STEP = 8192  # see the Python twin
    TAKEN_SIZE = 65536
    NONE = -1
    CONTINUATION = 0
    TEXT = 1
    BINARY = 2
    CLOSE = 8
    PING = 9
    PONG = 10


cdef bytes _TAIL = TAIL
cdef uint64_t _MAX_ROOM = MAX_ROOM

# What the hooks of extensions are shown.
cdef dict _OPCODES = {int(opcode): opcode for opcode in Opcode}
cdef list _RSV_BITS = [RsvBits(bool(bits & 4), bool(bits & 2), bool(bits & 1)) for bits in range(8)]


cdef uint64_t _limit(str name, object value) except? 0:
    if value is None:
        return MAX_LENGTH
    if not 0 <= value <= MAX_LENGTH:
        raise ValueError(f"{name} must be 0 to 2**63 - 1, not {value}")
    return <uint64_t>value


cdef class FrameDecoder:
    """FrameDecoder(client, extensions=(), *, whole_messages=False, max_frame_size=None, max_message_size=None, max_fragments=None, deflate=None)\n--\n\nTurns the bytes of a peer into events, as far as they have come, and never further than asked. See the Python twin."""

    def __init__(self, client, extensions=(), *, whole_messages=False, max_frame_size=None, max_message_size=None,
                 max_fragments=None, deflate=None):
        self._max_frame = _limit("max_frame_size", max_frame_size)
        self._max_message = _limit("max_message_size", max_message_size)
        self._max_fragments = _limit("max_fragments", max_fragments)
        self._client = client
        self._whole = whole_messages
        self._extensions = tuple(extensions) or None
        self._deflate = deflate
        self._closed = self._ended = self._compressed = self._in_hook = False
        self._chunk = self._held = self._control = self._violation = None
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
    def violated(self):
        """Whether a violation was found that has not been given out yet."""
        return self._violation is not None

    @property
    def message_room(self):
        """Bytes that the message under way may still take; a decompressing extension must not exceed it."""
        return self._max_message - self._size

    @cython.binding(False)
    def receive_data(self, data):
        """receive_data($self, data)\n--\n\nTakes bytes from the peer; dropped once closed. See the Python twin."""
        self.feed(data)

    cdef int feed(self, object data) except -1:
        with cython.critical_section(self):
            if type(data) is not bytes:
                data = copied(data)
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

    def receive_eof(self):
        """Takes the end of the transport. See the Python twin."""
        self._ended = True

    def __iter__(self):
        return self

    def __next__(self):
        cdef object event = None
        with cython.critical_section(self):
            if not self._closed:
                if self._in_hook:
                    raise ValueError("an extension asks for events while it is shown a frame")
                try:
                    event = self._next_event()
                except ParseFailed as exc:
                    event = CloseConnection(exc.code, str(exc))
                except BaseException:  # an extension's: what has become of the frame is not known
                    self._close()
                    raise
                if event is None and self._ended:
                    event = CloseConnection(CloseReason.ABNORMAL_CLOSURE)
                if type(event) is CloseConnection:
                    self._close()
                elif self._pos == self._end:
                    self._chunk = None  # not to be kept while nothing comes
        if event is None:
            raise StopIteration
        return event

    def take_messages(self, limit):
        """Returns the data of the messages that are the next events. See the Python twin."""
        return self.take(limit)

    cdef list take(self, Py_ssize_t limit):
        cdef list taken = []
        with cython.critical_section(self):
            if not self._whole:
                raise ValueError("messages that come in pieces cannot be taken: whole_messages is not set")
            if self._closed or self._violation is not None:
                return taken
            if self._in_hook:
                raise ValueError("an extension asks for messages while it is shown a frame")
            if self._extensions is not None and self._deflate is None and limit > 1:
                limit = 1  # what a hook raises must not cost the messages before
            try:
                self._take_into(taken, limit)
            except ParseFailed as exc:
                self._in_hook = False
                self._violation = CloseConnection(exc.code, str(exc))
            except BaseException:
                self._close()
                raise
            if self._pos == self._end:
                self._chunk = None
        return taken

    cdef int _take_into(self, list taken, Py_ssize_t limit) except -1:
        cdef Py_ssize_t size = 0
        cdef object data
        while len(taken) < limit and size < TAKEN_SIZE and (self._opcode != NONE or self._read_header()):
            if self._opcode & 8 or (self._remaining and self._pos == self._end):
                break
            data = self._read_data()
            if data is not None:
                taken.append(data)
                size += len(data)
        return 0

    cdef int _close(self) except -1:
        self._closed = True
        self._chunk = self._held = self._violation = None
        self._pos = self._end = 0
        return 0

    cdef object _next_event(self):
        cdef object data
        cdef bint text
        if self._violation is not None:
            return self._violation
        while self._opcode != NONE or self._read_header():
            if self._opcode & 8:
                return self._read_control()
            if self._remaining and self._pos == self._end:
                return None
            text = self._message == TEXT
            data = self._read_data()
            if data is not None:
                return message_event(text, data, self._opcode == NONE, self._message == NONE)
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
        if self._deflate is not None:
            self._note_compression(opcode, first)
        elif self._extensions is not None:
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
        self._in_hook = True
        offer_header(self, self._extensions, _OPCODES[opcode], _RSV_BITS[(first >> 4) & 7], length)
        self._in_hook = False
        return 0

    cdef int _note_compression(self, int opcode, unsigned char first) except -1:
        """Does what the deflating extension's hook would: RSV1 marks a message by its first frame (RFC 7692, section 6)."""
        if first & 0x30:
            raise ParseFailed("reserved bit set that no extension uses")
        if opcode == TEXT or opcode == BINARY:
            self._compressed = (first & 0x40) != 0
        elif first & 0x40:
            raise ParseFailed("compression announced by another than a message's first frame")
        return 0

    cdef object _inflated(self, size_t size, bint ends):
        """What that many bytes of compressed payload become."""
        cdef bytes piece = PyBytes_FromStringAndSize(NULL, <Py_ssize_t>(size + 4 if ends else size))
        cdef unsigned char *start = <unsigned char *>PyBytes_AS_STRING(piece)
        self._unmask(start, size)
        if ends:
            memcpy(start + size, PyBytes_AS_STRING(_TAIL), 4)
        result = self._deflate.inflate(self._client, piece, min(self._max_message - self._size, _MAX_ROOM), ends)
        if type(result) is not bytes:
            raise ParseFailed("payload refused by an extension", result)
        return result

    cdef object _run_extensions(self, bytes piece):
        self._in_hook = True
        piece = run_payload(self, self._extensions, piece, self._remaining == 0, self._fin)
        self._in_hook = False
        return piece

    cdef size_t _available(self) noexcept:
        """Bytes of the frame's payload that are there and make one step."""
        cdef size_t there = self._end - self._pos
        if self._extensions is not None and not self._whole and there > EXTENSION_STEP:
            there = EXTENSION_STEP
        return there if there < self._remaining else <size_t>self._remaining

    cdef unsigned _unmask(self, unsigned char *out, size_t size) noexcept:
        """Moves that many bytes of payload, unmasked, to ``out``; says whether one of them is above 127."""
        cdef unsigned high = mask(out, self._data + self._pos, size, xor_mask_key_word(self._key, self._phase))
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
        if self._extensions is not None and self._deflate is None:
            payload = self._run_extensions(payload)
        if opcode == PING:
            return Ping(payload)
        if opcode == PONG:
            return Pong(payload)
        code, reason = decode_close_payload(payload)
        return CloseConnection(code, reason)

    cdef object _read_data(self):
        """The data of the next event; None where it is held until its message is whole."""
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
        return data

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
        if self._deflate is not None and self._compressed:
            piece = self._inflated(size, finished)
        else:
            piece = PyBytes_FromStringAndSize(NULL, <Py_ssize_t>size)
            self._unmask(<unsigned char *>PyBytes_AS_STRING(piece), size)
            if self._deflate is None:
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
        """Unmasks what is there behind what is held of the message; kept as bytes, since many small str take many times the room."""
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
            return utf8_str(<const unsigned char *>PyByteArray_AS_STRING(held), <size_t>PyByteArray_GET_SIZE(held))
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
            text = utf8_str(start, size)
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
