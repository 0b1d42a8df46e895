// The least that any broker must do to serve records from files: a head, and sendfile.
#define _GNU_SOURCE
#include "read.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

typedef struct {
    const Segment *segments;
    int segment_count;
    const Batch *batch;
    const char *topic;
    uint32_t answers[READERS_MAX];
} Sender;

/// As a node's answer, with no more in it than the readers look at.
static size_t put_head(const Sender *sender, unsigned char *head, uint32_t correlation, uint32_t bytes) {
    size_t size = fetch_head_size(sender->topic);
    memset(head, 0, size);
    put32(head, (uint32_t)size - 4 + bytes);
    put32(head + 4, correlation);
    put32(head + 18, 1);
    put32(put_string(head + 22, sender->topic), 1);
    put32(head + size - 4, bytes);
    return size;
}

static void send_range(Sender *sender, const Range *range, int connection) {
    unsigned char head[512];
    int index = sender->segment_count - 1;
    while (index > 0 && sender->segments[index].base_offset > range->offset) index--;
    const Segment *segment = &sender->segments[index];
    uint64_t batches = (range->offset - segment->base_offset) / (uint64_t)sender->batch->record_count;
    off_t position = (off_t)(batches * sender->batch->batch_size);
    size_t left = range->bytes;
    size_t size = put_head(sender, head, ++sender->answers[range->reader], range->bytes);
    if (send(connection, head, size, MSG_NOSIGNAL | MSG_MORE) != (ssize_t)size) fail("send: %s", strerror(errno));
    while (left > 0) {
        ssize_t sent = sendfile(connection, segment->file, &position, left);
        if (sent < 0 && errno == EINTR) continue;
        if (sent <= 0) fail("sendfile: %s", sent == 0 ? "the file is too short" : strerror(errno));
        left -= (size_t)sent;
    }
}

static void wait_until(double when) {
    double wait = when - seconds_now();
    if (wait <= 0) return;
    struct timespec time = {(time_t)wait, (long)((wait - (double)(time_t)wait) * 1e9)};
    nanosleep(&time, NULL);
}

Server start_sendfile(const Segment *segments, int segment_count, const Ranges *ranges, const Batch *batch,
                      const char *topic, int connections, int is_paced) {
    Server server = {.name = "the sendfile loop", .port = free_port()};
    int listener = listen_on(server.port);
    if (listener < 0) fail("port %d was taken", server.port);
    server.pid = fork_server();
    if (server.pid != 0) {
        close(listener);
        return server;
    }
    Sender sender = {.segments = segments, .segment_count = segment_count, .batch = batch, .topic = topic};
    int sockets[READERS_MAX];
    prctl(PR_SET_TIMERSLACK, 1);
    for (int i = 0; i < connections; i++) {
        sockets[i] = accept_from(listener);
        if (sockets[i] < 0) fail("accept: %s", strerror(errno));
    }
    double began = seconds_now();
    for (size_t i = 0; i < ranges->count; i++) {
        const Range *range = &ranges->items[i];
        if (is_paced) wait_until(began + range->at_seconds);
        send_range(&sender, range, sockets[range->reader]);
    }
    // Its clock is read while it lives.
    for (;;) pause();
}
