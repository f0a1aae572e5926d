"""What `_flow_c` takes from `_queue_c`."""

from wscore._framing_c cimport OpenConnection


cdef class SendQueue:
    cdef list _pieces
    cdef unsigned char *_tail  # frames behind all pieces, which more may join
    cdef Py_ssize_t _tail_size
    cdef Py_ssize_t _tail_room
    cdef public Py_ssize_t unsent
    cdef public object _noted
    cdef public bint broken
    cdef public bint reading
    cdef public bint _begun

    cdef int add(self, object data) except -1
    cdef int settle(self) except -1
    cdef int drop_tail(self) except -1
    cdef unsigned char *room_for(self, Py_ssize_t size) except NULL
    cdef object front(self)
    cdef int took(self, Py_ssize_t size) except -1
    cdef int forget(self) except -1
    cdef int put(self, OpenConnection core, object message, bint waits) except -1
    cdef int let_read(self, bint reading) except -1


cdef class SocketQueue(SendQueue):
    cdef public object _socket
    cdef public object _owner
    cdef public object _driver
    cdef public Py_ssize_t _receive_size
    cdef public int _fd
    cdef public bint _readable
    cdef public bint _ending
    cdef public bint _blocked
    cdef public bint _awaits_turn
    cdef bint claimed  # a run of sends is going on, and this is in it

    cdef int send_now(self, bytes data) except -1
    cdef int flush_now(self) except -1
    cdef int flush_tail(self) except -1
    cdef Py_ssize_t give_object(self, object data) except -2
    cdef int _progress(self) except -1
    cdef int read(self, double now) except -1
    cdef int ask_for_turn(self) except -1
    cdef int keep_rest(self, bytes data, Py_ssize_t sent) except -1
    cdef Py_ssize_t give(self, const void *data, Py_ssize_t size) except -2


cdef Py_ssize_t offer(int fd, const void *data, Py_ssize_t size) noexcept nogil
