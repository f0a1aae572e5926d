/* A client of many connections for measuring servers: one thread, one epoll.
 *
 *     load HOST PORT [STALL]
 *
 * reads commands from standard input, a line each, and answers each with a line of JSON:
 * {"done": messages or connections, "seconds": by the clock, "pings": answered since the start}.
 * The first thing that is not as it must be is said in a line {"error": …}, and ends the program
 * with status 1; so does STALL seconds (20) in which nothing comes in. Pings are answered at all
 * times.
 *
 *     port PORT                         connections opened from now on go there
 *     open COUNT PATH [raw] [deflate]   open more connections; raw: TCP without a handshake
 *     echo MESSAGES SIZE DEPTH          send texts; each connection DEPTH in one write, then waits
 *     texts FILE                        read the texts, one a line, that `deflate` sends
 *     deflate MESSAGES                  as echo, DEPTH 1, with compressed messages
 *     publish MESSAGES SIZE             send on the connection opened last; the others receive all
 *     ask FIRST COUNT PATTERN           in a chat: each of these connections asks, until it has an ok
 *     post FIRST COUNT MESSAGES PATTERN  each of these posts again when it has the ok
 *     talk FIRST COUNT MESSAGES MEMBERS PATTERN  the same, and each post has to reach so many
 *     spread MESSAGES DEPTH PATTERN     post on the connection opened last, DEPTH ahead of the one
 *                                       that has reached all the others
 *     follow MESSAGES PATTERN           ask there, and wait for so many messages
 *     connect COUNT PATH AT_ONCE [raw]  open and close, AT_ONCE at a time
 *     wait SECONDS                      only answer pings
 *     close                             closing handshakes, for all
 *     zlib                              done is 1 if this can do `deflate`, else 0
 *
 * Every reply is compared with what it has to be, byte for byte; messages carry the number of their
 * connection and their own, so that one that is lost, doubled or of another connection is noticed.
 *
 * A connection whose path is /ws is one to a chat, and one whose path is below /socket.io/ to one
 * that speaks Socket.IO 5: errors end the program, and so does a message whose offset is not the
 * next one. In a pattern, # is the connection's number, $ a new id. The
 * answer to post has also "p50" and "p99", of the seconds from a post to its ok.
 */

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>
#include "load.h"

void fail(const char *format, ...) {
    va_list values;
    va_start(values, format);
    fputs("{\"error\": \"", stdout);
    vprintf(format, values);
    puts("\"}");
    exit(1);
}

void *grown(void *block, size_t size) {
    block = realloc(block, size);
    if (block == NULL) fail("out of memory");
    return block;
}

double now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + (double)time.tv_nsec * 1e-9;
}

/* Run the job until that much of it is done, and answer with the time since `began`. */
static void finish(uint64_t done, double began) {
    advance(done);
    job.task = NOTHING;
    printf("{\"done\": %" PRIu64 ", \"seconds\": %.9f, \"pings\": %" PRIu64 "}\n", job.done,
           now() - began, pings);
}

static void command_open(uint32_t count) {
    double began = now();
    open_more(count);
    finish(count, began);
}

static void command_connect(uint32_t at_once) {
    double began = now();
    if (opened) fail("there are connections already");
    open_and_close(at_once);
    finish(job.target, began);
}

static void command_send(void) {
    uint32_t needed = job.task == PUBLISH ? 2 : 1;
    if (opened < needed) fail("%u connections are open, not %u", opened, needed);
    make_room(job.size, job.depth);
    double began = now();
    send_first();
    finish(job.target * (job.task == PUBLISH ? opened - 1 : 1), began);
}

static void command_wait(double seconds) {
    double began = now(), end = began + seconds, left;
    while ((left = end - now()) > 0) turn((int)(left * 1e3) + 1);
    finish(0, began);
}

static void command_close(void) {
    double began = now();
    close_all();
    finish(opened, began);
    opened = 0;
}

static void command_chat(void) {
    uint64_t wanted = job.target;
    if (opened < job.first + job.count || job.count == 0) fail("%u connections are open", opened);
    if (job.task == SPREAD) wanted *= opened; /* the others', and an ok each */
    if (job.task == TALK) wanted *= job.size + 1;
    make_room(1 << 18, 1);
    double began = now();
    ask_first();
    advance(wanted);
    double seconds = now() - began;
    printf("{\"done\": %" PRIu64 ", \"seconds\": %.9f, \"pings\": %" PRIu64,
           job.task == SPREAD || job.task == TALK ? job.spread : job.done, seconds, pings);
    if (job.task == POST) printf(", \"p50\": %.9f, \"p99\": %.9f", latency(0.5), latency(0.99));
    puts("}");
    job.task = NOTHING;
}

static int has(const char *line, const char *word) { return strstr(line, word) != NULL; }

static void execute(char *line) {
    static char path[4096];
    double seconds;
    uint32_t at_once;
    int at = 0;
    struct job next = {.depth = 1, .path = path};
    uint64_t *count = &next.target;
    next.raw = has(line, " raw"), next.deflate = has(line, " deflate");
    if (sscanf(line, "open %" SCNu64 " %4095s", count, path) == 2) {
        if (next.deflate && !DEFLATE) fail("built without zlib");
        job = next;
        command_open((uint32_t)*count);
    } else if (sscanf(line, "port %u", &at_once) == 1) {
        go_to(at_once);
        job = next;
        finish(0, now());
    } else if (sscanf(line, "connect %" SCNu64 " %4095s %u", count, path, &at_once) == 3) {
        next.task = CONNECT, job = next;
        command_connect(at_once);
    } else if (sscanf(line, "echo %" SCNu64 " %u %u", count, &next.size, &next.depth) == 3) {
        next.task = ECHO, job = next;
        command_send();
    } else if (sscanf(line, "publish %" SCNu64 " %u", count, &next.size) == 2) {
        next.task = PUBLISH, job = next;
        command_send();
    } else if (sscanf(line, "deflate %" SCNu64, count) == 1) {
        next.task = COMPRESSED, next.size = (uint32_t)longest_text(), job = next;
        if (next.size == 0) fail("no texts were given");
        command_send();
    } else if (sscanf(line, "texts %4095s", path) == 1) {
        read_texts(path);
        job = next;
        finish(0, now());
    } else if (sscanf(line, "ask %u %u %n", &next.first, &next.count, &at) == 2) {
        next.task = ASK, next.target = next.count, next.pattern = line + at, job = next;
        command_chat();
    } else if (sscanf(line, "post %u %u %" SCNu64 " %n", &next.first, &next.count, count, &at) == 3) {
        next.task = POST, next.pattern = line + at, job = next;
        command_chat();
    } else if (sscanf(line, "talk %u %u %" SCNu64 " %u %n", &next.first, &next.count, count,
                      &next.size, &at) == 4) {
        next.task = TALK, next.pattern = line + at, job = next;
        command_chat();
    } else if (sscanf(line, "spread %" SCNu64 " %u %n", count, &next.depth, &at) == 2) {
        next.task = SPREAD, next.first = opened - 1, next.count = 1;
        next.pattern = line + at, job = next;
        command_chat();
    } else if (sscanf(line, "follow %" SCNu64 " %n", count, &at) == 1) {
        next.task = FOLLOW, next.first = opened - 1, next.count = 1;
        next.pattern = line + at, job = next;
        command_chat();
    } else if (sscanf(line, "wait %lf", &seconds) == 1) {
        job = next;
        command_wait(seconds);
    } else if (strcmp(line, "close") == 0) {
        job = next;
        command_close();
    } else if (strcmp(line, "zlib") == 0) {
        next.done = DEFLATE, job = next;
        finish(0, now());
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
    if (count < 3) {
        fputs("usage: load HOST PORT [STALL], commands on standard input\n", stderr);
        return 2;
    }
    raise_limit();
    listen_to(arguments[1], atoi(arguments[2]), count > 3 ? atof(arguments[3]) : 20);
    for (;;) {
        struct pollfd waiting[] = {{.fd = 0, .events = POLLIN}, {.fd = poller(), .events = POLLIN}};
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
