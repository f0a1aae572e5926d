/* A client of many connections for measuring servers: one thread, one epoll.
 *
 *     load HOST PORT
 *
 * reads commands from standard input, a line each, and answers each with a line of JSON; the first
 * thing that is not as it must be is said in a line {"error": …}, and ends the program with status
 * 1. What takes longer than STALL seconds without any progress is such a thing. Pings are answered
 * at all times.
 *
 *     open COUNT PATH [raw] [deflate]   open more connections; raw: TCP without a handshake
 *     echo MESSAGES SIZE DEPTH          send texts; each connection DEPTH in one write, then waits
 *     texts FILE                        read the texts, one a line, that `deflate` sends
 *     deflate MESSAGES                  as echo, DEPTH 1, with compressed messages
 *     publish MESSAGES SIZE             send on the connection opened last; the others receive all
 *     connect COUNT PATH AT_ONCE [raw]  open and close, AT_ONCE at a time
 *     wait SECONDS                      only answer pings
 *     close                             closing handshakes, for all
 *
 * Every reply is compared with what it has to be, byte for byte; messages carry the number of their
 * connection and their own, so that one that is lost, doubled or of another connection is noticed.
 */

#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdarg.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>
#if DEFLATE /* given to the compiler: 1 where zlib is there, else 0 */
#include <zlib.h>
#endif
#include "websocket.h"

enum { STALL = 20, EVENTS = 512, AT_ONCE = 64, MAX_SIZE = 1 << 20, HEAD_LIMIT = 8192 };

enum state { FREE, CONNECTING, HANDSHAKE, OPEN, CLOSING };
enum task { NOTHING, ECHO, COMPRESSED, PUBLISH, CONNECT };

struct connection {
    int fd;
    enum state state;
    int raw, deflate, writing;
    uint32_t number, sent, received;
    char *rest, *unsent; /* the beginning of a frame; what the socket did not take */
    size_t rest_length, unsent_length;
    void *inflater;
};

static const char *host;
static int port, poller;
static struct connection *connections;
static uint32_t opened, capacity;

/* What is being done, and how far it is. */
static enum task task;
static struct {
    uint64_t target, sent, done;
    uint32_t size, depth;
    const char *path;
    int raw, deflate;
} job;
static uint64_t pings, progress;

static char *incoming, *outgoing, expected[MAX_SIZE];
static size_t incoming_room, outgoing_room;

struct text { size_t length, frame_length; char *data, *frame; };
static struct text *texts;
static uint32_t text_count;

static void fail(const char *format, ...) {
    va_list values;
    va_start(values, format);
    fputs("{\"error\": \"", stdout);
    vprintf(format, values);
    puts("\"}");
    exit(1);
}

static void *grown(void *block, size_t size) {
    block = realloc(block, size);
    if (block == NULL) fail("out of memory");
    return block;
}

static double now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + (double)time.tv_nsec * 1e-9;
}

/* --- sockets ------------------------------------------------------------------------------- */

static void watch(struct connection *c, int operation, int writing) {
    struct epoll_event event = {.events = EPOLLIN | (writing ? EPOLLOUT : 0)};
    event.data.u32 = c->number;
    if (epoll_ctl(poller, operation, c->fd, &event) != 0) fail("epoll_ctl: %s", strerror(errno));
    c->writing = writing;
}

/* Send, and keep what the socket does not take. */
static void transmit(struct connection *c, const char *data, size_t length) {
    if (c->unsent_length == 0) {
        ssize_t sent = send(c->fd, data, length, MSG_NOSIGNAL);
        if (sent < 0 && errno != EAGAIN)
            fail("connection %u: send: %s", c->number, strerror(errno));
        if (sent > 0) data += sent, length -= (size_t)sent;
    }
    if (length == 0) return;
    c->unsent = grown(c->unsent, c->unsent_length + length);
    memcpy(c->unsent + c->unsent_length, data, length);
    c->unsent_length += length;
    if (!c->writing) watch(c, EPOLL_CTL_MOD, 1);
}

static void transmit_rest(struct connection *c) {
    ssize_t sent = send(c->fd, c->unsent, c->unsent_length, MSG_NOSIGNAL);
    if (sent < 0 && errno != EAGAIN) fail("connection %u: send: %s", c->number, strerror(errno));
    if (sent > 0) {
        c->unsent_length -= (size_t)sent;
        memmove(c->unsent, c->unsent + sent, c->unsent_length);
    }
    if (c->unsent_length == 0) watch(c, EPOLL_CTL_MOD, 0);
}

static void release(struct connection *c) {
    close(c->fd);
    free(c->rest), free(c->unsent);
#if DEFLATE
    if (c->inflater) inflateEnd(c->inflater), free(c->inflater);
#endif
    memset(c, 0, sizeof *c);
}

static void begin(struct connection *c, uint32_t number) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    int on = 1;
    memset(c, 0, sizeof *c);
    c->number = number, c->raw = job.raw, c->deflate = job.deflate;
    inet_pton(AF_INET, host, &address.sin_addr);
    c->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (c->fd < 0) fail("socket %u: %s", number, strerror(errno));
    setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    c->state = CONNECTING;
    if (connect(c->fd, (struct sockaddr *)&address, sizeof address) != 0 && errno != EINPROGRESS)
        fail("connection %u: connect: %s", number, strerror(errno));
    watch(c, EPOLL_CTL_ADD, 1);
}

/* --- messages ------------------------------------------------------------------------------ */

/* Write the message of this number that this connection sends. */
static void compose(char *out, uint32_t connection, uint32_t number, size_t size) {
    static const char pattern[] = "The quick brown fox jumps over the lazy dog. ";
    static char filled[MAX_SIZE];
    char tag[17];
    if (filled[0] == 0)
        for (size_t at = 0; at < MAX_SIZE; at++) filled[at] = pattern[at % (sizeof pattern - 1)];
    for (int at = 0; at < 8; at++) {
        tag[at] = "0123456789abcdef"[connection >> (28 - 4 * at) & 15];
        tag[8 + at] = "0123456789abcdef"[number >> (28 - 4 * at) & 15];
    }
    if (size < 16) {
        memcpy(out, tag + 16 - size, size);
    } else {
        memcpy(out, tag, 16);
        memcpy(out + 16, filled, size - 16);
    }
}

/* Send what is due next on a connection that has got all replies. */
static void proceed(struct connection *c) {
    size_t length = 0;
    uint32_t count = job.depth;
    if (count > job.target - job.sent) count = (uint32_t)(job.target - job.sent);
    for (uint32_t at = 0; at < count; at++, c->sent++) {
        if (task == COMPRESSED) {
            struct text *text = &texts[(c->number + c->sent) % text_count];
            length += put_frame(outgoing + length, FIN | RSV1 | TEXT, text->frame, text->frame_length);
        } else {
            compose(expected, c->number, c->sent, job.size);
            length += put_frame(outgoing + length, FIN | TEXT, expected, job.size);
        }
    }
    job.sent += count;
    if (length) transmit(c, outgoing, length);
}

#if DEFLATE
/* Inflate a reply with the window of its connection and compare it. */
static void check_compressed(struct connection *c, struct frame *frame) {
    struct text *text = &texts[(c->number + c->received) % text_count];
    z_stream *stream = c->inflater;
    Bytef tail[] = {0, 0, 0xFF, 0xFF};
    if (stream == NULL) {
        stream = c->inflater = calloc(1, sizeof *stream);
        if (stream == NULL || inflateInit2(stream, -15) != Z_OK) fail("out of memory");
    }
    stream->next_out = (Bytef *)expected;
    stream->avail_out = MAX_SIZE;
    stream->next_in = (Bytef *)frame->payload, stream->avail_in = (uInt)frame->length;
    int result = inflate(stream, Z_SYNC_FLUSH);
    if (result == Z_OK || result == Z_BUF_ERROR) {
        stream->next_in = tail, stream->avail_in = sizeof tail;
        result = inflate(stream, Z_SYNC_FLUSH);
    }
    if (result != Z_OK && result != Z_BUF_ERROR)
        fail("connection %u: reply %u cannot be inflated", c->number, c->received);
    if (MAX_SIZE - stream->avail_out != text->length || memcmp(expected, text->data, text->length))
        fail("connection %u: reply %u differs", c->number, c->received);
}
#endif

static void on_message(struct connection *c, struct frame *frame) {
    uint32_t from = task == PUBLISH ? opened - 1 : c->number;
    if (task != ECHO && task != COMPRESSED && task != PUBLISH)
        fail("connection %u: a message that nobody asked for", c->number);
    if (task == PUBLISH ? c->number == from || c->received >= job.sent : c->received >= c->sent)
        fail("connection %u: one message too many", c->number);
    if (frame->first != (FIN | TEXT | (task == COMPRESSED ? RSV1 : 0)))
        fail("connection %u: reply %u begins with byte 0x%02x", c->number, c->received, frame->first);
#if DEFLATE
    if (task == COMPRESSED) check_compressed(c, frame);
#endif
    if (task != COMPRESSED) {
        if (frame->length != job.size)
            fail("connection %u: reply %u has %zu bytes, not %u", c->number, c->received, frame->length, job.size);
        compose(expected, from, c->received, job.size);
        if (memcmp(expected, frame->payload, job.size) != 0)
            fail("connection %u: reply %u differs", c->number, c->received);
    }
    c->received++;
    job.done++;
    if (task == PUBLISH) {
        /* The next is published when all have this one. */
        if (job.done == job.sent * (opened - 1)) proceed(&connections[from]);
    } else if (c->received == c->sent) {
        proceed(c);
    }
}

static void on_frame(struct connection *c, struct frame *frame) {
    char reply[FRAME_HEAD + 125];
    if (frame->masked != c->raw) fail("connection %u: a frame whose mask bit is wrong", c->number);
    switch (frame->first & 0x0F) {
    case PING:
        if (frame->length > 125) fail("connection %u: a ping of %zu bytes", c->number, frame->length);
        pings++;
        transmit(c, reply, put_frame(reply, FIN | PONG, frame->payload, frame->length));
        break;
    case PONG:
        break;
    case CLOSE:
        if (c->state != CLOSING)
            fail("connection %u: closed by the server with %d", c->number,
                 frame->length < 2 ? 1005 : (uint8_t)frame->payload[0] << 8 | (uint8_t)frame->payload[1]);
        break; /* the end of the stream follows */
    default:
        on_message(c, frame);
    }
}

/* --- the life of a connection -------------------------------------------------------------- */

static void start_closing(struct connection *c) {
    char frame[FRAME_HEAD + 2];
    c->state = CLOSING;
    if (c->raw)
        shutdown(c->fd, SHUT_WR);
    else
        transmit(c, frame, put_frame(frame, FIN | CLOSE, "\x03\xe8", 2));
}

static void on_open(struct connection *c) {
    c->state = OPEN;
    if (task == CONNECT)
        start_closing(c);
    else
        job.done++;
}

static void on_end(struct connection *c) {
    if (c->state != CLOSING) fail("connection %u: lost (%s)", c->number, strerror(errno));
    uint32_t number = c->number;
    release(c);
    job.done++;
    if (task == CONNECT && job.sent < job.target) job.sent++, begin(c, number);
}

static void on_connected(struct connection *c) {
    char request[1024];
    int error;
    socklen_t size = sizeof error;
    getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &error, &size);
    if (error) fail("connection %u: connect: %s", c->number, strerror(error));
    watch(c, EPOLL_CTL_MOD, 0);
    if (c->raw) {
        on_open(c);
        return;
    }
    c->state = HANDSHAKE;
    int length = put_request(request, sizeof request, host, port, job.path, c->deflate);
    transmit(c, request, (size_t)length);
}

/* Take the response's head from the beginning of what came in: its size, or 0 for more. */
static size_t take_response(struct connection *c, char *data, size_t length) {
    char head[HEAD_LIMIT], *end = memmem(data, length, "\r\n\r\n", 4);
    if (end == NULL && length < HEAD_LIMIT) return 0;
    size_t size = end == NULL ? HEAD_LIMIT : (size_t)(end - data) + 4;
    if (size >= HEAD_LIMIT) fail("connection %u: a response without end", c->number);
    memcpy(head, data, size);
    head[size] = 0;
    const char *wrong = wrong_response(head, c->deflate);
    if (wrong) fail("connection %u: %s", c->number, wrong);
    on_open(c);
    return size;
}

static void on_readable(struct connection *c) {
    struct frame frame;
    size_t at = 0, length = c->rest_length;
    if (length) memcpy(incoming, c->rest, length);
    ssize_t got = recv(c->fd, incoming + length, incoming_room - length, 0);
    if (got < 0 && errno == EAGAIN) return;
    if (got <= 0) {
        errno = got == 0 ? 0 : errno;
        on_end(c);
        return;
    }
    length += (size_t)got;
    progress++;
    if (c->state == HANDSHAKE) at = take_response(c, incoming, length);
    while (c->state != HANDSHAKE && get_frame(incoming + at, length - at, &frame)) {
        on_frame(c, &frame);
        at += frame.size;
    }
    if (length - at >= incoming_room / 2) fail("connection %u: a frame without end", c->number);
    c->rest_length = length - at;
    if (c->rest_length == 0) return;
    c->rest = grown(c->rest, c->rest_length);
    memcpy(c->rest, incoming + at, c->rest_length);
}

/* Handle what is ready, waiting at most that many milliseconds. */
static void turn(int timeout) {
    static struct epoll_event events[EVENTS];
    int ready = epoll_wait(poller, events, EVENTS, timeout);
    if (ready < 0 && errno != EINTR) fail("epoll_wait: %s", strerror(errno));
    for (int at = 0; at < ready; at++) {
        struct connection *c = &connections[events[at].data.u32];
        if (c->state == CONNECTING) {
            on_connected(c);
            continue;
        }
        if (events[at].events & EPOLLOUT && c->unsent_length) transmit_rest(c);
        if (events[at].events & (EPOLLIN | EPOLLHUP | EPOLLERR)) on_readable(c);
    }
}

/* Run until that much is done. */
static void advance(uint64_t done) {
    double moved = now();
    uint64_t before = progress;
    while (job.done < done) {
        turn(1000);
        if (progress != before)
            before = progress, moved = now();
        else if (now() - moved > STALL)
            fail("no progress in %d s: %" PRIu64 " of %" PRIu64, STALL, job.done, done);
    }
}

/* Run until that much is done, and answer with the time since `began`. */
static void finish(uint64_t done, double began) {
    advance(done);
    task = NOTHING;
    printf("{\"done\": %" PRIu64 ", \"seconds\": %.9f, \"pings\": %" PRIu64 "}\n", job.done,
           now() - began, pings);
}

/* --- commands ------------------------------------------------------------------------------ */

static void make_room(size_t size, size_t depth) {
    size_t wanted = 2 * (size + FRAME_HEAD) + (1 << 17), written = (size + FRAME_HEAD) * depth;
    if (size > MAX_SIZE || depth == 0 || written > (1u << 26)) fail("messages out of bounds");
    if (wanted > incoming_room) incoming = grown(incoming, incoming_room = wanted);
    if (written > outgoing_room) outgoing = grown(outgoing, outgoing_room = written);
}

static void reserve(uint32_t count) {
    if (count <= capacity) return;
    connections = grown(connections, count * sizeof *connections);
    capacity = count;
}

static void start(enum task what, uint64_t target) {
    memset(&job, 0, sizeof job);
    task = what;
    job.target = target;
    job.depth = 1;
}

static void command_open(uint32_t count, const char *path, int raw, int deflate) {
    double began = now();
    uint32_t last = opened + count;
    start(NOTHING, count);
    job.path = path, job.raw = raw, job.deflate = deflate;
    if (deflate && !DEFLATE) fail("built without zlib");
    reserve(last);
    make_room(0, 1);
    while (opened < last) { /* a few at a time: a server's backlog is short */
        begin(&connections[opened], opened), opened++, job.sent++;
        if (job.sent >= AT_ONCE) advance(job.sent - AT_ONCE + 1);
    }
    finish(count, began);
}

static void command_echo(enum task what, uint64_t messages, uint32_t size, uint32_t depth) {
    double began;
    make_room(size, depth);
    start(what, messages);
    job.size = size, job.depth = depth;
    began = now();
    if (what == PUBLISH) {
        if (opened < 2) fail("nobody to publish to");
        for (uint32_t at = 0; at < opened; at++) connections[at].received = 0;
        connections[opened - 1].sent = 0;
        proceed(&connections[opened - 1]);
        finish(messages * (opened - 1), began);
        for (uint32_t at = 0; at < opened; at++) connections[at].sent = connections[at].received = 0;
        return;
    }
    if (opened == 0) fail("no connection is open");
    for (uint32_t at = 0; at < opened; at++) proceed(&connections[at]);
    finish(messages, began);
}

static void command_connect(uint32_t count, const char *path, uint32_t at_once, int raw) {
    double began = now();
    if (opened) fail("there are connections already");
    start(CONNECT, count);
    job.path = path, job.raw = raw;
    reserve(at_once);
    make_room(0, 1);
    for (uint32_t at = 0; at < at_once && job.sent < count; at++) job.sent++, begin(&connections[at], at);
    finish(count, began);
}

static void command_wait(double seconds) {
    double began = now(), end = began + seconds;
    while (now() < end) turn((int)((end - now()) * 1e3) + 1);
    start(NOTHING, 0);
    finish(0, began);
}

static void command_close(void) {
    double began = now();
    start(NOTHING, opened);
    for (uint32_t at = 0; at < opened; at++) start_closing(&connections[at]);
    finish(opened, began);
    opened = 0;
}

static void command_texts(const char *path) {
#if DEFLATE
    FILE *file = fopen(path, "r");
    char *line = NULL;
    size_t room = 0;
    ssize_t length;
    if (file == NULL) fail("%s: %s", path, strerror(errno));
    while ((length = getline(&line, &room, file)) > 1) {
        z_stream stream = {0};
        texts = grown(texts, (text_count + 1) * sizeof *texts);
        struct text *text = &texts[text_count++];
        text->length = (size_t)length - 1; /* without the newline */
        text->data = grown(NULL, (size_t)length);
        memcpy(text->data, line, text->length);
        if (deflateInit2(&stream, 6, Z_DEFLATED, -15, 8, Z_DEFAULT_STRATEGY) != Z_OK) fail("out of memory");
        uLong bound = deflateBound(&stream, (uLong)length) + 16;
        text->frame = grown(NULL, bound);
        stream.next_in = (Bytef *)text->data, stream.avail_in = (uInt)text->length;
        stream.next_out = (Bytef *)text->frame, stream.avail_out = (uInt)bound;
        deflate(&stream, Z_SYNC_FLUSH);
        text->frame_length = bound - stream.avail_out - 4; /* RFC 7692, section 7.2.1 */
        deflateEnd(&stream);
    }
    free(line);
    fclose(file);
    start(NOTHING, 0);
    finish(0, now());
#else
    fail("built without zlib: %s", path);
#endif
}

static void execute(char *line) {
    static char path[4096];
    uint64_t count;
    uint32_t size, depth;
    double seconds;
    int raw = strstr(line, " raw") != NULL, deflate = strstr(line, " deflate") != NULL;
    if (sscanf(line, "open %" SCNu64 " %4095s", &count, path) == 2) {
        command_open((uint32_t)count, path, raw, deflate);
    } else if (sscanf(line, "echo %" SCNu64 " %u %u", &count, &size, &depth) == 3) {
        command_echo(ECHO, count, size, depth);
    } else if (sscanf(line, "texts %4095s", path) == 1) {
        command_texts(path);
    } else if (sscanf(line, "deflate %" SCNu64 "", &count) == 1) {
        if (text_count == 0) fail("no texts were given");
        size_t longest = 0;
        for (uint32_t at = 0; at < text_count; at++)
            if (texts[at].length > longest) longest = texts[at].length;
        command_echo(COMPRESSED, count, (uint32_t)longest + 64, 1);
    } else if (sscanf(line, "publish %" SCNu64 " %u", &count, &size) == 2) {
        command_echo(PUBLISH, count, size, 1);
    } else if (sscanf(line, "connect %" SCNu64 " %4095s %u", &count, path, &depth) == 3) {
        command_connect((uint32_t)count, path, depth, raw);
    } else if (sscanf(line, "wait %lf", &seconds) == 1) {
        command_wait(seconds);
    } else if (strncmp(line, "close", 5) == 0) {
        command_close();
    } else {
        fail("no such command");
    }
    fflush(stdout);
}

/* Allow as many descriptors as the system lets us. */
static void raise_limit(void) {
    struct rlimit limit;
    getrlimit(RLIMIT_NOFILE, &limit);
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
}

int main(int count, char **arguments) {
    static char line[8192];
    size_t length = 0;
    if (count != 3) {
        fputs("usage: load HOST PORT, commands on standard input\n", stderr);
        return 2;
    }
    host = arguments[1], port = atoi(arguments[2]);
    raise_limit();
    poller = epoll_create1(EPOLL_CLOEXEC);
    for (;;) {
        struct pollfd waiting[2] = {{.fd = 0, .events = POLLIN}, {.fd = poller, .events = POLLIN}};
        if (poll(waiting, 2, -1) < 0 && errno != EINTR) return 1;
        if (waiting[1].revents) turn(0);
        if (!waiting[0].revents) continue;
        ssize_t got = read(0, line + length, sizeof line - 1 - length);
        if (got <= 0) return 0;
        length += (size_t)got;
        for (char *end; (end = memchr(line, '\n', length)) != NULL;) {
            size_t used = (size_t)(end - line) + 1;
            *end = 0;
            execute(line);
            memmove(line, line + used, length -= used);
        }
        if (length == sizeof line - 1) fail("a line without end");
    }
}
