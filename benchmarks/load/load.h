/* What the files of the load generator share. */

#ifndef LOAD_H
#define LOAD_H

#include <stddef.h>
#include <stdint.h>

enum { MAX_SIZE = 1 << 20 }; /* of a message, in bytes */

/* load.c: say what is wrong, and end. */
_Noreturn void fail(const char *format, ...) __attribute__((format(printf, 1, 2)));
void *grown(void *block, size_t size);
double now(void);

/* messages.c: what is sent, and what has to come back. */
void compose(char *out, uint32_t connection, uint32_t number, size_t size);
int is_composed(const char *data, uint32_t connection, uint32_t number, size_t size);
void read_texts(const char *path);
size_t longest_text(void);
size_t put_text(char *out, uint32_t connection, uint32_t number);
int is_text(void **inflater, const char *data, size_t length, uint32_t connection, uint32_t number);
void end_inflater(void *inflater);

/* chat.c: what is said in a chat. */
size_t put_request_text(char *out, size_t room, const char *pattern, uint32_t connection,
                        uint64_t request);
int is_reply_ok(const char *data, size_t length);
int is_reply_error(const char *data, size_t length);
int is_engine_ping(const char *data, size_t length);
uint64_t request_of(const char *data, size_t length, uint64_t asked);
uint32_t count_messages(const char *data, size_t length, uint64_t *last);

/* connections.c: the connections, and one task for all of them. */
enum task { NOTHING, ECHO, COMPRESSED, PUBLISH, CONNECT, ASK, POST, TALK, SPREAD, FOLLOW };

struct job {
    enum task task;
    uint64_t target, sent, done; /* messages, or connections */
    uint64_t spread; /* messages that came to those who did not post them */
    uint32_t size, depth;
    const char *path, *pattern;
    uint32_t first, count; /* of the connections that ask or post */
    int raw, deflate;
};
extern struct job job;
extern uint64_t pings; /* answered so far */
extern uint32_t opened;

void listen_to(const char *host, int port, double stall);
void go_to(uint32_t port);
int poller(void);
void make_room(size_t size, size_t depth);
void open_more(uint32_t count);
void open_and_close(uint32_t at_once);
void send_first(void);
void ask_first(void);
double latency(double share); /* of the posts of the job: within that were so many answered */
void close_all(void);
void turn(int timeout);
void advance(uint64_t done);

#endif
