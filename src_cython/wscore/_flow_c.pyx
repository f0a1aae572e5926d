# cython: language_level=3, binding=True, embedsignature=False
# cython: boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
# cython: freethreading_compatible=True, auto_pickle=False
"""What every message passes through in the transport, compiled; imports the compiled framing twin, and knows nothing of trio.

``wscore/trio/_flow_py.py`` is the reference: same names, same meaning, same tests. What belongs to trio is in the classes derived
from these, whose methods are called by name.
"""

cimport cython
from cpython.exc cimport PyErr_WarnEx
from cpython.object cimport PyObject, PyTypeObject
from cpython.ref cimport Py_DECREF, Py_INCREF

from wscore._framing_c cimport OpenConnection
# Under another name, in the .pxd too: what is cimported under its own is no attribute of this module, and is handed on below.
from wscore._queue_c cimport SendQueue as Queue

from collections.abc import Coroutine

from wscore._queue_c import SendQueue, SocketQueue

cdef enum:
    UNSENT = 65536
    PER_CHECKPOINT = 64
    PER_PARSE = 64
    BYTES_PER_PARSE = 65536
    LARGE = 16384

MAX_UNSENT = UNSENT
MESSAGES_PER_CHECKPOINT = PER_CHECKPOINT


cdef extern from *:
    """
    /* The first object of a list that is not empty and that nobody else uses meanwhile. */
    static PyObject *wscore_pop_first(PyObject *list) {
        PyObject **items = ((PyListObject *)list)->ob_item, *first = items[0];
        Py_ssize_t rest = Py_SIZE(list) - 1;
        memmove(items, items + 1, (size_t)rest * sizeof *items);
        Py_SET_SIZE(list, rest);
        return first;
    }
    """
    object wscore_pop_first(list items)


cdef inline object pop_first(list items):
    first = wscore_pop_first(items)
    if not items:
        items.clear()  # which also gives its room back
    return first


cdef class Inbox:
    """Inbox(core, queue_size)\n--\n\nWhat the peer's bytes become. See the Python twin."""

    def __init__(self, core, Py_ssize_t queue_size):
        self.core = core
        self.wire = Queue()  # never None, and soon another
        self.queue_size = queue_size
        self.messages = []
        self.getters = []
        self.last_received = 0.0
        self.due_pong = None
        self.run = None
        self.open = True
        self.more = self.discarding = False

    @cython.binding(False)
    def received(self, data, double now):
        """received($self, data, now)\n--\n\nTake bytes of the peer."""
        self.last_received = now
        if self.open or self._awaits_close():
            (<OpenConnection?>self.core).feed(data)
            self._proceed()
            if self.wire.unsent and not self.messages:
                self.flush()

    def proceed(self):
        """proceed($self)\n--\n\nTake events from the core until enough messages wait, and answer what wants an answer."""
        self._proceed()

    cdef int _proceed(self) except -1:
        cdef bint full
        cdef Queue wire
        self._parse()
        wire = self.wire
        full = self.more or len(self.messages) > self.queue_size
        if not self.open or wire.unsent > UNSENT or self.due_pong is not None:
            self._react()
        elif full == wire.reading:
            wire.let_read(not full)
        return 0

    cdef int _parse(self) except -1:
        cdef OpenConnection core = <OpenConnection?>self.core
        cdef Py_ssize_t count = 0, size = 0
        cdef list taken
        cdef object pings = 0
        while True:
            taken = core.take(PER_PARSE)
            if taken:
                if count == 0 and self.getters and len(taken) == 1 and core.drained():
                    # Nearly always: a message on its own, for the task that waits for it.
                    self.getters.pop(0).deliver(taken[0])
                    self.more = False
                    return 0
                count += len(taken)
                if count < PER_PARSE:
                    for message in taken:
                        size += len(message)
                self._take_messages(taken)
                if count >= PER_PARSE or size >= BYTES_PER_PARSE:
                    if len(self.messages) > self.queue_size:
                        self.more = True
                        return 0
                    self._count_kept(taken)
                continue
            if core._framer._violation is not None and self._awaits_replies(count > 0):
                self.more = True
                return 0
            if core.drained():
                self.more = False
                return 0
            event = next(core.events(), None)
            if event is None:
                self.more = False
                return 0
            pings = self._take_event(event, pings)

    cdef int _take_messages(self, list taken) except -1:
        """Give messages to those who wait for one, and keep the rest."""
        while self.getters and taken:
            self.getters.pop(0).deliver(pop_first(taken))
        if not self.discarding and taken:
            if self.messages:
                self.messages += taken
            else:
                self.messages = taken
        return 0


cdef class MessageChannel:
    """MessageChannel(session)\n--\n\nMessages, taken from an inbox and sent to its wire. See the Python twin."""

    def __init__(self, Inbox session not None):
        self._session = session
        self._received = 0
        self._sent = 1

    @cython.binding(False)
    def get_message(self):
        """get_message($self)\n--\n\nReturn the next message, a str for a text message and bytes for a binary one.

        Messages that were received before the peer's Close, or before the connection was lost, are
        still returned after it. A violation directly behind messages ends the connection when they
        were taken and the next is asked for, or after a second. A cancelled call loses no message.
        The call is a checkpoint whenever it has to wait, and at least once in 64 messages received.

        Raises:
            ConnectionClosed: the connection is closed and its last message was returned, or
                this end closed it.
        """
        return _call(self, GET, None)

    def __aiter__(self):
        return self

    def __anext__(self):
        return _call(self, NEXT, None)

    @cython.binding(False)
    def send_message(self, message):
        """send_message($self, message)\n--\n\nSend one message, a str as text and bytes as binary.

        Waits while more than 64 KiB are unsent, before and after, so that a slow peer slows the
        caller down. Cancelled before, it has sent nothing. Cancelled after, the message is
        sent later, unless the connection is lost. The call is a checkpoint whenever it has to wait,
        and at least once in 64 messages sent.

        Args:
            message: bytes may also be a bytearray or a memoryview, and may be changed after the
                call.

        Raises:
            ConnectionClosed: the connection is closed, being closed, or was lost while sending.
            ValueError: ``message`` is neither str nor bytes.
        """
        return _call(self, SEND, message)

    def _take(self):
        return self._taken()

    cdef object _taken(self):
        """A message, if there is one and no checkpoint due; or None."""
        cdef Inbox session = self._session
        if self._received >= PER_CHECKPOINT or not session.messages:
            return None
        self._received += 1
        message = pop_first(session.messages)
        if len(session.messages) == session.queue_size:  # with one more, nothing was read
            session._proceed()
        return message

    cdef object _wait(self):
        """What has to be awaited for a message, where none can be taken at once."""
        cdef Inbox session = self._session
        if session.messages or session.more or session.wire.unsent or self._received >= PER_CHECKPOINT:
            return self._get_any()
        self._received = self._sent = 0
        return session.next_message()

    cdef object _sent_rest(self, object message):
        """Sends a message, if that can be done at once; what else has to be awaited, or None."""
        cdef Inbox session = self._session
        cdef Queue wire = session.wire
        cdef bint replies = len(session.messages) != 0  # to one of many messages that are not all taken
        if (
            self._sent >= PER_CHECKPOINT
            or wire.unsent > UNSENT
            or self._turns is not None
            or session.closed is not None
            or (type(message) is not str and type(message) is not bytes)
            or len(message) >= LARGE
            or not (replies or self._sent <= self._received)  # nor to one that was
        ):
            return self._send_any(message)
        self._sent += 1
        wire.put(<OpenConnection?>session.core, message, replies)
        if not replies and wire.unsent:
            session.watch_sending()
        if wire.unsent > UNSENT or wire.broken:
            return self._wait_sent()
        return None


cdef enum:  # what a call is of
    GET
    NEXT
    SEND

cdef enum:  # how far it is
    NEW
    WAITING
    DONE

cdef extern from *:
    """
    typedef int (*wscore_resume)(PyObject *, PyObject *, PyObject **);
    static wscore_resume wscore_resume_call;

    static PySendResult wscore_send(PyObject *self, PyObject *value, PyObject **result) {
        return (PySendResult)wscore_resume_call(self, value, result);
    }

    /* Whether there is one reference to an object, which cannot be told without the GIL. */
    static int wscore_is_alone(PyObject *object) {
    #ifdef Py_GIL_DISABLED
        return (void)object, 0;
    #else
        return Py_REFCNT(object) == 1;
    #endif
    }

    /* Cython has no name for this slot. */
    static void wscore_fill_am_send(PyTypeObject *type, wscore_resume resume) {
        wscore_resume_call = resume;
        type->tp_as_async->am_send = wscore_send;
    }
    """
    int wscore_is_alone(PyObject *object)
    ctypedef int (*wscore_resume)(PyObject *, PyObject *, PyObject **) except -1
    void wscore_fill_am_send(PyTypeObject *type, wscore_resume resume)
    enum:
        PYGEN_RETURN
        PYGEN_NEXT

    int PyIter_Send(PyObject *iter, PyObject *value, PyObject **result) except -1


@cython.final
@cython.freelist(16)
cdef class _Call:
    """A coroutine of `MessageChannel`: begun when it is first resumed, and done at once where nothing has to be waited for.

    What has to be is left to another coroutine, or to what trio's own functions return.
    """

    cdef MessageChannel _channel
    cdef object _message
    cdef object _rest  # what waits
    cdef unsigned char _kind
    cdef unsigned char _state

    cdef int _resume(self, object value, PyObject **result) except -1:
        cdef object found
        cdef int status
        if self._state == NEW:
            if value is not None:
                raise TypeError("can't send non-None value to a just-started coroutine")
            self._state = DONE
            if self._kind == SEND:
                found = self._channel._sent_rest(self._message)
                if found is None:
                    self._retire()
                    return _returned(None, result)
            else:
                found = self._channel._taken()
                if found is not None:
                    self._retire()
                    return _returned(found, result)
                found = self._channel._wait()
            self._rest = found
            self._state = WAITING
        elif self._state == DONE:
            raise RuntimeError("cannot reuse already awaited coroutine")
        found = self._rest
        try:
            status = PyIter_Send(<PyObject *>found, <PyObject *>value, result)
        except BaseException as error:
            self._end(error)
            raise
        if status == PYGEN_RETURN:
            self._state = DONE
            self._retire()
        return status

    cdef int _retire(self) except -1:
        """Stays with the channel as its next call, once nobody else has it: less than an object for each message."""
        cdef MessageChannel channel = self._channel
        self._message = self._rest = None
        if channel._spare is None:
            channel._spare = self
            self._channel = None  # no circle
        return 0

    cdef int _end(self, object error) except -1:
        """Notes that what waits has raised; raises what ends an iteration instead."""
        self._state = DONE
        if self._kind == NEXT and isinstance(error, Exception) and self._channel._is_end(error):
            raise StopAsyncIteration from None
        return 0

    def __await__(self):
        if self._state == WAITING:
            raise RuntimeError("coroutine is being awaited already")
        return self

    def __iter__(self):
        return self

    def __next__(self):
        return self.send(None)

    def send(self, value):
        """send($self, value)\n--\n\nResumes it; returns what it yields, or raises StopIteration with what it returns."""
        cdef PyObject *result = NULL
        cdef int status = self._resume(value, &result)
        found = <object>result
        Py_DECREF(found)
        if status == PYGEN_NEXT:
            return found
        raise StopIteration(found)

    def throw(self, kind, value=None, traceback=None):
        """throw($self, kind, value=None, traceback=None)\n--\n\nResumes it with an exception."""
        if self._state == DONE:
            raise RuntimeError("cannot reuse already awaited coroutine")
        if self._state == NEW:
            self._state = DONE
            if isinstance(kind, type):
                kind = kind() if value is None else value if isinstance(value, kind) else kind(value)
            raise kind if traceback is None else kind.with_traceback(traceback)
        try:
            return self._rest.throw(kind, value, traceback) if value is not None or traceback is not None else self._rest.throw(kind)
        except StopIteration:
            self._state = DONE
            raise
        except BaseException as error:
            self._end(error)
            raise

    def close(self):
        """close($self)\n--\n\nEnds it, wherever it waits."""
        cdef int state = self._state
        self._state = DONE
        if state == WAITING:
            self._rest.close()

    # For those who show where a task waits

    @property
    def cr_frame(self):
        """Where it waits; None while it does not."""
        return getattr(self._rest, "cr_frame", None) if self._state == WAITING else None

    @property
    def cr_await(self):
        """What that waits for."""
        return getattr(self._rest, "cr_await", None) if self._state == WAITING else None

    def __repr__(self):
        return f"<coroutine object {self._name()} at {id(self):#x}>"

    cdef str _name(self):
        name = ("get_message", "__anext__", "send_message")[self._kind]
        kind = MessageChannel if self._channel is None else type(self._channel)
        return f"{kind.__qualname__}.{name}"

    def __dealloc__(self):
        if self._state == NEW:
            PyErr_WarnEx(RuntimeWarning, f"coroutine '{self._name()}' was never awaited".encode(), 1)


cdef _Call _call(MessageChannel channel, int kind, object message):
    cdef _Call call
    if channel._spare is not None and wscore_is_alone(<PyObject *>channel._spare):
        call = <_Call>channel._spare
        channel._spare = None
        call._state = NEW
    else:
        call = _Call.__new__(_Call)
    call._channel = channel
    call._kind = <unsigned char>kind
    call._message = message
    return call


cdef int _returned(object value, PyObject **result) noexcept:
    Py_INCREF(value)
    result[0] = <PyObject *>value
    return PYGEN_RETURN


cdef int _resume_call(PyObject *call, PyObject *value, PyObject **result) except -1:
    return (<_Call>call)._resume(<object>value, result)


wscore_fill_am_send(<PyTypeObject *>_Call, _resume_call)
Coroutine.register(_Call)


# Methods of the classes derived from these

cdef extern from *:
    """
    static PyObject *wscore_same_method(PyObject *method, PyObject *type) {
        return PyDescr_NewMethod((PyTypeObject *)type, ((PyMethodDescrObject *)method)->d_method);
    }
    """
    object wscore_same_method(object method, object type)


def own_methods(kind, *names):
    """own_methods($module, /, kind, *names)\n--\n\nGives a class what it has of its base as its own. See the Python twin."""
    for name in names:
        method = getattr(kind, name)
        if type(method) is not type(str.join):
            raise TypeError(f"{name} is no compiled method")
        setattr(kind, name, wscore_same_method(method, kind))
