/* The messages that are sent, and whether what comes back is equal to them. */

#include <errno.h>
#include <stdlib.h>
#include <sys/types.h>
#if DEFLATE /* given to the compiler: 1 where zlib is there, else 0 */
#include <zlib.h>
#endif
#include "load.h"
#include "websocket.h"

/* Write the message of this number that this connection sends: both numbers, and text after. */
void compose(char *out, uint32_t connection, uint32_t number, size_t size) {
    static const char pattern[] = "The quick brown fox jumps over the lazy dog. ";
    static char filled[MAX_SIZE];
    char tag[16];
    if (filled[0] == 0)
        for (size_t at = 0; at < MAX_SIZE; at++) filled[at] = pattern[at % (sizeof pattern - 1)];
    for (int at = 0; at < 8; at++) {
        tag[at] = "0123456789abcdef"[connection >> (28 - 4 * at) & 15];
        tag[8 + at] = "0123456789abcdef"[number >> (28 - 4 * at) & 15];
    }
    if (size < sizeof tag) {
        memcpy(out, tag + sizeof tag - size, size);
    } else {
        memcpy(out, tag, sizeof tag);
        memcpy(out + sizeof tag, filled, size - sizeof tag);
    }
}

int is_composed(const char *data, uint32_t connection, uint32_t number, size_t size) {
    static char expected[MAX_SIZE];
    compose(expected, connection, number, size);
    return memcmp(expected, data, size) == 0;
}

#if DEFLATE

static struct text {
    size_t length, frame_length;
    char *data, *frame; /* plain; compressed without a window, so that it can stand anywhere */
} *texts;
static uint32_t text_count;

static void compress_text(struct text *text) {
    z_stream stream = {0};
    if (deflateInit2(&stream, 6, Z_DEFLATED, -15, 8, Z_DEFAULT_STRATEGY) != Z_OK)
        fail("out of memory");
    uLong bound = deflateBound(&stream, (uLong)text->length) + 16;
    text->frame = grown(NULL, bound);
    stream.next_in = (Bytef *)text->data, stream.avail_in = (uInt)text->length;
    stream.next_out = (Bytef *)text->frame, stream.avail_out = (uInt)bound;
    deflate(&stream, Z_SYNC_FLUSH);
    text->frame_length = bound - stream.avail_out - 4; /* RFC 7692, section 7.2.1 */
    deflateEnd(&stream);
}

void read_texts(const char *path) {
    FILE *file = fopen(path, "r");
    char *line = NULL;
    size_t room = 0;
    ssize_t length;
    if (file == NULL) fail("%s: %s", path, strerror(errno));
    while ((length = getline(&line, &room, file)) > 1) {
        if (length > MAX_SIZE) fail("messages out of bounds");
        texts = grown(texts, (text_count + 1) * sizeof *texts);
        struct text *text = &texts[text_count++];
        text->length = (size_t)length - 1; /* without the newline */
        text->data = grown(NULL, text->length);
        memcpy(text->data, line, text->length);
        compress_text(text);
    }
    free(line);
    fclose(file);
}

size_t longest_text(void) {
    size_t longest = 0;
    for (uint32_t at = 0; at < text_count; at++)
        if (texts[at].frame_length > longest) longest = texts[at].frame_length;
    return longest;
}

static struct text *text_of(uint32_t connection, uint32_t number) {
    return &texts[(connection + number) % text_count];
}

size_t put_text(char *out, uint32_t connection, uint32_t number) {
    struct text *text = text_of(connection, number);
    return put_frame(out, FIN | RSV1 | TEXT, text->frame, text->frame_length);
}

/* Inflate a reply with the window of its connection, and compare it. */
int is_text(void **inflater, const char *data, size_t length, uint32_t connection,
            uint32_t number) {
    static char inflated[MAX_SIZE];
    static const uint8_t tail[] = {0, 0, 0xFF, 0xFF};
    struct text *text = text_of(connection, number);
    z_stream *stream = *inflater;
    int result;
    if (stream == NULL) {
        stream = *inflater = calloc(1, sizeof *stream);
        if (stream == NULL || inflateInit2(stream, -15) != Z_OK) fail("out of memory");
    }
    stream->next_out = (Bytef *)inflated, stream->avail_out = sizeof inflated;
    stream->next_in = (Bytef *)data, stream->avail_in = (uInt)length;
    result = inflate(stream, Z_SYNC_FLUSH);
    if (result == Z_OK || result == Z_BUF_ERROR) {
        stream->next_in = (Bytef *)tail, stream->avail_in = sizeof tail;
        result = inflate(stream, Z_SYNC_FLUSH);
    }
    return (result == Z_OK || result == Z_BUF_ERROR) && stream->avail_in == 0 &&
           sizeof inflated - stream->avail_out == text->length &&
           memcmp(inflated, text->data, text->length) == 0;
}

void end_inflater(void *inflater) {
    if (inflater) inflateEnd(inflater);
    free(inflater);
}

#else

void read_texts(const char *path) { fail("built without zlib: %s", path); }
size_t longest_text(void) { return 0; }
size_t put_text(char *out, uint32_t connection, uint32_t number) {
    return (void)out, (void)connection, (void)number, (size_t)0;
}
int is_text(void **inflater, const char *data, size_t length, uint32_t connection,
            uint32_t number) {
    return (void)inflater, (void)data, (void)length, (void)connection, (void)number, 0;
}
void end_inflater(void *inflater) { (void)inflater; }

#endif
