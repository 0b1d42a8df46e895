// Bytes, sockets and clocks.
#define _GNU_SOURCE
#include "bench.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

void fail(const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    fputs("ingest-speed: ", stderr);
    vfprintf(stderr, format, arguments);
    fputc('\n', stderr);
    va_end(arguments);
    exit(1);
}

static void put(unsigned char *at, uint64_t value, int size) {
    for (int i = size - 1; i >= 0; i--, value >>= 8) at[i] = (unsigned char)value;
}

void put16(unsigned char *at, uint16_t value) { put(at, value, 2); }
void put32(unsigned char *at, uint32_t value) { put(at, value, 4); }
void put64(unsigned char *at, uint64_t value) { put(at, value, 8); }
uint16_t get16(const unsigned char *at) { return (uint16_t)(at[0] << 8 | at[1]); }
uint32_t get32(const unsigned char *at) { return (uint32_t)get16(at) << 16 | get16(at + 2); }

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
