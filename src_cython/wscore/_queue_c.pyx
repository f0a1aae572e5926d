# cython: language_level=3, binding=True, embedsignature=False
# cython: boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
# cython: freethreading_compatible=True, auto_pickle=False
"""What is to be sent, and the socket that it is sent on, compiled; imports the compiled framing twin, and knows nothing of trio.

``wscore/trio/_queue_py.py`` is the reference: same names, same meaning, same tests. What belongs to trio is in the classes derived
from these, whose methods are called by name.
"""

cimport cython
from cpython.buffer cimport PyBUF_SIMPLE, PyBuffer_Release, PyObject_GetBuffer
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.mem cimport PyMem_Free, PyMem_Malloc, PyMem_Realloc
from libc.string cimport memcpy

from wscore._framing_c cimport OpenConnection
from wscore._primitives_c cimport FRAME_HEAD, plain_size, put_plain

cdef extern from "socket_calls.h" nogil:
    enum:
        WSCORE_NOTHING
        WSCORE_BROKEN
    Py_ssize_t wscore_send(int fd, const void *data, Py_ssize_t size)
    Py_ssize_t wscore_receive(int fd, void *room, Py_ssize_t size)
    unsigned char *wscore_room

cdef enum:
    JOINED = 65536
    SLICE = 262144
    SENT_PER_TURN = 1048576
    TAIL = 2048  # room for short frames, at first
    ROOM = 65536
    WITHOUT_GIL = 16384  # from this size on, in bytes, sending takes so long that other threads get their turn
    READABLE = 0x001  # epoll(7)
    WRITABLE = 0x004
    ENDING = 0x2018


cdef class SendQueue:
    """SendQueue()\n--\n\nThe bytes that the system has not taken yet. See the Python twin."""

    def __init__(self):
        self._pieces = []
        self._noted = None
        self.unsent = 0
        self.broken = self.reading = self._begun = False

    def __dealloc__(self):
        PyMem_Free(self._tail)

    @property
    def pieces(self):
        """The bytes themselves."""
        self.settle()
        return self._pieces

    cdef int add(self, object data) except -1:
        self.settle()
        self._pieces.append(data)
        self.unsent += len(data)
        return 0

    cdef int settle(self) except -1:
        """Make a piece of the tail."""
        if self._tail_size:
            self._pieces.append(PyBytes_FromStringAndSize(<const char *>self._tail, self._tail_size))
            self.drop_tail()
        return 0

    cdef int drop_tail(self) except -1:
        PyMem_Free(self._tail)
        self._tail = NULL
        self._tail_size = self._tail_room = 0
        return 0

    cdef unsigned char *room_for(self, Py_ssize_t size) except NULL:
        """Where so many bytes can be written behind the tail."""
        cdef void *grown
        cdef Py_ssize_t room = self._tail_room
        if self._tail_size + size > room:
            room = max(TAIL, 2 * room, self._tail_size + size)
            grown = PyMem_Realloc(self._tail, <size_t>room)
            if grown is NULL:
                raise MemoryError
            self._tail = <unsigned char *>grown
            self._tail_room = room
        return self._tail + self._tail_size

    def _enqueue(self, data):
        self.add(data)

    cdef object front(self):
        """The next bytes to offer: small pieces joined, a large one sliced; never empty."""
        cdef list pieces
        cdef Py_ssize_t size, count, there
        self.settle()
        pieces = self._pieces
        there = len(pieces)
        if there > 1 and self.unsent <= JOINED:
            pieces[:] = [b"".join(pieces)]
            there = 1
        first = pieces[0]
        size = len(first)
        if there > 1 and size < JOINED:
            count = 1
            while count < there and size + len(pieces[count]) <= JOINED:
                size += len(pieces[count])
                count += 1
            first = b"".join(pieces[:count])
            pieces[:count] = [first]
        return first if size <= SLICE else memoryview(first)[:SLICE]

    def _front(self):
        return self.front()

    cdef int took(self, Py_ssize_t size) except -1:
        """Note that so many bytes of the first piece were taken."""
        if size == 0:
            return 0
        self.unsent -= size
        first = self._pieces[0]
        if size == len(first):
            del self._pieces[0]
            self._begun = False
        else:
            self._pieces[0] = memoryview(first)[size:]
            self._begun = True
        if self.unsent == 0:
            self._noted = None
        return 0

    def _advance(self, Py_ssize_t size):
        self.took(size)

    cdef int forget(self) except -1:
        self.drop_tail()
        self._pieces.clear()
        self._begun = False
        self.unsent = 0
        self._noted = None
        return 0

    def _forget(self):
        self.forget()

    def drop_unsent(self):
        """Forget what is unsent, but for a piece that was begun."""
        cdef list rest
        self.settle()
        rest = self._pieces[:1] if self._begun else []
        self.forget()
        for piece in rest:
            self.add(piece)
            self._begun = True

    cdef int put(self, OpenConnection core, object message, bint waits) except -1:
        """Sends a message, now or, if it waits, together with what follows."""
        cdef bytes data = core.encode(message)
        if not waits:
            self.send(data)
        elif self.unsent:
            self.add(data)
        else:
            self.append(data)
        return 0

    cdef int let_read(self, bint reading) except -1:
        self.set_reading(reading)
        return 0


cdef Py_ssize_t offer(int fd, const void *data, Py_ssize_t size) noexcept nogil:
    """How many bytes the system takes, none perhaps; or -1 where it takes none ever."""
    cdef Py_ssize_t sent = wscore_send(fd, data, size)
    return sent if sent >= 0 else 0 if sent == WSCORE_NOTHING else -1


cdef class SocketQueue(SendQueue):
    """SocketQueue(socket, owner, driver, receive_size)\n--\n\nWhat is sent and received on a socket. See the Python twin."""

    def __init__(self, socket, owner, driver, Py_ssize_t receive_size):
        SendQueue.__init__(self)
        self._socket = socket
        self._fd = socket.fileno()
        self._owner = owner
        self._driver = driver
        self._receive_size = receive_size
        self._readable = self._ending = self._blocked = self._awaits_turn = self.claimed = False

    @cython.binding(False)
    def on_event(self, int flags, double now):
        """on_event($self, flags, now)\n--\n\nRead and write what the epoll says is possible."""
        if self._blocked and flags & ~READABLE:
            self._blocked = False
            self._progress()
        if flags & ~WRITABLE:
            self._readable = True
            if flags & ENDING:
                self._ending = True
            if self.reading:
                self.read(now)

    @cython.binding(False)
    def on_turn(self):
        """on_turn($self)\n--\n\nGo on with what had to wait for others."""
        self._awaits_turn = False
        if self.unsent and not self._blocked:
            self._progress()
        if self._readable and self.reading:
            self.read(self._now())

    # Receiving

    @cython.binding(False)
    def set_reading(self, bint reading):
        """set_reading($self, reading)\n--\n\nGo on reading, or stop."""
        self.let_read(reading)

    cdef int let_read(self, bint reading) except -1:
        self.reading = reading
        if reading and self._readable:
            self.ask_for_turn()
        return 0

    def _read(self, double now):
        self.read(now)

    cdef int read(self, double now) except -1:
        """Read once, so that others have their turn."""
        cdef Py_ssize_t size, most = self._receive_size
        cdef bytes data = None
        if most <= ROOM:
            size = wscore_receive(self._fd, wscore_room, most)
            if size > 0:
                data = PyBytes_FromStringAndSize(<const char *>wscore_room, size)
        else:
            data = PyBytes_FromStringAndSize(NULL, most)
            size = wscore_receive(self._fd, PyBytes_AS_STRING(data), most)
            if 0 < size < most:
                data = data[:size]
        if size <= 0:
            self._readable = False
            if size != WSCORE_NOTHING:
                self.reading = False
                self._owner.ended()
            return 0
        # On a stream, less than asked for is all there is (epoll(7)).
        if size < most and not self._ending:
            self._readable = False
        self._owner.received(data, now)
        if self._readable and self.reading:
            self.ask_for_turn()
        return 0

    cdef int ask_for_turn(self) except -1:
        if not self._awaits_turn:
            self._awaits_turn = True
            self._driver.soon(self)
        return 0

    def _ask_for_turn(self):
        self.ask_for_turn()

    # Sending

    cdef Py_ssize_t give(self, const void *data, Py_ssize_t size) except -2:
        """How many bytes the system took; -1: it takes none ever, and all is forgotten."""
        cdef Py_ssize_t sent
        cdef int fd = self._fd
        if size < WITHOUT_GIL:
            sent = offer(fd, data, size)
        else:
            with nogil:
                sent = offer(fd, data, size)
        if sent < 0:
            self._break()
        return sent

    cdef int keep_rest(self, bytes data, Py_ssize_t sent) except -1:
        """Keeps what the system did not take of frames that were sent at once."""
        self._blocked = True
        self.add(data)
        self.took(sent)
        return 0

    @cython.binding(False)
    def send(self, bytes data not None):
        """send($self, data)\n--\n\nSend bytes, now or as soon as possible."""
        self.send_now(data)

    cdef int send_now(self, bytes data) except -1:
        cdef Py_ssize_t sent
        if self.unsent:
            self.add(data)
            self.flush_now()
        elif not self.broken:
            sent = self.give(PyBytes_AS_STRING(data), PyBytes_GET_SIZE(data))
            if 0 <= sent < PyBytes_GET_SIZE(data):
                self.keep_rest(data, sent)
        return 0

    @cython.binding(False)
    def append(self, bytes data not None):
        """append($self, data)\n--\n\nSend bytes together with what follows, at the scheduler's next turn at the latest."""
        if not self.broken:
            self.add(data)
            if not self._blocked:
                self.ask_for_turn()

    cdef int put(self, OpenConnection core, object message, bint waits) except -1:
        cdef Py_ssize_t size = -1
        cdef bytes data
        if not waits and not self._tail_size:
            return self.send_now(core.encode(message))
        if self._blocked or self.broken:
            return SendQueue.put(self, core, message, waits)
        # Replies to one read are written behind each other, without an object for each.
        if core.writes_plainly():
            size = plain_size(message)
        if size >= 0:
            self.room_for(FRAME_HEAD + size)
            size = put_plain(self._tail + self._tail_size, message)
        else:
            data = core.encode(message)
            size = PyBytes_GET_SIZE(data)
            memcpy(self.room_for(size), PyBytes_AS_STRING(data), <size_t>size)
        self._tail_size += size
        self.unsent += size
        if not waits:
            self.flush_now()
        else:
            self.ask_for_turn()
        return 0

    @cython.binding(False)
    def flush(self):
        """flush($self)\n--\n\nSend as much as the system takes, and a peer may have at once."""
        self.flush_now()

    cdef int flush_now(self) except -1:
        cdef Py_ssize_t sent, allowance = SENT_PER_TURN
        # A larger one becomes an object: the GIL is given up while it is sent, and another thread that closes must not free it then.
        if 0 < self._tail_size < WITHOUT_GIL and not self._pieces and not self._blocked:
            return self.flush_tail()
        self.settle()
        while self._pieces and not self._blocked:
            if allowance <= 0:
                self.ask_for_turn()
                return 0
            data = self.front()
            sent = self.give_object(data)
            if sent < 0:
                return 0
            self._blocked = sent < len(data)
            self.took(sent)
            allowance -= sent
        return 0

    cdef int flush_tail(self) except -1:
        cdef Py_ssize_t size = self._tail_size, sent = self.give(self._tail, size)
        if sent == size:
            self.forget()
        elif sent >= 0:
            self._blocked = True
            self.settle()
            self.took(sent)
        return 0

    cdef Py_ssize_t give_object(self, object data) except -2:
        cdef Py_buffer view
        if type(data) is bytes:
            return self.give(PyBytes_AS_STRING(data), PyBytes_GET_SIZE(data))
        PyObject_GetBuffer(data, &view, PyBUF_SIMPLE)
        try:
            return self.give(view.buf, view.len)
        finally:
            PyBuffer_Release(&view)

    cdef int _progress(self) except -1:
        cdef Py_ssize_t before = self.unsent
        self.flush_now()
        if self.unsent < before and not self.broken:
            self._owner.progressed()
        return 0
