# cython: language_level=3, binding=True, embedsignature=False
# cython: boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
# cython: freethreading_compatible=True, auto_pickle=False
"""The same to many connections, compiled; imports the compiled framing twin and flow, and knows nothing of trio.

``wscore/trio/_fanout_py.py`` is the reference: same names, same meaning, same tests.
"""

cimport cython
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE

from wscore._events_c cimport PreparedMessage
from wscore._flow_c cimport Inbox, MessageChannel
from wscore._framing_c cimport OpenConnection
from wscore._queue_c cimport SocketQueue, offer

cdef enum:
    RUN = 64  # sent to without a look at anything between


cdef struct Sending:
    int fd
    const char *data
    Py_ssize_t size
    Py_ssize_t sent


def first_stranger(list members not None, kind, run):
    """first_stranger($module, /, members, kind, run)\n--\n\nReturns the number of the first who is no member, or -1. See the Python twin."""
    cdef Py_ssize_t index
    cdef Inbox session
    for index in range(len(members)):
        if not isinstance(members[index], kind):
            return index
        session = (<MessageChannel?>members[index])._session
        if session.run is not run and session.closed is None:
            return index
    return -1


def send_to_idle(list members not None, list messages not None, encode):
    """send_to_idle($module, /, members, messages, encode)\n--\n\nSends to those who have nothing unsent. See the Python twin."""
    cdef _Run run = _Run()
    cdef list others = []
    cdef dict known = {}
    for member in members:
        if not run.take(<MessageChannel?>member, messages, encode, known):
            others.append(member)
    run.send()
    return run.delivered, run.begun, others


@cython.final
cdef class _Run:
    """Members to whom is sent together, a bounded number at a time."""

    cdef Sending sendings[RUN]
    cdef list members  # of the sendings
    cdef Py_ssize_t delivered
    cdef list begun

    def __init__(self):
        self.members = []
        self.delivered = 0
        self.begun = []

    cdef bint take(self, MessageChannel member, list messages, object encode, dict known) except -1:
        """Takes a member into the run, if it is idle; and sends to all of these, if they are many."""
        cdef Inbox session = member._session
        cdef SocketQueue wire
        cdef OpenConnection core
        cdef Sending *sending
        cdef bytes data
        if session.closed is not None or not isinstance(session.wire, SocketQueue):
            return False
        if not isinstance(session.core, OpenConnection):
            return False
        wire = <SocketQueue>session.wire
        core = <OpenConnection>session.core
        if wire.claimed:  # it is in the run already: named twice
            self.send()
        if wire.unsent or wire.broken or wire._blocked:
            return False
        try:
            data = core.shared_frame(<PreparedMessage?>messages[0])
            if data is not None and len(messages) > 1:
                data = joined(data, core, encode, known)
        except Exception:  # will be raised again, and seen to, where it is about this one alone
            return False
        if data is None:
            return False
        sending = &self.sendings[len(self.members)]
        sending.fd = wire._fd
        sending.data = PyBytes_AS_STRING(data)  # the message, or what is known, holds it
        sending.size = PyBytes_GET_SIZE(data)
        wire.claimed = True
        self.members.append(member)
        if len(self.members) == RUN:
            self.send()
        return True

    cdef int send(self) except -1:
        """Sends to all in the run, and empties it."""
        cdef Py_ssize_t at, count = len(self.members)
        cdef Sending *sending
        cdef list members = self.members
        cdef MessageChannel member
        with nogil:
            for at in range(count):
                sending = &self.sendings[at]
                sending.sent = offer(sending.fd, sending.data, sending.size)
        for at in range(count):
            (<SocketQueue>(<MessageChannel>members[at])._session.wire).claimed = False
        self.members = []
        for at in range(count):
            sending = &self.sendings[at]
            if sending.sent == sending.size:
                self.delivered += 1
            else:
                member = <MessageChannel>members[at]
                self.begun.append(member)
                keep(member._session, <SocketQueue>member._session.wire, sending)
        return 0


cdef int keep(Inbox session, SocketQueue wire, Sending *sending) except -1:
    """Keeps what the system did not take; or ends a connection that it takes nothing of."""
    try:
        if sending.sent < 0:
            wire._break()
        else:
            wire.keep_rest(sending.data[:sending.size], sending.sent)
    except Exception as error:
        session.crashed(error)
    return 0


cdef bytes joined(bytes first, OpenConnection core, object encode, dict known):
    """All frames for connections that share the first one."""
    cdef object data = known.get(first)
    if data is None:
        data = known[first] = encode(core)
    return <bytes?>data
