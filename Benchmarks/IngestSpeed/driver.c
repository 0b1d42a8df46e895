// The load: a request encoded once, and sent again and again.
#define _GNU_SOURCE
#include "CChecksum.h"
#include "bench.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { VALUE_BYTES = 1024, HEADER_BYTES = 61 };

static unsigned char *put_varint(unsigned char *at, int64_t value) {
    uint64_t raw = ((uint64_t)value << 1) ^ (uint64_t)(value >> 63);
    while (raw >= 0x80) {
        *at++ = (unsigned char)(raw | 0x80);
        raw >>= 7;
    }
    *at++ = (unsigned char)raw;
    return at;
}

/// A record without key or headers, whose value does not compress.
static unsigned char *put_record(unsigned char *at, int delta, uint64_t *random) {
    unsigned char body[VALUE_BYTES + 32];
    unsigned char *end = body;
    *end++ = 0;
    end = put_varint(end, 0);
    end = put_varint(end, delta);
    end = put_varint(end, -1);
    end = put_varint(end, VALUE_BYTES);
    for (int i = 0; i < VALUE_BYTES; i++) {
        *random = *random * 6364136223846793005u + 1442695040888963407u;
        *end++ = (unsigned char)(*random >> 56);
    }
    end = put_varint(end, 0);
    at = put_varint(at, end - body);
    memcpy(at, body, (size_t)(end - body));
    return at + (end - body);
}

static unsigned char *put_batch(unsigned char *batch, size_t size_max, int *record_count) {
    unsigned char *end = batch + HEADER_BYTES;
    uint64_t random = 7;
    int count = 0;
    while (end + VALUE_BYTES + 16 <= batch + size_max) end = put_record(end, count++, &random);
    uint64_t now_ms = (uint64_t)time(NULL) * 1000;
    put64(batch, 0);
    put32(batch + 8, (uint32_t)(end - batch - 12));
    put32(batch + 12, UINT32_MAX);
    batch[16] = 2;
    put16(batch + 21, 0);
    put32(batch + 23, (uint32_t)(count - 1));
    put64(batch + 27, now_ms);
    put64(batch + 35, now_ms);
    put64(batch + 43, UINT64_MAX);
    put16(batch + 51, UINT16_MAX);
    put32(batch + 53, UINT32_MAX);
    put32(batch + 57, (uint32_t)count);
    put32(batch + 17, martlet_crc32c(0, batch + 21, (size_t)(end - batch - 21)));
    *record_count = count;
    return end;
}

Frame make_frame(const char *topic, size_t batch_size_max) {
    static const char client[] = "ingest-speed";
    unsigned char *frame = malloc(batch_size_max + 256);
    if (frame == NULL) fail("no memory");
    unsigned char *at = frame + 4;
    put16(at, 0);
    put16(at + 2, 7);
    put32(at + 4, 0);
    put16(at + 8, sizeof client - 1);
    memcpy(at + 10, client, sizeof client - 1);
    at += 10 + sizeof client - 1;
    put16(at, UINT16_MAX);
    put16(at + 2, 1);
    put32(at + 4, 30000);
    put32(at + 8, 1);
    put16(at + 12, (uint16_t)strlen(topic));
    memcpy(at + 14, topic, strlen(topic));
    at += 14 + strlen(topic);
    put32(at, 1);
    put32(at + 4, 0);
    Frame made = {.bytes = frame};
    unsigned char *end = put_batch(at + 12, batch_size_max, &made.record_count);
    made.batch_size = (size_t)(end - at - 12);
    put32(at + 8, (uint32_t)made.batch_size);
    made.size = (size_t)(end - frame);
    put32(frame, (uint32_t)(made.size - 4));
    return made;
}

/// Checks the answer to the request of this number: no error, and the offset that follows on.
static void take_answer(int connection, uint32_t number, uint64_t base) {
    unsigned char answer[512];
    receive_all(connection, answer, 4);
    size_t size = get32(answer);
    if (size < 40 || size > sizeof answer) fail("an answer of %zu bytes", size);
    receive_all(connection, answer, size);
    unsigned char *partition = answer + 8 + 2 + get16(answer + 8) + 4;
    if (partition + 14 > answer + size) fail("an answer that cannot be read");
    if (get32(answer) != number) fail("answer %u came for request %u", get32(answer), number);
    if (get16(partition + 4) != 0) fail("a batch was refused with error %d", (int16_t)get16(partition + 4));
    uint64_t got = (uint64_t)get32(partition + 6) << 32 | get32(partition + 10);
    if (got != base) fail("offset %llu came, not %llu", (unsigned long long)got, (unsigned long long)base);
}

static int rising(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

Run drive(const Server *server, Frame *frame, int megabytes) {
    uint32_t count = (uint32_t)((double)megabytes * 1e6 / (double)frame->batch_size) + 1;
    double *sent_at = calloc(count, sizeof *sent_at);
    int connection = connect_to(server->port);
    if (connection < 0 || sent_at == NULL) fail("%s cannot be reached", server->name);
    // One request ahead: the server's file and connection are ready when time begins.
    uint64_t records = (uint64_t)frame->record_count;
    put32(frame->bytes + 8, 0);
    send_all(connection, frame->bytes, frame->size);
    take_answer(connection, 0, 0);
    double cpu = cpu_seconds(server);
    double began = seconds_now();
    uint32_t sent = 0;
    for (uint32_t answered = 0; answered < count; answered++) {
        while (sent < count && sent - answered < IN_FLIGHT) {
            put32(frame->bytes + 8, sent + 1);
            sent_at[sent++] = seconds_now();
            send_all(connection, frame->bytes, frame->size);
        }
        take_answer(connection, answered + 1, records * (answered + 1));
        sent_at[answered] = seconds_now() - sent_at[answered];
    }
    double seconds = seconds_now() - began;
    // What the last requests left to background threads counts too.
    usleep(200000);
    cpu = cpu_seconds(server) - cpu;
    close(connection);
    qsort(sent_at, count, sizeof *sent_at, rising);
    double bytes = (double)count * (double)frame->batch_size;
    Run run = {
        .megabytes_per_second = bytes / 1e6 / seconds,
        .cpu_seconds_per_gigabyte = cpu / (bytes / 1e9),
        .p50_us = sent_at[count / 2] * 1e6,
        .p99_us = sent_at[(uint32_t)((double)count * 0.99)] * 1e6,
    };
    free(sent_at);
    return run;
}
