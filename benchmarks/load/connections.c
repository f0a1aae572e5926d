/* Many connections on one epoll, and one task for all of them; every reply is compared. */

#include <arpa/inet.h>
#include <errno.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>
#include "load.h"
#include "websocket.h"

enum { EVENTS = 512, HEAD_LIMIT = 8192 };
/* How many handshakes are under way at a time: the backlog of a server is short. */
enum { AT_ONCE = 64 };

enum state { FREE, CONNECTING, HANDSHAKE, OPEN, CLOSING };

struct connection {
    int fd;
    enum state state;
    int raw, deflate, chat, writing;
    uint32_t number, sent, received;
    uint64_t request, offset; /* in a chat: what was asked last, the room's last message */
    double asked;
    char *rest, *unsent; /* the beginning of a frame; what the socket did not take */
    size_t rest_length, unsent_length;
    void *inflater;
};

struct job job;
uint64_t pings;
uint32_t opened;

static struct sockaddr_in address;
static char request_host[INET_ADDRSTRLEN];
static int epoll;
static double stall;
static uint64_t progress; /* something came in */
static struct connection *connections;
static uint32_t capacity;
static char *incoming, *outgoing;
static size_t incoming_room, outgoing_room;

void listen_to(const char *host, int port, double patience) {
    address.sin_family = AF_INET;
    address.sin_port = htons((uint16_t)port);
    if (inet_pton(AF_INET, host, &address.sin_addr) != 1) fail("no IPv4 address: %s", host);
    inet_ntop(AF_INET, &address.sin_addr, request_host, sizeof request_host);
    epoll = epoll_create1(EPOLL_CLOEXEC);
    stall = patience;
}

void go_to(uint32_t port) { address.sin_port = htons((uint16_t)port); }

int poller(void) { return epoll; }

/* Make room for messages of that size, and for so many in one write. */
void make_room(size_t size, size_t depth) {
    size_t frame = size + FRAME_HEAD, wanted = 2 * frame + (1 << 17);
    if (size > MAX_SIZE || depth == 0 || depth > (1u << 26) / frame) fail("messages out of bounds");
    if (wanted > incoming_room) incoming = grown(incoming, incoming_room = wanted);
    if (frame * depth > outgoing_room) outgoing = grown(outgoing, outgoing_room = frame * depth);
}

static void reserve(uint32_t count) {
    if (count <= capacity) return;
    connections = grown(connections, count * sizeof *connections);
    capacity = count;
}

/* --- sockets ------------------------------------------------------------------------------- */

static void watch(struct connection *c, int operation, int writing) {
    struct epoll_event event = {.events = EPOLLIN | (writing ? EPOLLOUT : 0)};
    event.data.u32 = c->number;
    if (epoll_ctl(epoll, operation, c->fd, &event) != 0) fail("epoll_ctl: %s", strerror(errno));
    c->writing = writing;
}

/* Give the socket what it takes, and return how much that was. */
static size_t give(struct connection *c, const char *data, size_t length) {
    ssize_t sent = send(c->fd, data, length, MSG_NOSIGNAL);
    if (sent < 0 && errno != EAGAIN) fail("connection %u: send: %s", c->number, strerror(errno));
    return sent < 0 ? 0 : (size_t)sent;
}

/* Send, and keep what the socket does not take. */
static void transmit(struct connection *c, const char *data, size_t length) {
    size_t sent = c->unsent_length == 0 ? give(c, data, length) : 0;
    if (sent == length) return;
    length -= sent;
    c->unsent = grown(c->unsent, c->unsent_length + length);
    memcpy(c->unsent + c->unsent_length, data + sent, length);
    c->unsent_length += length;
    if (!c->writing) watch(c, EPOLL_CTL_MOD, 1);
}

static void transmit_rest(struct connection *c) {
    size_t sent = give(c, c->unsent, c->unsent_length);
    c->unsent_length -= sent;
    memmove(c->unsent, c->unsent + sent, c->unsent_length);
    if (c->unsent_length == 0) watch(c, EPOLL_CTL_MOD, 0);
}

static void begin(struct connection *c, uint32_t number) {
    int on = 1;
    memset(c, 0, sizeof *c);
    c->number = number, c->raw = job.raw, c->deflate = job.deflate;
    c->chat = strcmp(job.path, "/ws") == 0 || strncmp(job.path, "/socket.io/", 11) == 0;
    c->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (c->fd < 0) fail("connection %u: socket: %s", number, strerror(errno));
    setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    c->state = CONNECTING;
    if (connect(c->fd, (struct sockaddr *)&address, sizeof address) != 0 && errno != EINPROGRESS)
        fail("connection %u: connect: %s", number, strerror(errno));
    watch(c, EPOLL_CTL_ADD, 1);
}

static void release(struct connection *c) {
    close(c->fd);
    free(c->rest);
    free(c->unsent);
    end_inflater(c->inflater);
    memset(c, 0, sizeof *c);
}

/* --- messages ------------------------------------------------------------------------------ */

/* Send what is due next on a connection that has got all replies. */
static void proceed(struct connection *c) {
    size_t length = 0;
    uint64_t count = job.target - job.sent < job.depth ? job.target - job.sent : job.depth;
    for (uint64_t at = 0; at < count; at++, c->sent++) {
        if (job.task == COMPRESSED) {
            length += put_text(outgoing + length, c->number, c->sent);
        } else {
            static char message[MAX_SIZE];
            compose(message, c->number, c->sent, job.size);
            length += put_frame(outgoing + length, FIN | TEXT, message, job.size);
        }
    }
    job.sent += count;
    if (length) transmit(c, outgoing, length);
}

static void check(struct connection *c, struct frame *frame, uint32_t from) {
    int wanted = FIN | TEXT | (job.task == COMPRESSED ? RSV1 : 0);
    if (frame->first != wanted)
        fail("connection %u: message %u begins with 0x%02x, not 0x%02x", c->number, c->received,
             frame->first, wanted);
    int equal = job.task == COMPRESSED
        ? is_text(&c->inflater, frame->payload, frame->length, c->number, c->received)
        : frame->length == job.size && is_composed(frame->payload, from, c->received, job.size);
    if (!equal) fail("connection %u: message %u is another", c->number, c->received);
}

static void on_message(struct connection *c, struct frame *frame) {
    uint32_t from = job.task == PUBLISH ? opened - 1 : c->number;
    uint64_t due = job.task == PUBLISH ? (c->number == from ? 0 : job.sent)
        : job.task == ECHO || job.task == COMPRESSED ? c->sent : 0;
    if (c->received >= due) fail("connection %u: one message too many", c->number);
    check(c, frame, from);
    c->received++;
    job.done++;
    if (job.task != PUBLISH) {
        if (c->received == c->sent) proceed(c);
    } else if (job.done == job.sent * (opened - 1)) {
        proceed(&connections[from]); /* when all have the one before */
    }
}

/* --- chat ---------------------------------------------------------------------------------- */

static double *latencies;
static uint64_t latency_count, latency_room;

static void ask(struct connection *c) {
    static uint64_t requests;
    static char text[1 << 18];
    c->request = ++requests;
    c->asked = now();
    size_t length = put_request_text(text, sizeof text, job.pattern, c->number, c->request);
    transmit(c, outgoing, put_frame(outgoing, FIN | TEXT, text, length));
    job.sent++;
}

/* Post as long as fewer than `depth` messages are on their way to some of the others. */
static void spread(struct connection *c) {
    while (job.sent < job.target && job.sent < job.spread / (opened - 1) + job.depth) ask(c);
}

static void on_answered(struct connection *c) {
    switch (job.task) {
    case SPREAD:
        job.done++;
        break;
    case ASK:
        job.done++;
        if (job.sent < job.target) ask(&connections[job.first + job.sent]);
        break;
    case TALK:
        job.done++;
        if (job.sent < job.target) ask(c);
        break;
    case POST:
        if (latency_count == latency_room) {
            latency_room = latency_room ? 2 * latency_room : 4096;
            latencies = grown(latencies, latency_room * sizeof *latencies);
        }
        latencies[latency_count++] = now() - c->asked;
        job.done++;
        if (job.sent < job.target) ask(c);
        break;
    default:
        break;
    }
}

static void on_chat(struct connection *c, struct frame *frame) {
    const char *data = frame->payload;
    size_t length = frame->length;
    int ok = is_reply_ok(data, length);
    if (frame->first != (FIN | TEXT)) fail("connection %u: no text", c->number);
    if (is_engine_ping(data, length)) {
        char pong[FRAME_HEAD + 1];
        pings++;
        transmit(c, pong, put_frame(pong, FIN | TEXT, "3", 1));
        return;
    }
    if (is_reply_error(data, length)) fail("connection %u: an error", c->number);
    if (ok && memmem(data, length, "\"messages\":", 11)) c->offset = 0;
    uint32_t messages = count_messages(data, length, &c->offset);
    if (job.task == FOLLOW && c->number == job.first) job.done += messages;
    if (job.task == SPREAD && c->number != job.first && !ok) {
        job.spread += messages, job.done += messages;
        spread(&connections[job.first]);
    }
    if (job.task == TALK && !ok) job.spread += messages, job.done += messages;
    if (!ok) return;
    if (job.task != SPREAD && request_of(data, length, c->request) != c->request)
        fail("connection %u: an answer to something else", c->number);
    on_answered(c);
}

void ask_first(void) {
    struct connection *first = &connections[job.first];
    latency_count = 0;
    if (job.task == SPREAD) {
        spread(first);
        return;
    }
    uint32_t at_once = job.task == ASK && job.count > AT_ONCE ? AT_ONCE : job.count;
    for (uint32_t at = 0; at < at_once && job.sent < job.target; at++) ask(first + at);
}

static int compare(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

double latency(double share) {
    if (latency_count == 0) return 0;
    qsort(latencies, latency_count, sizeof *latencies, compare);
    return latencies[(uint64_t)((double)(latency_count - 1) * share)];
}

static void on_frame(struct connection *c, struct frame *frame) {
    char reply[FRAME_HEAD + 125];
    if (frame->masked != c->raw) fail("connection %u: a frame's mask bit is wrong", c->number);
    switch (frame->first & 0x0F) {
    case PING:
        if (frame->length > 125) fail("connection %u: a ping is too long", c->number);
        pings++;
        transmit(c, reply, put_frame(reply, FIN | PONG, frame->payload, frame->length));
        break;
    case PONG:
        break;
    case CLOSE:
        if (c->state != CLOSING) {
            uint8_t *code = (uint8_t *)frame->payload;
            fail("connection %u: closed by the server with %d", c->number,
                 frame->length < 2 ? 1005 : code[0] << 8 | code[1]);
        }
        break; /* the end of the stream follows */
    default:
        if (c->chat)
            on_chat(c, frame);
        else
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
    if (job.task == CONNECT)
        start_closing(c);
    else
        job.done++;
}

static void on_end(struct connection *c, const char *how) {
    uint32_t number = c->number;
    if (c->state != CLOSING) fail("connection %u: lost (%s)", number, how);
    release(c);
    job.done++;
    if (job.task == CONNECT && job.sent < job.target) job.sent++, begin(c, number);
}

static void on_connected(struct connection *c) {
    char request[1024];
    int error = 0;
    socklen_t size = sizeof error;
    getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &error, &size);
    if (error) fail("connection %u: connect: %s", c->number, strerror(error));
    progress++;
    watch(c, EPOLL_CTL_MOD, 0);
    if (c->raw) {
        on_open(c);
        return;
    }
    c->state = HANDSHAKE;
    int length = put_request(request, sizeof request, request_host, ntohs(address.sin_port),
                             job.path, c->deflate);
    if (length >= (int)sizeof request) fail("a path without end");
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
    progress++;
    if (got <= 0) {
        on_end(c, got == 0 ? "end of stream" : strerror(errno));
        return;
    }
    length += (size_t)got;
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
void turn(int timeout) {
    static struct epoll_event events[EVENTS];
    int ready = epoll_wait(epoll, events, EVENTS, timeout);
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

/* Run until that much of the job is done. */
void advance(uint64_t done) {
    double moved = now();
    uint64_t before = progress;
    while (job.done < done) {
        turn(stall < 1 ? (int)(stall * 1e3) : 1000);
        if (progress != before)
            before = progress, moved = now();
        else if (now() - moved >= stall)
            fail("no progress in %g s: %" PRIu64 " of %" PRIu64, stall, job.done, done);
    }
}

/* --- what is done on all of them ----------------------------------------------------------- */

void open_more(uint32_t count) {
    uint32_t last = opened + count;
    reserve(last);
    make_room(0, 1);
    while (opened < last) {
        begin(&connections[opened], opened);
        opened++, job.sent++;
        if (job.sent >= AT_ONCE) advance(job.sent - AT_ONCE + 1);
    }
}

void open_and_close(uint32_t at_once) {
    reserve(at_once);
    make_room(0, 1);
    for (uint32_t at = 0; at < at_once && job.sent < job.target; at++) {
        job.sent++;
        begin(&connections[at], at);
    }
}

/* Send the first messages of the job: the others follow as those come back. */
void send_first(void) {
    if (job.task != PUBLISH) {
        for (uint32_t at = 0; at < opened; at++) proceed(&connections[at]);
        return;
    }
    for (uint32_t at = 0; at < opened; at++) connections[at].sent = connections[at].received = 0;
    proceed(&connections[opened - 1]);
}

void close_all(void) {
    for (uint32_t at = 0; at < opened; at++) start_closing(&connections[at]);
}
