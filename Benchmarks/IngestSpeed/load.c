// A load on many partitions at once, as a producer makes it whose batches are always full: one connection to each
// leader, five requests in flight on it, and a request carries one batch for each partition led there, up to 1 MiB (the
// Java client's max.request.size); where that is not all of them, the next request goes on with the next partitions.
// Requests are encoded once and sent in turns.
#define _GNU_SOURCE
#include "bench.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { REQUEST_BYTES_MAX = 1 << 20, VALUE_BYTES = 1024, RECORD_BYTES_MAX = VALUE_BYTES + 12, PATIENCE_SECONDS = 30 };

/// Partitions with the same leader, and a frame with a batch for each.
typedef struct {
    int *partitions;
    int partition_count;
    unsigned char *frame;
    size_t frame_size, batch_bytes;
} Request;

typedef struct {
    int port, descriptor;
    Inbox answers;
    Request *requests;
    int request_count;
    uint32_t sent, answered;  // requests, counted on and on; the one of number n is requests[n % request_count]
    size_t left;              // bytes of the last request that the socket has not taken
    double sent_at[IN_FLIGHT];
    double heard;             // when it had nothing to wait for, or an answer came
} Lane;

typedef struct {
    const Load *load;
    Lane lanes[NODES_MAX];
    int lane_count, record_count;
    uint64_t next_offsets[PARTITIONS_MAX];
    double began, bytes_sent;
    Samples latencies_us;
    Loaded loaded;
} Press;

static Request make_request(const Press *press, const int *partitions, int count) {
    const Load *load = press->load;
    Request request = {.partitions = calloc((size_t)count, sizeof *partitions), .partition_count = count};
    request.frame = malloc(produce_capacity(load->topic, VALUE_BYTES, press->record_count) * (size_t)count);
    if (request.partitions == NULL || request.frame == NULL) fail("no memory");
    memcpy(request.partitions, partitions, (size_t)count * sizeof *partitions);
    Batches batches = {.topic = load->topic, .partitions = request.partitions, .partition_count = count,
                       .acks = load->acks, .record_count = press->record_count, .value_bytes = VALUE_BYTES};
    size_t batch_size;
    request.frame_size = produce_batches(request.frame, &batches, 0, &batch_size);
    request.batch_bytes = batch_size * (size_t)count;
    return request;
}

static Lane *lane_to(Press *press, int port) {
    for (int i = 0; i < press->lane_count; i++) {
        if (press->lanes[i].port == port || press->load->is_one_connection) return &press->lanes[i];
    }
    if (press->lane_count == NODES_MAX) fail("more than %d leaders", NODES_MAX);
    Lane *lane = &press->lanes[press->lane_count++];
    *lane = (Lane){.port = port, .descriptor = connect_to(port), .heard = seconds_now()};
    lane->requests = calloc(PARTITIONS_MAX, sizeof *lane->requests);
    if (lane->descriptor < 0) fail("the leader at port %d cannot be reached", port);
    if (lane->requests == NULL) fail("no memory");
    return lane;
}

/// The partitions that this one leads off with: those of the same leader from here on, as many as a request takes.
/// Marks them as taken.
static int take_partitions(const Load *load, int first, char *is_taken, int *partitions) {
    int count = 0, most = (int)(REQUEST_BYTES_MAX / load->batch_size_max);
    for (int i = first; i < load->partitions && (count == 0 || count < most); i++) {
        if (is_taken[i] || load->ports[i] != load->ports[first]) continue;
        is_taken[i] = 1;
        partitions[count++] = i;
    }
    return count;
}

static void make_lanes(Press *press) {
    char is_taken[PARTITIONS_MAX] = {0};
    int partitions[PARTITIONS_MAX];
    for (int i = 0; i < press->load->partitions; i++) {
        if (is_taken[i]) continue;
        int count = take_partitions(press->load, i, is_taken, partitions);
        Lane *lane = lane_to(press, press->load->ports[i]);
        lane->requests[lane->request_count++] = make_request(press, partitions, count);
    }
}

static void end_lanes(Press *press) {
    for (int i = 0; i < press->lane_count; i++) {
        Lane *lane = &press->lanes[i];
        for (int j = 0; j < lane->request_count; j++) {
            free(lane->requests[j].partitions);
            free(lane->requests[j].frame);
        }
        close(lane->descriptor);
        free(lane->requests);
        free(lane->answers.bytes);
    }
    free(press->latencies_us.values);
}

/// The bytes that may have been sent until now.
static double allowance(const Press *press, double now) {
    const Load *load = press->load;
    if (load->megabytes > 0) return load->megabytes * 1e6;
    if (now >= press->began + load->seconds) return 0;
    return load->megabytes_per_second > 0 ? load->megabytes_per_second * 1e6 * (now - press->began) : 1e300;
}

/// Gives the socket what it takes.
static void push(Lane *lane) {
    const Request *request = &lane->requests[(lane->sent - 1) % (uint32_t)lane->request_count];
    while (lane->left > 0) {
        const unsigned char *from = request->frame + request->frame_size - lane->left;
        ssize_t sent = send(lane->descriptor, from, lane->left, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (sent < 0 && errno == EINTR) continue;
        if (sent < 0 && errno == EAGAIN) return;
        if (sent <= 0) fail("the connection broke while sending: %s", strerror(errno));
        lane->left -= (size_t)sent;
    }
}

static void send_due(Press *press, Lane *lane, double now) {
    push(lane);
    while (lane->left == 0 && lane->sent - lane->answered < IN_FLIGHT && press->bytes_sent < allowance(press, now)) {
        Request *request = &lane->requests[lane->sent % (uint32_t)lane->request_count];
        set_correlation(request->frame, lane->sent);
        lane->sent_at[lane->sent++ % IN_FLIGHT] = now;
        lane->left = request->frame_size;
        press->bytes_sent += (double)request->batch_bytes;
        push(lane);
    }
}

static void take_answer(Press *press, Lane *lane, const unsigned char *answer, size_t size, double now) {
    uint64_t offsets[PARTITIONS_MAX];
    const Request *request = &lane->requests[lane->answered % (uint32_t)lane->request_count];
    produced_offsets(answer, size, lane->answered, request->partitions, request->partition_count, offsets);
    for (int i = 0; i < request->partition_count; i++) {
        uint64_t *next = &press->next_offsets[request->partitions[i]];
        if (*next != UINT64_MAX && *next != offsets[i]) fail("a batch went to another offset than the next");
        *next = offsets[i] + (uint64_t)press->record_count;
    }
    add_sample(&press->latencies_us, (now - lane->sent_at[lane->answered++ % IN_FLIGHT]) * 1e6);
    press->loaded.requests += 1;
    press->loaded.bytes += (double)request->batch_bytes;
    press->loaded.records += (double)press->record_count * request->partition_count;
}

static void take_answers(Press *press, Lane *lane, double now) {
    inbox_fill(&lane->answers, lane->descriptor);
    size_t size;
    for (const unsigned char *answer; (answer = inbox_frame(&lane->answers, &size)) != NULL;) {
        take_answer(press, lane, answer, size, now);
        lane->heard = now;
    }
}

static int is_done(const Press *press, double now) {
    if (press->bytes_sent < allowance(press, now)) return 0;
    if (press->load->megabytes == 0 && now < press->began + press->load->seconds) return 0;
    for (int i = 0; i < press->lane_count; i++) {
        if (press->lanes[i].answered < press->lanes[i].sent) return 0;
    }
    return 1;
}

/// Waits for answers and room; where a rate holds requests back, at most a millisecond.
static void wait_for_news(Press *press, struct pollfd *polled) {
    int is_paced = press->load->megabytes_per_second > 0;
    for (int i = 0; i < press->lane_count; i++) {
        short events = press->lanes[i].left > 0 ? POLLIN | POLLOUT : POLLIN;
        polled[i] = (struct pollfd){.fd = press->lanes[i].descriptor, .events = events};
    }
    int ready = poll(polled, (nfds_t)press->lane_count, is_paced ? 1 : 1000);
    if (ready < 0 && errno != EINTR) fail("poll: %s", strerror(errno));
}

static void run(Press *press) {
    struct pollfd polled[NODES_MAX];
    for (uint32_t turn = 0;; turn++) {
        double now = seconds_now();
        // Each in its turn is the first: with a rate the others would get what it leaves.
        for (int i = 0; i < press->lane_count; i++) {
            send_due(press, &press->lanes[(turn + (uint32_t)i) % (uint32_t)press->lane_count], now);
        }
        if (is_done(press, now)) return;
        wait_for_news(press, polled);
        now = seconds_now();
        for (int i = 0; i < press->lane_count; i++) {
            Lane *lane = &press->lanes[i];
            if (polled[i].revents & ~POLLOUT) take_answers(press, lane, now);
            if (lane->sent == lane->answered) lane->heard = now;
            if (now - lane->heard > PATIENCE_SECONDS) fail("no answer for %d seconds", PATIENCE_SECONDS);
        }
    }
}

Loaded run_load(const Load *load) {
    Press press = {.load = load};
    if (load->partitions > PARTITIONS_MAX) fail("%d partitions", load->partitions);
    press.record_count = (int)((load->batch_size_max - BATCH_HEADER_BYTES) / RECORD_BYTES_MAX);
    memset(press.next_offsets, load->is_fresh ? 0 : 0xff, sizeof press.next_offsets);
    make_lanes(&press);
    press.began = seconds_now();
    run(&press);
    press.loaded.seconds = seconds_now() - press.began;
    press.loaded.p50_us = percentile(&press.latencies_us, 0.5);
    press.loaded.p99_us = percentile(&press.latencies_us, 0.99);
    press.loaded.longest_us = percentile(&press.latencies_us, 1);
    end_lanes(&press);
    return press.loaded;
}
