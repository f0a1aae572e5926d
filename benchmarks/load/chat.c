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

int is_reply_ok(const char *data, size_t length) {
    return length > 12 && memcmp(data, "{\"type\":\"ok\"", 12) == 0;
}

int is_reply_error(const char *data, size_t length) {
    return length > 15 && memcmp(data, "{\"type\":\"error\"", 15) == 0;
}

/* The number of the request that is answered: ids are numbers here. */
uint64_t request_of(const char *data, size_t length) {
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
