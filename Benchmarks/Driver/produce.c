// Produce requests and their answers.
#define _GNU_SOURCE
#include "BenchDriver.h"
#include "CChecksum.h"

#include <string.h>
#include <time.h>

enum { POOL_BYTES = 1 << 20, VALUE_BYTES_MAX = 64 << 10 };

static unsigned char *put_varint(unsigned char *at, int64_t value) {
    uint64_t raw = ((uint64_t)value << 1) ^ (uint64_t)(value >> 63);
    while (raw >= 0x80) {
        *at++ = (unsigned char)(raw | 0x80);
        raw >>= 7;
    }
    *at++ = (unsigned char)raw;
    return at;
}

static size_t varint_size(int64_t value) {
    unsigned char bytes[10];
    return (size_t)(put_varint(bytes, value) - bytes);
}

/// Bytes that do not compress, drawn once: drawing them for each request would cost more than sending it.
static const unsigned char *random_bytes(size_t size) {
    static unsigned char pool[POOL_BYTES];
    static size_t next = POOL_BYTES;
    static uint64_t random = 7;
    if (random == 7) {
        for (int i = 0; i < POOL_BYTES; i++) {
            random = random * 6364136223846793005u + 1442695040888963407u;
            pool[i] = (unsigned char)(random >> 56);
        }
    }
    if (next + size > POOL_BYTES) next = 0;
    next += size;
    return pool + next - size;
}

static unsigned char *put_record(unsigned char *at, int delta, size_t value_bytes) {
    size_t body = 1 + 1 + varint_size(delta) + 1 + varint_size((int64_t)value_bytes) + value_bytes + 1;
    at = put_varint(at, (int64_t)body);
    *at++ = 0;
    at = put_varint(at, 0);
    at = put_varint(at, delta);
    at = put_varint(at, -1);
    at = put_varint(at, (int64_t)value_bytes);
    memcpy(at, random_bytes(value_bytes), value_bytes);
    return put_varint(at + value_bytes, 0);
}

static unsigned char *put_batch(unsigned char *batch, size_t value_bytes, int count) {
    unsigned char *end = batch + BATCH_HEADER_BYTES;
    for (int i = 0; i < count; i++) end = put_record(end, i, value_bytes);
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
    return end;
}

size_t produce_capacity(const char *topic, size_t value_bytes, int record_count) {
    return 256 + strlen(topic) + (size_t)record_count * (value_bytes + 24);
}

size_t produce_batches(unsigned char *frame, const Batches *batches, uint32_t correlation, size_t *batch_size) {
    if (batches->value_bytes > VALUE_BYTES_MAX) fail("values of %zu bytes", batches->value_bytes);
    unsigned char *at = frame + 4;
    put16(at, 0);
    put16(at + 2, 7);
    put32(at + 4, correlation);
    at = put_string(at + 8, program_name);
    put16(at, UINT16_MAX);
    put16(at + 2, (uint16_t)batches->acks);
    put32(at + 4, 30000);
    put32(at + 8, 1);
    at = put_string(at + 12, batches->topic);
    put32(at, (uint32_t)batches->partition_count);
    at += 4;
    for (int i = 0; i < batches->partition_count; i++) {
        put32(at, (uint32_t)batches->partitions[i]);
        unsigned char *end = put_batch(at + 8, batches->value_bytes, batches->record_count);
        *batch_size = (size_t)(end - at - 8);
        put32(at + 4, (uint32_t)*batch_size);
        at = end;
    }
    put32(frame, (uint32_t)(at - frame - 4));
    return (size_t)(at - frame);
}

size_t produce_request(unsigned char *frame, const char *topic, int partition, int acks, uint32_t correlation,
                       size_t value_bytes, int record_count, size_t *batch_size) {
    Batches one = {.topic = topic, .partitions = &partition, .partition_count = 1, .acks = acks,
                   .value_bytes = value_bytes, .record_count = record_count};
    return produce_batches(frame, &one, correlation, batch_size);
}

void set_correlation(unsigned char *frame, uint32_t correlation) { put32(frame + 8, correlation); }

void produced_offsets(const unsigned char *answer, size_t size, uint32_t correlation, const int *partitions, int count,
                      uint64_t *offsets) {
    enum { PARTITION_BYTES = 30 };
    if (size < 40) fail("an answer of %zu bytes to Produce", size);
    const unsigned char *at = answer + 8 + 2 + get16(answer + 8) + 4;
    if (at + count * PARTITION_BYTES > answer + size) fail("an answer that cannot be read");
    if (get32(answer) != correlation) fail("answer %u came for request %u", get32(answer), correlation);
    for (int i = 0; i < count; i++, at += PARTITION_BYTES) {
        int error = (int16_t)get16(at + 4);
        if ((int)get32(at) != partitions[i]) fail("an answer about partition %u", get32(at));
        if (error != 0) fail("a batch for partition %d was refused with error %d", partitions[i], error);
        offsets[i] = get64(at + 6);
    }
}

uint64_t produced_offset(const unsigned char *answer, size_t size, uint32_t correlation) {
    if (size < 40) fail("an answer of %zu bytes to Produce", size);
    size_t name = 2 + (size_t)get16(answer + 8);
    if (8 + name + 8 > size) fail("an answer that cannot be read");
    int partition = (int)get32(answer + 8 + name + 4);
    uint64_t offset;
    produced_offsets(answer, size, correlation, &partition, 1, &offset);
    return offset;
}
