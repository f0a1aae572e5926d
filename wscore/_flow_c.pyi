# The compiled twin has the Python twin's signatures; tests compare the two.
from .trio._flow_py import (
    MAX_UNSENT as MAX_UNSENT,
    MESSAGES_PER_CHECKPOINT as MESSAGES_PER_CHECKPOINT,
    Inbox as Inbox,
    MessageChannel as MessageChannel,
    own_methods as own_methods,
)
from .trio._queue_py import SendQueue as SendQueue, SocketQueue as SocketQueue
