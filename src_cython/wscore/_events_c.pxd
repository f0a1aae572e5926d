"""The fields of the compiled events, and how the compiled modules above make one."""


cdef class Event:
    # The fields of all the classes below, since only the root of a hierarchy can have a free list.
    cdef object _value
    cdef object _code
    # Truth values, in a byte each: all but the pointers take eight bytes.
    cdef unsigned char _frame_finished
    cdef unsigned char _message_finished
    cdef unsigned char _given  # a bit for each field that has been set
    cdef object __weakref__


cdef class _FrozenEvent(Event):
    pass


cdef class Message(_FrozenEvent):
    pass


cdef class TextMessage(Message):
    pass


cdef class BytesMessage(Message):
    pass


cdef class PreparedMessage(Message):
    pass


cdef class Ping(_FrozenEvent):
    pass


cdef class Pong(_FrozenEvent):
    pass


cdef class CloseConnection(_FrozenEvent):
    pass


cdef Message message_event(bint text, object data, bint frame_finished, bint message_finished)
