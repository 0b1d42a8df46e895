// The least that any broker must do with a produced batch: receive it, check its CRC, append it, answer.
#define _GNU_SOURCE
#include "BenchDriver.h"
#include "CChecksum.h"
#include "bench.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { BUFFER_BYTES = 4 << 20 };

typedef struct {
    int file;
    off_t end;
    uint64_t next_offsets[PARTITIONS_MAX];
} Log;

/// Checks a batch and appends it; answers its base offset.
static uint64_t append(Log *log, uint32_t partition, unsigned char *batch, size_t batch_size) {
    if (partition >= PARTITIONS_MAX) fail("the yardstick has no partition %u", partition);
    if (martlet_crc32c(0, batch + 21, batch_size - 21) != get32(batch + 17)) fail("wrong CRC");
    uint64_t base = log->next_offsets[partition];
    put64(batch, base);
    put32(batch + 12, 0);
    log->next_offsets[partition] += get32(batch + 57);
    for (size_t done = 0; done < batch_size;) {
        ssize_t written = pwrite(log->file, batch + done, batch_size - done, log->end);
        if (written < 0 && errno == EINTR) continue;
        if (written <= 0) fail("the yardstick cannot write: %s", strerror(errno));
        done += (size_t)written;
        log->end += written;
    }
    return base;
}

/// Appends the batches of one request frame (without its length prefix) and answers it. Returns nothing: a frame that
/// is not the driver's ends the bench.
static void serve_frame(int connection, Log *log, unsigned char *frame, size_t size) {
    static unsigned char answer[512 + 30 * PARTITIONS_MAX];
    unsigned char *at = frame + 8;
    at += 2 + get16(at);         // client id
    at += 2 + 2 + 4 + 4;         // no transactional id, acks, timeout, one topic
    size_t name_size = 2 + (size_t)get16(at);
    uint32_t count = get32(at + name_size);
    if (name_size > 256 || count > PARTITIONS_MAX) fail("the yardstick cannot read a frame");
    unsigned char *to = answer + 4;
    memcpy(to, frame + 4, 4);    // correlation id
    put32(to + 4, 1);
    memcpy(to + 8, at, name_size);
    put32(to + 8 + name_size, count);
    to += 12 + name_size;
    at += name_size + 4;
    for (uint32_t i = 0; i < count; i++, to += 30) {
        size_t batch_size = get32(at + 4);
        if (at + 8 + batch_size > frame + size) fail("the yardstick cannot read a frame");
        put32(to, get32(at));
        put16(to + 4, 0);
        put64(to + 6, append(log, get32(at), at + 8, batch_size));
        put64(to + 14, UINT64_MAX);  // no log append time
        put64(to + 22, 0);
        at += 8 + batch_size;
    }
    if (at != frame + size) fail("the yardstick cannot read a frame");
    put32(to, 0);
    put32(answer, (uint32_t)(to - answer));
    send_all(connection, answer, (size_t)(to + 4 - answer));
}

static void serve_connection(int connection, Log *log, unsigned char *buffer) {
    size_t start = 0;
    size_t end = 0;
    for (;;) {
        while (end - start >= 4) {
            size_t size = get32(buffer + start);
            if (size + 4 > BUFFER_BYTES) fail("a frame of %zu bytes is too large for the yardstick", size);
            if (end - start < size + 4) break;
            serve_frame(connection, log, buffer + start + 4, size);
            start += size + 4;
        }
        if (start == end) {
            start = end = 0;
        } else if (start > BUFFER_BYTES / 2 || (start > 0 && end == BUFFER_BYTES)) {
            memmove(buffer, buffer + start, end - start);
            end -= start;
            start = 0;
        }
        ssize_t got = recv(connection, buffer + end, BUFFER_BYTES - end, 0);
        if (got < 0 && errno == EINTR) continue;
        if (got <= 0) return;
        end += (size_t)got;
    }
}

/// Serves one connection after the other, for ever.
_Noreturn static void serve(int listener, const char *path) {
    unsigned char *buffer = malloc(BUFFER_BYTES);
    static Log log;
    log = (Log){.file = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0644)};
    if (log.file < 0 || buffer == NULL) fail("the yardstick cannot open %s: %s", path, strerror(errno));
    for (;;) {
        int connection = accept_from(listener);
        if (connection < 0) continue;
        serve_connection(connection, &log, buffer);
        close(connection);
        if (ftruncate(log.file, 0) != 0) fail("the yardstick cannot truncate: %s", strerror(errno));
        log.end = 0;
        memset(log.next_offsets, 0, sizeof log.next_offsets);
    }
}

Server start_yardstick(const char *folder) {
    Server server = {.name = "the yardstick", .port = free_port()};
    int listener = listen_on(server.port);
    if (listener < 0) fail("port %d was taken", server.port);
    server.pid = fork_server();
    if (server.pid == 0) {
        char path[4200];
        snprintf(path, sizeof path, "%s/yardstick.log", folder);
        serve(listener, path);
    }
    close(listener);
    return server;
}
