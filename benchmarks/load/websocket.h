/* The client's side of RFC 6455 as functions over memory; does no I/O. */

#ifndef WEBSOCKET_H
#define WEBSOCKET_H

#include <stdint.h>
#include <stdio.h>
#include <string.h>

enum { CONTINUATION = 0x0, TEXT = 0x1, BINARY = 0x2, CLOSE = 0x8, PING = 0x9, PONG = 0xA };
enum { FIN = 0x80, RSV1 = 0x40 };
/* The most that a frame has beside its payload: header, extended length, key. */
enum { FRAME_HEAD = 14 };

struct frame {
    uint8_t first;  /* FIN, reserved bits and opcode, as on the wire */
    int masked;
    char *payload;  /* unmasked where it lay */
    size_t length;
    size_t size;    /* of the whole frame on the wire */
};

static inline void apply_mask(char *data, size_t length, const uint8_t key[4]) {
    for (size_t at = 0; at < length; at++) data[at] ^= (char)key[at & 3];
}

/* Write a masked frame and return its size; `out` has room for FRAME_HEAD more than the payload. */
static inline size_t put_frame(char *out, uint8_t first, const char *payload, size_t length) {
    static uint32_t state = 0x9E3779B9u; /* any key does here: nobody is to be protected */
    uint8_t *head = (uint8_t *)out, key[4];
    size_t at = 2;
    state ^= state << 13, state ^= state >> 17, state ^= state << 5;
    memcpy(key, &state, 4);
    head[0] = first;
    if (length < 126) {
        head[1] = (uint8_t)(0x80 | length);
    } else if (length < 65536) {
        head[1] = 0x80 | 126;
        head[at++] = (uint8_t)(length >> 8);
        head[at++] = (uint8_t)length;
    } else {
        head[1] = 0x80 | 127;
        for (int shift = 56; shift >= 0; shift -= 8)
            head[at++] = (uint8_t)((uint64_t)length >> shift);
    }
    memcpy(out + at, key, 4);
    at += 4;
    memcpy(out + at, payload, length);
    apply_mask(out + at, length, key);
    return at + length;
}

/* Read the frame at the beginning of `data`: its size, or 0 if it is not all there. */
static inline size_t get_frame(char *data, size_t available, struct frame *frame) {
    uint8_t *head = (uint8_t *)data, *key;
    size_t at = 2;
    uint64_t length;
    if (available < 2) return 0;
    length = head[1] & 0x7F;
    if (length == 126) {
        if (available < 4) return 0;
        length = (uint64_t)head[2] << 8 | head[3];
        at = 4;
    } else if (length == 127) {
        if (available < 10) return 0;
        length = 0;
        for (at = 2; at < 10; at++) length = length << 8 | head[at];
    }
    frame->first = head[0];
    frame->masked = head[1] >> 7;
    key = head + at;
    at += frame->masked ? 4 : 0;
    if (available < at || available - at < length) return 0;
    frame->payload = data + at;
    frame->length = (size_t)length;
    frame->size = at + (size_t)length;
    if (frame->masked) apply_mask(frame->payload, frame->length, key);
    return frame->size;
}

/* The key of the example in RFC 6455, section 1.3, and what a server has to make of it. */
static const char ACCEPT[] = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

/* Write the request as a string, and return its length, as snprintf does. */
static inline int put_request(char *out, size_t room, const char *host, int port, const char *path,
                              int deflate) {
    return snprintf(
        out, room,
        "GET %s HTTP/1.1\r\nHost: %s:%d\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n%s\r\n",
        path, host, port, deflate ? "Sec-WebSocket-Extensions: permessage-deflate\r\n" : "");
}

/* What is wrong with a response's head (a string that ends after the blank line), or NULL. */
static inline const char *wrong_response(const char *head, int deflate) {
    if (strncmp(head, "HTTP/1.1 101 ", 13) != 0) return "the handshake was refused";
    if (strstr(head, ACCEPT) == NULL) return "the handshake has another Sec-WebSocket-Accept";
    if ((strstr(head, "permessage-deflate") != NULL) != deflate)
        return deflate ? "permessage-deflate was not accepted"
                       : "permessage-deflate was accepted without an offer";
    return NULL;
}

#endif
