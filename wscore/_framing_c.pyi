# The compiled twin has the Python twin's signatures; tests compare the two.
from ._framing_py import (
    IMPLEMENTATION as IMPLEMENTATION,
    KERNEL as KERNEL,
    BytesMessage as BytesMessage,
    CloseConnection as CloseConnection,
    Event as Event,
    FrameDecoder as FrameDecoder,
    Message as Message,
    OpenConnection as OpenConnection,
    Ping as Ping,
    Pong as Pong,
    PreparedMessage as PreparedMessage,
    TextMessage as TextMessage,
    apply_mask as apply_mask,
    apply_mask_inplace as apply_mask_inplace,
    encode_frame as encode_frame,
    encode_frame_header as encode_frame_header,
    new_mask_key as new_mask_key,
)

def _choose_kernel(name: str | None) -> str: ...
