/* Sending and receiving on a socket that does not block, as one call each. */

#ifndef WSCORE_SOCKET_CALLS_H
#define WSCORE_SOCKET_CALLS_H

#include <Python.h>

enum { WSCORE_NOTHING = -1, WSCORE_BROKEN = -2 };

#ifdef __linux__

#include <errno.h>
#include <sys/socket.h>

#define WSCORE_RESULT(call)                                            \
    ssize_t done;                                                      \
    do done = (call);                                                  \
    while (done < 0 && errno == EINTR);                                \
    if (done >= 0) return done;                                        \
    return errno == EAGAIN || errno == EWOULDBLOCK ? WSCORE_NOTHING : WSCORE_BROKEN

/* How many bytes the system took; or that it takes none now, or ever. */
static inline Py_ssize_t wscore_send(int fd, const void *data, Py_ssize_t size) {
    WSCORE_RESULT(send(fd, data, (size_t)size, MSG_NOSIGNAL | MSG_DONTWAIT));
}

/* How many bytes there were, 0 at the end; or that there are none now, or never will be. */
static inline Py_ssize_t wscore_receive(int fd, void *room, Py_ssize_t size) {
    WSCORE_RESULT(recv(fd, room, (size_t)size, MSG_DONTWAIT));
}

/* Where what is received lies until it is copied; of each thread. */
static __thread unsigned char wscore_room[65536];

#else /* these sockets are for Linux; elsewhere nobody makes any */

static inline Py_ssize_t wscore_send(int fd, const void *data, Py_ssize_t size) {
    return (void)fd, (void)data, (void)size, WSCORE_BROKEN;
}

static inline Py_ssize_t wscore_receive(int fd, void *room, Py_ssize_t size) {
    return (void)fd, (void)room, (void)size, WSCORE_BROKEN;
}

static unsigned char wscore_room[65536];

#endif

#endif
