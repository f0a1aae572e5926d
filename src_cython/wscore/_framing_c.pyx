# cython: language_level=3, binding=True, embedsignature=False
# cython: boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
# cython: freethreading_compatible=True, auto_pickle=False
"""The compiled framing twin: what every message passes through, and the names of the modules below; imports these and leaves of wscore.

``wscore/_framing_py.py`` is the reference: same names, same meaning, same tests.
"""

cimport cython
from cpython.bytes cimport PyBytes_GET_SIZE
from libc.stdint cimport uint64_t

# Under other names: what is cimported under its own is no attribute of this module, and these are handed on below.
from wscore._events_c cimport (BytesMessage as Binary, Message as AnyMessage, PreparedMessage as Prepared,
                              TextMessage as Text)
from wscore._primitives_c cimport bytes_frame, frame_header, fresh_key, message_frame

from collections import deque

from wscore._decoder_c import FrameDecoder
from wscore._events_c import BytesMessage, CloseConnection, Event, Message, Ping, Pong, PreparedMessage, TextMessage
from wscore._primitives_c import (KERNEL, _choose_kernel, apply_mask, apply_mask_inplace, encode_frame, encode_frame_header,
                                  new_mask_key)
from wscore.errors import LocalProtocolError

IMPLEMENTATION = "cython"


cdef class OpenConnection:
    """OpenConnection(decoder, plain, deflate=None)\n--\n\nWhat every message passes through in an open connection. See the Python twin."""

    def __init__(self, Decoder decoder not None, plain, deflate=None):
        self._framer = decoder
        self._deflate = deflate
        self._queue = None
        self._open = True
        self._plain = plain
        self.client = decoder._client

    @property
    def _decoder(self):
        return self._framer

    @cython.binding(False)
    def send(self, event):
        """send($self, event)\n--\n\nReturns the bytes that tell the peer. See the Python twin."""
        cdef bytes frame
        if self._open and self._plain and not self._framer._closed:
            # What is most frequent has the shortest way.
            if self._deflate is None and (type(event) is Text or type(event) is Binary) and (<AnyMessage>event)._message_finished:
                frame = message_frame((<AnyMessage>event)._value, self._framer._client)
            else:
                frame = self._whole_message(event, self._framer._client)
            if frame is not None:
                return frame
        return self._send_other(event)

    @cython.binding(False)
    def send_message(self, data):
        """send_message($self, data)\n--\n\nReturns the bytes that tell the peer of a whole message, without making an event. See the Python twin."""
        return self.encode(data)

    cdef bytes encode(self, object data):
        cdef bytes frame
        cdef bint client
        if self._open and self._plain and not self._framer._closed and (type(data) is str or type(data) is bytes):
            client = self._framer._client
            if self._deflate is None:
                return message_frame(data, client)
            return _deflated_frame(data, self._deflate.deflate(client, _raw(data)), client)
        return self.send(TextMessage(data) if isinstance(data, str) else BytesMessage(data))

    cdef bint writes_plainly(self) noexcept:
        """Whether a message is sent as it is, behind a header."""
        return self._open and self._plain and self._deflate is None and not self._framer._client and not self._framer._closed

    cdef bytes shared_frame(self, Prepared message):
        """The frame of a message that all servers like this one share; None where this one shares none."""
        if self._open and self._plain and not self._framer._closed and not self._framer._client:
            return _prepared_frame(message, self._deflate)
        return None

    cdef bytes _whole_message(self, object event, bint client):
        """The frame of a message that is one frame, or None where the event is not such a message."""
        if not isinstance(event, AnyMessage) or not (<AnyMessage>event)._message_finished:
            return None
        if type(event) is Prepared and not client:
            return _prepared_frame(<Prepared>event, self._deflate)
        data = (<AnyMessage>event)._value
        if self._deflate is None:
            return message_frame(data, client)
        if type(data) is str or type(data) is bytes:
            return _deflated_frame(data, self._deflate.deflate(client, _raw(data)), client)
        return None

    @cython.binding(False)
    def send_parts(self, event):
        """send_parts($self, event)\n--\n\nReturns them in two parts, a large message's own data the second. See the Python twin."""
        cdef Py_ssize_t size
        if (self._open and self._plain and self._deflate is None and not self._framer._client and not self._framer._closed
                and isinstance(event, AnyMessage) and (<AnyMessage>event)._message_finished and type(event) is not Prepared):
            data = (<AnyMessage>event)._value
            size = _size_as_it_is(data)
            if size >= 0:
                return frame_header(0x82, <uint64_t>size), data
        return self.send(event), b""

    @cython.binding(False)
    def receive_data(self, data):
        """receive_data($self, data)\n--\n\nTakes bytes that the peer sent, or None when the transport has ended. See the Python twin."""
        self.feed(data)

    cdef int feed(self, object data) except -1:
        if self._open and data is not None:
            self._framer.feed(data)
        else:
            self._receive_other(data)
        return 0

    @cython.binding(False)
    def events(self):
        """events($self)\n--\n\nReturns the events that are due, each parsed when it is taken."""
        return self._queued_events(self._queue) if self._queue else self._framer

    @cython.binding(False)
    def take_messages(self, limit):
        """take_messages($self, limit)\n--\n\nReturns the data of the messages that are the next events. See the Python twin."""
        return self.take(limit)

    cdef bint drained(self) noexcept:
        """Whether there is nothing to take before more is received."""
        cdef Decoder framer = self._framer
        return (framer._pos == framer._end and (framer._opcode == -1 or framer._remaining != 0) and framer._violation is None
                and not framer._closed and not framer._ended and not self._queue)

    cdef list take(self, Py_ssize_t limit):
        return [] if self._queue else self._framer.take(limit)

    @property
    def violated(self):
        """Whether a violation is the next event, behind messages that were taken. See the Python twin."""
        return self._framer._violation is not None

    def _queued_events(self, queue):
        while queue:
            yield queue.popleft()
        yield from self._framer

    @property
    def _events(self):
        """Events that come before what the decoder has. See the Python twin."""
        if self._queue is None:
            self._queue = deque()
        return self._queue

    def _send_other(self, event):
        raise LocalProtocolError(f"{type(event).__name__} cannot be sent")

    def _receive_other(self, data):
        raise LocalProtocolError("the connection is closed already")


cdef bytes _raw(object data):
    return (<str>data).encode() if type(data) is str else <bytes>data


cdef bytes _deflated_frame(object data, bytes payload, bint masked):
    """The frame of a message and what it was compressed to."""
    return bytes_frame(0xC1 if type(data) is str else 0xC2, payload, masked, fresh_key() if masked else 0)


cdef bytes _prepared_frame(Prepared message, object deflate):
    """The frame that all servers with the same way of compressing, or with none, share."""
    cdef dict frames = <dict>message._code
    cdef object deflater = None
    cdef object frame
    if deflate is not None:
        deflater = deflate.deflater_alone(False)
    frame = frames.get(deflater)
    if frame is None:
        if deflater is None:
            frame = message_frame(message._value, False)
        else:
            frame = _deflated_frame(message._value, deflater.deflate_alone(_raw(message._value)), False)
        frame = frames.setdefault(deflater, frame)
    return <bytes>frame


cdef Py_ssize_t _size_as_it_is(object data) except -2:
    """Bytes of what can be sent from where it lies, or -1."""
    if type(data) is bytes:
        return PyBytes_GET_SIZE(data)
    if not isinstance(data, (bytes, bytearray, memoryview)):
        return -1
    view = memoryview(data)
    return view.nbytes if view.c_contiguous else -1
