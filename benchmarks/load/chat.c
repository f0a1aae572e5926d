/* What is said in a chat, as far as a load generator has to read it; does no I/O. */

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include "load.h"

/* Write a request: of a pattern, # becomes the number of the connection and $ that of the request. */
size_t put_request_text(char *out, size_t room, const char *pattern, uint32_t connection,
                        uint64_t request) {
    size_t at = 0;
    for (; *pattern; pattern++) {
        if (at + 32 > room) fail("a request without end");
        if (*pattern == '#')
            at += (size_t)sprintf(out + at, "%" PRIu32, connection);
        else if (*pattern == '$')
            at += (size_t)sprintf(out + at, "%" PRIu64, request);
        else
            out[at++] = *pattern;
    }
    return at;
}

static const char *find(const char *data, size_t length, const char *what) {
    return memmem(data, length, what, strlen(what));
}

static uint64_t number_behind(const char *at, const char *end) {
    uint64_t number = 0;
    while (at < end && *at >= '0' && *at <= '9') number = number * 10 + (uint64_t)(*at++ - '0');
    return number;
}

/* In Socket.IO, 40 is the answer to itself, and 43 with a number acknowledges that event. */
static int is_packet(const char *data, size_t length, char kind) {
    return length > 1 && data[0] == '4' && data[1] == kind;
}

int is_reply_ok(const char *data, size_t length) {
    if (is_packet(data, length, '0') || is_packet(data, length, '3')) return 1;
    return length > 12 && memcmp(data, "{\"type\":\"ok\"", 12) == 0;
}

int is_reply_error(const char *data, size_t length) {
    if (is_packet(data, length, '4')) return 1;
    return length > 15 && memcmp(data, "{\"type\":\"error\"", 15) == 0;
}

int is_engine_ping(const char *data, size_t length) { return length == 1 && data[0] == '2'; }

/* The number of the request that is answered, which was asked last: ids are numbers here. */
uint64_t request_of(const char *data, size_t length, uint64_t asked) {
    if (is_packet(data, length, '0')) return asked; /* it has none */
    if (is_packet(data, length, '3')) return number_behind(data + 2, data + length);
    const char *id = find(data, length, "\"id\":\"");
    return id == NULL ? 0 : number_behind(id + 6, data + length);
}

/* Count the messages of a room in a push or a slice. Their offsets have to follow `last`, which
 * becomes that of the last one; 0 is before any. */
uint32_t count_messages(const char *data, size_t length, uint64_t *last) {
    static const char type[] = "\"type\":\"message\"", offset[] = "\"offset\":";
    const char *end = data + length, *at = data;
    uint32_t count = 0;
    while ((at = find(at, (size_t)(end - at), type)) != NULL) {
        at = find(at, (size_t)(end - at), offset);
        if (at == NULL) fail("a message without an offset");
        uint64_t found = number_behind(at + sizeof offset - 1, end);
        if (*last != 0 && found != *last + 1)
            fail("offset %" PRIu64 " after %" PRIu64, found, *last);
        *last = found;
        count++;
    }
    return count;
}
