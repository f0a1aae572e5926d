"""The state of the compiled frame decoder, and its door for the connection."""

from libc.stdint cimport uint64_t


cdef class FrameDecoder:
    cdef bint _client, _whole, _closed, _ended
    cdef bint _in_hook  # an extension is being called
    cdef tuple _extensions
    cdef object _deflate
    cdef uint64_t _max_frame, _max_message, _max_fragments
    # What has come and was not read yet: the memory of _chunk, which is the bytes object that was given, or a bytearray of our own
    # where more came before the last was read.
    cdef object _chunk
    cdef const unsigned char *_data
    cdef size_t _pos, _end
    # A header cut by the end of what has come, and a control payload so cut.
    cdef unsigned char _head[14]
    cdef size_t _head_size
    cdef bytes _control
    # The frame under way: its opcode is NONE between frames.
    cdef int _opcode
    cdef bint _fin
    cdef unsigned char _key[4]
    cdef unsigned _phase
    cdef uint64_t _remaining
    # The message under way: its opcode is NONE between messages.
    cdef int _message
    cdef bint _compressed
    cdef uint64_t _fragments, _size
    cdef unsigned char _utf8[4]
    cdef size_t _utf8_size
    cdef bytearray _held
    # Found behind messages that were taken, and not given out yet.
    cdef object _violation

    cdef int feed(self, object data) except -1
    cdef list take(self, Py_ssize_t limit)
    cdef int _take_into(self, list taken, Py_ssize_t limit) except -1
    cdef int _append(self, bytes data) except -1
    cdef int _close(self) except -1
    cdef object _next_event(self)
    cdef bint _read_header(self) except -1
    cdef bint _keep_head(self, const unsigned char *at, size_t have) noexcept
    cdef int _check_first_byte(self, unsigned char first) except -1
    cdef int _check_limits(self, int opcode, uint64_t length) except -1
    cdef int _offer_header(self, int opcode, unsigned char first, uint64_t length) except -1
    cdef int _note_compression(self, int opcode, unsigned char first) except -1
    cdef object _inflated(self, size_t size, bint ends)
    cdef object _run_extensions(self, bytes piece)
    cdef size_t _available(self) noexcept
    cdef unsigned _unmask(self, unsigned char *out, size_t size) noexcept
    cdef object _read_control(self)
    cdef object _read_data(self)
    cdef object _read_piece(self, size_t size, bint text, bint finished)
    cdef object _hold_raw(self, size_t size, bint text, bint finished)
    cdef object _release_held(self, bint text)
    cdef object _decode(self, const unsigned char *start, size_t size, bint final)
