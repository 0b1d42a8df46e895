// The load on one partition of one node: a request encoded once, and sent again and again.
//
// Requests of which several are due leave in one write while they are small, and all answers that are there are taken
// with one read: else the driver's calls would be the measure where requests are small.
#define _GNU_SOURCE
#include "bench.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { GATHERED_BYTES_MAX = 64 << 10 };

typedef struct {
    const Server *server;
    const Amount *amount;
    int connection;
    Inbox answers;
    unsigned char *copies;  // of the frame, so that several leave together
    uint32_t copy_count;
    uint32_t sent, answered;
    double sent_at[IN_FLIGHT_MAX];
    Samples samples;
} Drive;

Frame make_frame(const char *topic, size_t value_bytes, int record_count) {
    Frame made = {.record_count = record_count};
    made.bytes = malloc(produce_capacity(topic, value_bytes, made.record_count));
    if (made.bytes == NULL) fail("no memory");
    made.size = produce_request(made.bytes, topic, 0, 1, 0, value_bytes, made.record_count, &made.batch_size);
    return made;
}

static void send_some(Drive *drive, uint32_t count) {
    size_t size = drive->amount->frame->size;
    while (count > 0) {
        uint32_t together = count < drive->copy_count ? count : drive->copy_count;
        double now = seconds_now();
        for (uint32_t i = 0; i < together; i++) {
            set_correlation(drive->copies + i * size, drive->sent);
            drive->sent_at[drive->sent++ % IN_FLIGHT_MAX] = now;
        }
        send_all(drive->connection, drive->copies, together * size);
        count -= together;
    }
}

/// Waits for answers and checks each: no error, and the offset that follows on.
static void take_answers(Drive *drive) {
    struct pollfd ready = {.fd = drive->connection, .events = POLLIN};
    if (poll(&ready, 1, -1) < 0 && errno != EINTR) fail("poll: %s", strerror(errno));
    inbox_fill(&drive->answers, drive->connection);
    double now = seconds_now();
    size_t size;
    for (const unsigned char *answer; (answer = inbox_frame(&drive->answers, &size)) != NULL; drive->answered++) {
        uint64_t base = (uint64_t)drive->amount->frame->record_count * drive->answered;
        uint64_t got = produced_offset(answer, size, drive->answered);
        if (got != base) fail("offset %llu came, not %llu", (unsigned long long)got, (unsigned long long)base);
        add_sample(&drive->samples, (now - drive->sent_at[drive->answered % IN_FLIGHT_MAX]) * 1e6);
    }
}

/// Until so many requests were sent, or until that time.
static void send_until(Drive *drive, uint32_t last, double end) {
    uint32_t window = (uint32_t)drive->amount->in_flight;
    for (;;) {
        int is_over = end > 0 && seconds_now() >= end;
        uint32_t left = is_over ? 0 : last - drive->sent, room = window - (drive->sent - drive->answered);
        send_some(drive, left < room ? left : room);
        if (drive->answered == drive->sent) return;
        take_answers(drive);
    }
}

static Drive begin(const Server *server, const Amount *amount) {
    Drive drive = {.server = server, .amount = amount, .connection = connect_to(server->port)};
    size_t size = amount->frame->size;
    drive.copy_count = size >= GATHERED_BYTES_MAX ? 1 : (uint32_t)(GATHERED_BYTES_MAX / size);
    if (drive.copy_count > (uint32_t)amount->in_flight) drive.copy_count = (uint32_t)amount->in_flight;
    drive.copies = malloc(size * drive.copy_count);
    if (drive.connection < 0) fail("%s cannot be reached", server->name);
    if (drive.copies == NULL || amount->in_flight > IN_FLIGHT_MAX) fail("no room");
    for (uint32_t i = 0; i < drive.copy_count; i++) memcpy(drive.copies + i * size, amount->frame->bytes, size);
    return drive;
}

Run drive(const Server *server, const Amount *amount) {
    Drive drive = begin(server, amount);
    // One request ahead: the server's file and connection are ready when time begins.
    send_until(&drive, 1, 0);
    drive.samples.count = 0;
    double cpu = cpu_seconds(server);
    double began = seconds_now();
    send_until(&drive, amount->requests > 0 ? amount->requests + 1 : UINT32_MAX,
               amount->requests > 0 ? 0 : began + amount->seconds);
    double seconds = seconds_now() - began;
    // What the last requests left to background threads counts too.
    usleep(200000);
    cpu = cpu_seconds(server) - cpu;
    close(drive.connection);
    double requests = drive.answered - 1, bytes = requests * (double)amount->frame->batch_size;
    Run run = {
        .megabytes_per_second = bytes / 1e6 / seconds,
        .cpu_seconds_per_gigabyte = cpu / (bytes / 1e9),
        .requests_per_second = requests / seconds,
        .requests_per_cpu_second = requests / cpu,
        .p50_us = percentile(&drive.samples, 0.5),
        .p99_us = percentile(&drive.samples, 0.99),
    };
    free(drive.copies);
    free(drive.answers.bytes);
    free(drive.samples.values);
    return run;
}
