"""What `_fanout_c` takes from `_flow_c`."""

from wscore._queue_c cimport SendQueue as Queue


cdef class Inbox:
    cdef public object core
    cdef public Py_ssize_t queue_size
    cdef public Queue wire
    cdef public object closed
    cdef public list messages
    cdef public list getters
    cdef public double last_received
    cdef public bint open
    cdef public bint more
    cdef public bint discarding
    cdef public object due_pong
    cdef public object run

    cdef int _proceed(self) except -1
    cdef int _parse(self) except -1
    cdef int _take_messages(self, list taken) except -1


cdef class MessageChannel:
    cdef readonly Inbox _session
    cdef public int _received
    cdef public int _sent
    cdef public object _turns
    cdef object _spare  # a call that is done, to be the next one

    cdef object _taken(self)
    cdef object _wait(self)
    cdef object _sent_rest(self, object message)
