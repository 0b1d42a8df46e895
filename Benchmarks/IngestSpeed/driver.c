// The load: a request encoded once, and sent again and again.
#define _GNU_SOURCE
#include "bench.h"

#include <stdlib.h>
#include <unistd.h>

enum { VALUE_BYTES = 1024, RECORD_BYTES_MAX = VALUE_BYTES + 12 };

Frame make_frame(const char *topic, size_t batch_size_max) {
    Frame made = {.record_count = (int)((batch_size_max - BATCH_HEADER_BYTES) / RECORD_BYTES_MAX)};
    made.bytes = malloc(produce_capacity(topic, VALUE_BYTES, made.record_count));
    if (made.bytes == NULL) fail("no memory");
    made.size = produce_request(made.bytes, topic, 0, 1, 0, VALUE_BYTES, made.record_count, &made.batch_size);
    return made;
}

/// Checks the answer to the request of this number: no error, and the offset that follows on.
static void take_answer(int connection, uint32_t number, uint64_t base) {
    unsigned char answer[512];
    if (!receive_all(connection, answer, 4)) fail("the connection was closed");
    size_t size = get32(answer);
    if (size > sizeof answer) fail("an answer of %zu bytes", size);
    receive_all(connection, answer, size);
    uint64_t got = produced_offset(answer, size, number);
    if (got != base) fail("offset %llu came, not %llu", (unsigned long long)got, (unsigned long long)base);
}

Run drive(const Server *server, Frame *frame, int megabytes) {
    uint32_t count = (uint32_t)((double)megabytes * 1e6 / (double)frame->batch_size) + 1;
    double *sent_at = calloc(count, sizeof *sent_at);
    Samples samples = {0};
    int connection = connect_to(server->port);
    if (connection < 0 || sent_at == NULL) fail("%s cannot be reached", server->name);
    // One request ahead: the server's file and connection are ready when time begins.
    uint64_t records = (uint64_t)frame->record_count;
    set_correlation(frame->bytes, 0);
    send_all(connection, frame->bytes, frame->size);
    take_answer(connection, 0, 0);
    double cpu = cpu_seconds(server);
    double began = seconds_now();
    uint32_t sent = 0;
    for (uint32_t answered = 0; answered < count; answered++) {
        while (sent < count && sent - answered < IN_FLIGHT) {
            set_correlation(frame->bytes, sent + 1);
            sent_at[sent++] = seconds_now();
            send_all(connection, frame->bytes, frame->size);
        }
        take_answer(connection, answered + 1, records * (answered + 1));
        add_sample(&samples, (seconds_now() - sent_at[answered]) * 1e6);
    }
    double seconds = seconds_now() - began;
    // What the last requests left to background threads counts too.
    usleep(200000);
    cpu = cpu_seconds(server) - cpu;
    close(connection);
    double bytes = (double)count * (double)frame->batch_size;
    Run run = {
        .megabytes_per_second = bytes / 1e6 / seconds,
        .cpu_seconds_per_gigabyte = cpu / (bytes / 1e9),
        .p50_us = percentile(&samples, 0.5),
        .p99_us = percentile(&samples, 0.99),
    };
    free(sent_at);
    free(samples.values);
    return run;
}
