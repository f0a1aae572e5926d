/* What one connection sends goes to all others, as it is: one thread, one epoll, one send() each.
 *
 * Writes its port on 127.0.0.1 to standard output. No WebSocket: no handshake, nothing looked at. It ends
 * at the first thing that is not as expected; a socket that takes less than all is one.
 */

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

enum { EVENTS = 256, SIZE = 65536 };

static int epoll, listener;
static int *members, count, room;

static void expect(int holds, const char *what) {
    if (holds) return;
    perror(what);
    exit(1);
}

static void watch(int fd) {
    struct epoll_event event = {.events = EPOLLIN, .data.fd = fd};
    expect(epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event) == 0, "epoll_ctl");
}

static void take_connection(void) {
    int on = 1, fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    expect(fd >= 0, "accept");
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    if (count == room) members = realloc(members, (size_t)(room = 2 * room + 64) * sizeof *members);
    expect(members != NULL, "realloc");
    members[count++] = fd;
    watch(fd);
}

static void drop(int fd) {
    for (int at = 0; at < count; at++)
        if (members[at] == fd) members[at--] = members[--count];
    close(fd);
}

static void hand_on(int from) {
    static char data[SIZE];
    ssize_t length = recv(from, data, sizeof data, 0);
    if (length <= 0) {
        drop(from);
        return;
    }
    for (int at = 0; at < count; at++)
        if (members[at] != from)
            expect(send(members[at], data, (size_t)length, MSG_NOSIGNAL) == length, "send");
}

int main(void) {
    struct epoll_event events[EVENTS];
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof address;
    struct rlimit limit;
    getrlimit(RLIMIT_NOFILE, &limit);
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
    epoll = epoll_create1(EPOLL_CLOEXEC);
    listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    expect(bind(listener, (struct sockaddr *)&address, size) == 0, "bind");
    expect(listen(listener, 1024) == 0, "listen");
    expect(getsockname(listener, (struct sockaddr *)&address, &size) == 0, "getsockname");
    watch(listener);
    printf("%d\n", ntohs(address.sin_port));
    fflush(stdout);
    for (;;) {
        int ready = epoll_wait(epoll, events, EVENTS, -1);
        expect(ready >= 0 || errno == EINTR, "epoll_wait");
        for (int at = 0; at < ready; at++)
            if (events[at].data.fd == listener)
                take_connection();
            else
                hand_on(events[at].data.fd);
    }
}
