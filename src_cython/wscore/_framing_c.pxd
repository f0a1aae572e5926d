"""The state of the compiled open connection, and its door for the compiled transport."""

from wscore._decoder_c cimport FrameDecoder as Decoder
from wscore._events_c cimport PreparedMessage as Prepared


cdef class OpenConnection:
    cdef Decoder _framer
    cdef object _queue
    cdef public bint _open
    cdef public bint _plain
    cdef readonly object _deflate
    cdef public object client  # what users may set; _framer knows better

    cdef bytes encode(self, object data)
    cdef bint writes_plainly(self) noexcept
    cdef bytes shared_frame(self, Prepared message)
    cdef int feed(self, object data) except -1
    cdef bint drained(self) noexcept
    cdef list take(self, Py_ssize_t limit)
    cdef bytes _whole_message(self, object event, bint client)
