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
from wscore._decoder_c cimport FrameDecoder as Decoder
from wscore._events_c cimport Message as AnyMessage
from wscore._primitives_c cimport bytes_frame, frame_header, fresh_key, str_frame

from wscore._decoder_c import FrameDecoder
from wscore._events_c import BytesMessage, CloseConnection, Event, Message, Ping, Pong, TextMessage
from wscore._primitives_c import (KERNEL, _choose_kernel, apply_mask, apply_mask_inplace, encode_frame, encode_frame_header,
                                  new_mask_key)
from wscore.errors import LocalProtocolError

IMPLEMENTATION = "cython"


cdef class OpenConnection:
    """OpenConnection(decoder, plain)\n--\n\nWhat every message passes through in an open connection. See the Python twin."""

    cdef Decoder _framer
    cdef public list _events
    cdef public bint _open
    cdef public bint _plain

    def __init__(self, Decoder decoder not None, plain):
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

    @cython.binding(False)
    def send(self, event):
        """send($self, event)\n--\n\nReturns the bytes that tell the peer. See the Python twin."""
        cdef bytes frame
        if self._open and self._plain and not self._framer._closed:
            frame = _whole_message(event, self._framer._client)
            if frame is not None:
                return frame
        return self._send_other(event)

    @cython.binding(False)
    def send_parts(self, event):
        """send_parts($self, event)\n--\n\nReturns them in two parts, a large message's own data the second. See the Python twin."""
        cdef Py_ssize_t size
        if (self._open and self._plain and not self._framer._client and not self._framer._closed
                and isinstance(event, AnyMessage) and (<AnyMessage>event)._message_finished):
            data = (<AnyMessage>event)._value
            size = _size_as_it_is(data)
            if size >= 0:
                return frame_header(0x82, <uint64_t>size), data
        return self.send(event), b""

    @cython.binding(False)
    def receive_data(self, data):
        """receive_data($self, data)\n--\n\nTakes bytes that the peer sent, or None when the transport has ended. See the Python twin."""
        if self._open and data is not None:
            self._framer.feed(data)
        else:
            self._receive_other(data)

    @cython.binding(False)
    def events(self):
        """events($self)\n--\n\nReturns the events that are due, each parsed when it is taken."""
        return self._queued_events() if self._events else self._framer

    def _queued_events(self):
        while self._events:
            yield self._events.pop(0)
        yield from self._framer

    def _send_other(self, event):
        raise LocalProtocolError(f"{type(event).__name__} cannot be sent")

    def _receive_other(self, data):
        raise LocalProtocolError("the connection is closed already")


cdef bytes _whole_message(object event, bint masked):
    """The frame of a message that is one frame, or None where the event is not such a message."""
    if not isinstance(event, AnyMessage) or not (<AnyMessage>event)._message_finished:
        return None
    data = (<AnyMessage>event)._value
    if type(data) is str:
        return str_frame(0x81, <str>data, masked, fresh_key() if masked else 0)
    if type(data) is bytes:
        return bytes_frame(0x82, <bytes>data, masked, fresh_key() if masked else 0)
    return None


cdef Py_ssize_t _size_as_it_is(object data) except -2:
    """Bytes of what can be sent from where it lies, or -1."""
    if type(data) is bytes:
        return PyBytes_GET_SIZE(data)
    if not isinstance(data, (bytes, bytearray, memoryview)):
        return -1
    view = memoryview(data)
    return view.nbytes if view.c_contiguous else -1
