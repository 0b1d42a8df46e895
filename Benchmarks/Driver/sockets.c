// Sockets on loopback, frames that come in over them, and the clock.
#define _GNU_SOURCE
#include "BenchDriver.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

void send_all(int descriptor, const unsigned char *bytes, size_t size) {
    while (size > 0) {
        ssize_t sent = send(descriptor, bytes, size, MSG_NOSIGNAL);
        if (sent < 0 && errno == EINTR) continue;
        if (sent <= 0) fail("the connection broke while sending: %s", strerror(errno));
        bytes += sent;
        size -= (size_t)sent;
    }
}

int receive_all(int descriptor, unsigned char *bytes, size_t size) {
    size_t got = 0;
    while (got < size) {
        ssize_t part = recv(descriptor, bytes + got, size - got, 0);
        if (part < 0 && errno == EINTR) continue;
        if (part == 0 && got == 0) return 0;
        if (part <= 0) fail("the connection broke while receiving");
        got += (size_t)part;
    }
    return 1;
}

static struct sockaddr_in loopback(int port) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    return address;
}

int connect_to(int port) {
    struct sockaddr_in address = loopback(port);
    int one = 1;
    int descriptor = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (descriptor < 0) fail("no socket: %s", strerror(errno));
    if (connect(descriptor, (struct sockaddr *)&address, sizeof address) != 0) {
        close(descriptor);
        return -1;
    }
    setsockopt(descriptor, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    return descriptor;
}

int listen_on(int port) {
    struct sockaddr_in address = loopback(port);
    int one = 1;
    int descriptor = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (descriptor < 0) fail("no socket: %s", strerror(errno));
    setsockopt(descriptor, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (bind(descriptor, (struct sockaddr *)&address, sizeof address) == 0 && listen(descriptor, 16) == 0) {
        return descriptor;
    }
    close(descriptor);
    return -1;
}

int accept_from(int listener) {
    int one = 1;
    int descriptor = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
    if (descriptor >= 0) setsockopt(descriptor, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    return descriptor;
}

int free_port(void) {
    static unsigned seed;
    if (seed == 0) seed = (unsigned)getpid() ^ (unsigned)time(NULL);
    for (int attempt = 0; attempt < 1000; attempt++) {
        int port = 20000 + (int)(rand_r(&seed) % 12000);
        int descriptor = listen_on(port);
        if (descriptor < 0) continue;
        close(descriptor);
        return port;
    }
    fail("no free port between 20000 and 32000");
}

double seconds_now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

void inbox_fill(Inbox *inbox, int descriptor) {
    if (inbox->start == inbox->end) inbox->start = inbox->end = 0;
    if (inbox->capacity - inbox->end < 65536) {
        memmove(inbox->bytes, inbox->bytes + inbox->start, inbox->end - inbox->start);
        inbox->end -= inbox->start;
        inbox->start = 0;
        if (inbox->capacity - inbox->end < 65536) {
            inbox->capacity = inbox->capacity * 2 + 65536;
            inbox->bytes = realloc(inbox->bytes, inbox->capacity);
            if (inbox->bytes == NULL) fail("no memory");
        }
    }
    ssize_t got = recv(descriptor, inbox->bytes + inbox->end, inbox->capacity - inbox->end, MSG_DONTWAIT);
    if (got < 0 && (errno == EAGAIN || errno == EINTR)) return;
    if (got <= 0) fail("a node closed the connection");
    inbox->end += (size_t)got;
}

unsigned char *inbox_frame(Inbox *inbox, size_t *size) {
    if (inbox->end - inbox->start < 4) return NULL;
    *size = get32(inbox->bytes + inbox->start);
    if (inbox->end - inbox->start < 4 + *size) return NULL;
    unsigned char *frame = inbox->bytes + inbox->start + 4;
    inbox->start += 4 + *size;
    return frame;
}
