// Fetch requests and the heads of their answers.
#include "BenchDriver.h"

#include <string.h>

size_t fetch_request(unsigned char *frame, const char *topic, int partition, uint32_t correlation, uint64_t offset,
                     int wait_ms_max, int bytes_max) {
    unsigned char *at = frame + 4;
    put16(at, 1);
    put16(at + 2, 11);
    put32(at + 4, correlation);
    at = put_string(at + 8, program_name);
    put32(at, UINT32_MAX);  // no replica
    put32(at + 4, (uint32_t)wait_ms_max);
    put32(at + 8, 1);
    put32(at + 12, 50 << 20);
    at[16] = 0;
    put32(at + 17, 0);
    put32(at + 21, UINT32_MAX);  // no session
    put32(at + 25, 1);
    at = put_string(at + 29, topic);
    put32(at, 1);
    put32(at + 4, (uint32_t)partition);
    put32(at + 8, UINT32_MAX);
    put64(at + 12, offset);
    put64(at + 20, UINT64_MAX);
    put32(at + 28, (uint32_t)bytes_max);
    put32(at + 32, 0);
    put16(at + 36, 0);  // no rack
    at += 38;
    put32(frame, (uint32_t)(at - frame - 4));
    return (size_t)(at - frame);
}

// Length, correlation id, throttle time, error, session, one topic of this name, one partition; its index, error, three
// offsets, no aborted transactions, preferred replica, the records' length.
size_t fetch_head_size(const char *topic) {
    return 4 + 4 + 4 + 2 + 4 + 4 + 2 + strlen(topic) + 4 + 4 + 2 + 24 + 4 + 4 + 4;
}

size_t fetched_size(const unsigned char *head, size_t head_size, uint32_t correlation) {
    if (get32(head) != correlation) fail("answer %u came for fetch %u", get32(head), correlation);
    if (get16(head + 8) != 0) fail("a fetch failed with error %d", (int16_t)get16(head + 8));
    const unsigned char *partition = head + 18 + 2 + get16(head + 18) + 4;
    if (get32(head + 14) != 1 || partition + 42 > head + head_size) fail("a fetch's answer that cannot be read");
    if (get16(partition + 4) != 0) fail("a fetch failed with error %d", (int16_t)get16(partition + 4));
    int32_t aborted = (int32_t)get32(partition + 30);
    if (aborted > 0) fail("aborted transactions where there are none");
    return get32(partition + 38);
}
