# cython: language_level=3, binding=True, embedsignature=False
# cython: boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
# cython: freethreading_compatible=True, auto_pickle=False
"""The events that frames become, compiled; imports its Python twin for the descriptions of the fields.

``wscore/_events_py.py`` is the reference: these behave as the frozen dataclasses there, under the same tests. Their docstrings begin
with the signature, which is where inspect.signature looks for that of a type.
"""

cimport cython
from cpython.object cimport PyObject

import copyreg
from dataclasses import FrozenInstanceError
from types import GenericAlias

from wscore import _events_py

cdef enum:
    ALL = 7  # the bits of all fields that an event may have


@cython.no_gc
@cython.freelist(64)
cdef class Event:
    """Event()\n--\n\nBase of everything that a connection reports or is asked to send."""

    def __reduce__(self):
        # For the events that are dataclasses: without it, an object with C fields can be neither pickled nor copied.
        return copyreg.__newobj__, (type(self),), getattr(self, "__dict__", None)


@cython.no_gc
cdef class _FrozenEvent(Event):
    """What a frozen dataclass has besides its fields."""

    # No __setattr__: with one in C, object.__setattr__ refuses to work, by which the dataclasses that users derive from these set
    # their fields. Each field can be set once instead.

    def __eq__(self, other):
        if type(self) is not type(other):
            return NotImplemented
        return _fields(self) == _fields(<_FrozenEvent>other)

    def __ne__(self, other):  # Cython's own would not know what a subclass makes of ==
        return not self == other

    def __hash__(self):
        return hash(_fields(self))

    def __repr__(self):
        shown = ", ".join([f"{name}={value!r}" for name, value in zip(self.__match_args__, _fields(self))])
        return f"{type(self).__qualname__}({shown})"

    def __reduce__(self):
        # Not by arguments: those of a subclass may be others.
        return copyreg.__newobj__, (type(self),), (_fields(self), getattr(self, "__dict__", None))

    def __setstate__(self, state):
        values, attributes = state
        for name, value in zip(self.__dataclass_fields__, values):  # those of a subclass come behind
            object.__setattr__(self, name, value)
        if attributes:
            self.__dict__.update(attributes)


@cython.no_gc
cdef class Message(_FrozenEvent):
    """Message(data, frame_finished=True, message_finished=True)\n--\n\nA piece of a data message, or the whole of it (RFC 6455, section 5.6). See the Python twin."""

    __match_args__ = ("data", "frame_finished", "message_finished")
    __dataclass_fields__ = _events_py.Message.__dataclass_fields__
    __dataclass_params__ = _events_py.Message.__dataclass_params__
    def __init__(self, data, frame_finished=True, message_finished=True):
        self._value = data
        self._frame_finished = bool(frame_finished)
        self._message_finished = bool(message_finished)
        self._given = ALL

    def __class_getitem__(cls, item):
        return GenericAlias(cls, item)

    @property
    def data(self):
        """The payload of this piece."""
        return self._value

    @data.setter
    def data(self, value):
        _give(self, "data", 1)
        self._value = value

    @data.deleter
    def data(self):
        raise FrozenInstanceError("cannot delete field 'data'")

    @property
    def frame_finished(self):
        """Whether this piece ends its frame."""
        return self._frame_finished != 0

    @frame_finished.setter
    def frame_finished(self, value):
        _give(self, "frame_finished", 2)
        self._frame_finished = bool(value)

    @frame_finished.deleter
    def frame_finished(self):
        raise FrozenInstanceError("cannot delete field 'frame_finished'")

    @property
    def message_finished(self):
        """Whether this piece ends its message."""
        return self._message_finished != 0

    @message_finished.setter
    def message_finished(self, value):
        _give(self, "message_finished", 4)
        self._message_finished = bool(value)

    @message_finished.deleter
    def message_finished(self):
        raise FrozenInstanceError("cannot delete field 'message_finished'")


@cython.no_gc
cdef class TextMessage(Message):
    """TextMessage(data, frame_finished=True, message_finished=True)\n--\n\nA text message, or a piece of one; ``data`` is a str whose UTF-8 was checked."""


@cython.no_gc
cdef class BytesMessage(Message):
    """BytesMessage(data, frame_finished=True, message_finished=True)\n--\n\nA binary message, or a piece of one; ``data`` is bytes."""


@cython.no_gc
cdef class PreparedMessage(Message):
    """PreparedMessage(data)\n--\n\nA whole message to be sent on many connections, encoded once. See the Python twin."""

    # The frames, by what deflated them, are in the field that closes have for their code.
    __match_args__ = ("data",)
    __dataclass_fields__ = _events_py.PreparedMessage.__dataclass_fields__
    __dataclass_params__ = _events_py.PreparedMessage.__dataclass_params__

    def __init__(self, data):
        if not isinstance(data, str):
            if not isinstance(data, (bytes, bytearray, memoryview)):
                raise TypeError(f"a message is str or bytes-like, not {type(data).__name__}")
            data = bytes(data)
        self._value = data
        self._code = {}
        self._frame_finished = self._message_finished = True
        self._given = ALL

    def __reduce__(self):
        return type(self), (self._value,)


@cython.no_gc
cdef class Ping(_FrozenEvent):
    """Ping(payload=b'')\n--\n\nA ping (RFC 6455, section 5.5.2). Answer a received one by sending :meth:`response`."""

    __match_args__ = ("payload",)
    __dataclass_fields__ = _events_py.Ping.__dataclass_fields__
    __dataclass_params__ = _events_py.Ping.__dataclass_params__
    def __init__(self, payload=b""):
        self._value = payload
        self._given = ALL

    @property
    def payload(self):
        """At most 125 bytes, which the pong returns."""
        return self._value

    @payload.setter
    def payload(self, value):
        _give(self, "payload", 1)
        self._value = value

    @payload.deleter
    def payload(self):
        raise FrozenInstanceError("cannot delete field 'payload'")

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
        self._given = ALL

    @property
    def payload(self):
        """That of the ping it answers, at most 125 bytes."""
        return self._value

    @payload.setter
    def payload(self, value):
        _give(self, "payload", 1)
        self._value = value

    @payload.deleter
    def payload(self):
        raise FrozenInstanceError("cannot delete field 'payload'")


@cython.no_gc
cdef class CloseConnection(_FrozenEvent):
    """CloseConnection(code, reason=None)\n--\n\nA close frame (RFC 6455, section 5.5.1), or the end of a connection without one. See the Python twin."""

    __match_args__ = ("code", "reason")
    __dataclass_fields__ = _events_py.CloseConnection.__dataclass_fields__
    __dataclass_params__ = _events_py.CloseConnection.__dataclass_params__
    def __init__(self, code, reason=None):
        self._code = code
        self._value = reason
        self._given = ALL

    @property
    def code(self):
        """The close code."""
        return self._code

    @code.setter
    def code(self, value):
        _give(self, "code", 1)
        self._code = value

    @code.deleter
    def code(self):
        raise FrozenInstanceError("cannot delete field 'code'")

    @property
    def reason(self):
        """Text for people, or None."""
        return self._value

    @reason.setter
    def reason(self, value):
        _give(self, "reason", 2)
        self._value = value

    @reason.deleter
    def reason(self):
        raise FrozenInstanceError("cannot delete field 'reason'")

    def response(self):
        """Returns the close frame that answers this one."""
        return CloseConnection(self._code, self._value)


# Making messages
#
# Cython's way from a call to __init__ costs more than all that __init__ does.

cdef extern from "Python.h":
    ctypedef PyObject *(*vectorcallfunc)(PyObject *, PyObject *const *, size_t, PyObject *) except NULL
    ctypedef struct PyTypeObject:
        vectorcallfunc tp_vectorcall
    Py_ssize_t PyVectorcall_NARGS(size_t nargsf)
    PyObject *PyTuple_GET_ITEM(PyObject *tuple, Py_ssize_t at)
    Py_ssize_t PyTuple_GET_SIZE(PyObject *tuple)
    object type_call "PyType_Type.tp_call" (PyObject *cls, tuple args, dict kwargs)

cdef str _DATA = "data"
cdef str _FRAME_FINISHED = "frame_finished"
cdef str _MESSAGE_FINISHED = "message_finished"


cdef object _call_message(PyObject *cls, PyObject *const *args, size_t nargsf, PyObject *names):
    """Calls one of the three classes themselves; what is not as usual goes the way of every class, for its errors too."""
    cdef Py_ssize_t positional = PyVectorcall_NARGS(nargsf), named = 0 if names is NULL else PyTuple_GET_SIZE(names), i
    cdef PyObject *given[3]
    cdef PyObject *name
    cdef int at
    if positional + named == 1 and (named == 0 or PyTuple_GET_ITEM(names, 0) == <PyObject *>_DATA):
        return _filled(cls, args[0], True, True)
    given[0] = given[1] = given[2] = NULL
    if positional > 3:
        return _call_type(cls, args, positional, names)
    for i in range(positional):
        given[i] = args[i]
    for i in range(named):
        name = PyTuple_GET_ITEM(names, i)
        at = 0 if name == <PyObject *>_DATA else 1 if name == <PyObject *>_FRAME_FINISHED else 2
        if given[at] is not NULL or (at == 2 and name != <PyObject *>_MESSAGE_FINISHED):
            return _call_type(cls, args, positional, names)
        given[at] = args[positional + i]
    if given[0] is NULL:
        return _call_type(cls, args, positional, names)
    return _filled(cls, given[0], given[1] is NULL or <bint><object>given[1], given[2] is NULL or <bint><object>given[2])


cdef inline Message _filled(PyObject *cls, PyObject *data, bint frame_finished, bint message_finished):
    cdef Message event
    if cls == <PyObject *>TextMessage:
        event = TextMessage.__new__(TextMessage)
    elif cls == <PyObject *>BytesMessage:
        event = BytesMessage.__new__(BytesMessage)
    else:
        event = Message.__new__(Message)
    event._value = <object>data
    event._frame_finished = frame_finished
    event._message_finished = message_finished
    event._given = ALL
    return event


cdef object _call_type(PyObject *cls, PyObject *const *args, Py_ssize_t positional, PyObject *names):
    cdef Py_ssize_t i
    keywords = {} if names is NULL else {name: <object>args[positional + i] for i, name in enumerate(<tuple>names)}
    return type_call(cls, tuple([<object>args[i] for i in range(positional)]), keywords)


# Subclasses do not inherit it.
(<PyTypeObject *>Message).tp_vectorcall = <vectorcallfunc>_call_message
(<PyTypeObject *>TextMessage).tp_vectorcall = <vectorcallfunc>_call_message
(<PyTypeObject *>BytesMessage).tp_vectorcall = <vectorcallfunc>_call_message


cdef tuple _fields(_FrozenEvent event):
    # Not a method: with a pointer to its table these classes would be larger than the root, whose free list serves its own size only.
    if isinstance(event, Message) and not isinstance(event, PreparedMessage):
        return (event._value, event._frame_finished != 0, event._message_finished != 0)
    if isinstance(event, CloseConnection):
        return (event._code, event._value)
    return (event._value,)


cdef int _give(_FrozenEvent event, str name, unsigned char bit) except -1:
    """Lets a field be set once."""
    if event._given & bit:
        raise FrozenInstanceError(f"cannot assign to field {name!r}")
    event._given |= bit
    return 0


cdef Message message_event(bint text, object data, bint frame_finished, bint message_finished):
    """Makes the event without its ``__init__``, which would parse arguments."""
    cdef Message event = TextMessage.__new__(TextMessage) if text else BytesMessage.__new__(BytesMessage)
    event._value = data
    event._frame_finished = frame_finished
    event._message_finished = message_finished
    event._given = ALL
    return event
