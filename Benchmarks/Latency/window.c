// The load of one window, in an open loop: a record is due at its scheduled time, whatever became of those before it,
// and its latency counts from then. So a stall of the node is in the latency of every record that came due meanwhile.
#define _GNU_SOURCE
#include "latency.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <time.h>
#include <unistd.h>

static const double PATIENCE_SECONDS = 20;

enum { WARM_UP_RECORDS = 20, WARM_UP_RATE = 200, FETCH_WAIT_MS = 500, FETCH_BYTES = 1 << 20 };

typedef struct {
    uint32_t first, count;
} Request;

/// One partition: a connection to produce, one to fetch. Records are numbered from the window's first.
typedef struct {
    int partition, produce, fetch;
    Inbox answers, fetched;
    unsigned char *frame;
    uint32_t total, sent, acked, consumed;
    uint32_t requests_sent, requests_acked, fetches;
    Request in_flight[IN_FLIGHT];
    uint64_t base;
} Lane;

typedef struct {
    Case *one;
    Lane *lanes;
    int lane_count, poller, request_records_max;
    // The schedule; of one record in flight only `begin` is used: when that record was sent.
    double begin, interval;
    int counts;
} Window;

static double due_at(const Window *window, const Lane *lane, uint32_t record) {
    if (window->interval == 0) return window->begin;
    double position = (double)record * window->lane_count + lane->partition;
    return window->begin + position * window->interval;
}

static void watch(const Window *window, int descriptor, int lane, int is_fetch) {
    struct epoll_event event = {.events = EPOLLIN, .data.u32 = (uint32_t)(lane * 2 + is_fetch)};
    if (epoll_ctl(window->poller, EPOLL_CTL_ADD, descriptor, &event) != 0) fail("epoll: %s", strerror(errno));
}

static void send_fetch(const Window *window, Lane *lane) {
    unsigned char frame[512];
    size_t size = fetch_request(frame, window->one->target->topic.name, lane->partition, ++lane->fetches,
                                lane->base + lane->consumed, FETCH_WAIT_MS, FETCH_BYTES);
    send_all(lane->fetch, frame, size);
}

/// One request with all records of the lane that are due.
static void send_due(Window *window, Lane *lane, double now) {
    uint32_t most = window->interval == 0 ? 1 : (uint32_t)window->request_records_max, count = 0;
    if (most > lane->total - lane->sent) most = lane->total - lane->sent;
    while (count < most && due_at(window, lane, lane->sent + count) <= now) count++;
    if (count == 0) return;
    size_t batch_size;
    size_t size = produce_request(lane->frame, window->one->target->topic.name, lane->partition, -1,
                                  lane->requests_sent, (size_t)window->one->value_bytes, (int)count, &batch_size);
    lane->in_flight[lane->requests_sent++ % IN_FLIGHT] = (Request){lane->sent, count};
    lane->sent += count;
    send_all(lane->produce, lane->frame, size);
}

static void take_answers(Window *window, Lane *lane, double now) {
    size_t size;
    unsigned char *answer;
    inbox_fill(&lane->answers, lane->produce);
    while ((answer = inbox_frame(&lane->answers, &size)) != NULL) {
        Request request = lane->in_flight[lane->requests_acked % IN_FLIGHT];
        uint64_t offset = produced_offset(answer, size, lane->requests_acked++);
        if (offset != lane->base + request.first) fail("a batch went to another offset than the next");
        for (uint32_t i = 0; i < request.count && window->counts; i++) {
            add_sample(&window->one->ack_us, (now - due_at(window, lane, request.first + i)) * 1e6);
        }
        lane->acked += request.count;
        if (!window->one->target->is_consumed) lane->consumed = lane->acked;
    }
}

static void take_batches(Window *window, Lane *lane, const unsigned char *at, size_t size, double now) {
    const unsigned char *end = at + size;
    while (end - at >= BATCH_HEADER_BYTES && at + 12 + get32(at + 8) <= end) {
        uint32_t count = get32(at + 23) + 1;
        if (get64(at) != lane->base + lane->consumed) fail("a fetch skipped or repeated records");
        for (uint32_t i = 0; i < count && window->counts; i++) {
            add_sample(&window->one->consume_us, (now - due_at(window, lane, lane->consumed + i)) * 1e6);
        }
        lane->consumed += count;
        at += 12 + get32(at + 8);
    }
}

static void take_fetched(Window *window, Lane *lane, double now) {
    size_t size, head_size = fetch_head_size(window->one->target->topic.name) - 4;
    unsigned char *answer;
    inbox_fill(&lane->fetched, lane->fetch);
    while ((answer = inbox_frame(&lane->fetched, &size)) != NULL) {
        if (size < head_size) fail("a fetch's answer of %zu bytes", size);
        size_t records_size = fetched_size(answer, head_size, lane->fetches);
        if (head_size + records_size != size) fail("a fetch's answer that cannot be read");
        take_batches(window, lane, answer + head_size, records_size, now);
        send_fetch(window, lane);
    }
}

static int is_done(const Window *window) {
    for (int i = 0; i < window->lane_count; i++) {
        const Lane *lane = &window->lanes[i];
        if (lane->sent < lane->total || lane->acked < lane->sent || lane->consumed < lane->sent) return 0;
    }
    return 1;
}

/// Sends what is due, and answers when to look again.
static double send_all_due(Window *window, double now) {
    double next = now + PATIENCE_SECONDS;
    for (int i = 0; i < window->lane_count; i++) {
        Lane *lane = &window->lanes[i];
        if (window->interval == 0) {
            if (lane->acked < lane->sent || lane->consumed < lane->sent) continue;
            window->begin = now;
            send_due(window, lane, now);
            continue;
        }
        while (lane->sent < lane->total && lane->requests_sent - lane->requests_acked < IN_FLIGHT) {
            double due = due_at(window, lane, lane->sent);
            if (due > now) {
                next = due < next ? due : next;
                break;
            }
            send_due(window, lane, now);
        }
    }
    return next;
}

/// Sends `records` more at `rate` (0: one in flight, for `seconds`) and waits until all are acknowledged and consumed.
static void run_schedule(Window *window, int rate, int records, double seconds) {
    double end = seconds_now() + seconds, heard = seconds_now();
    for (int i = 0; i < window->lane_count; i++) {
        Lane *lane = &window->lanes[i];
        lane->base += lane->sent;
        lane->sent = lane->acked = lane->consumed = 0;
        lane->total = rate > 0 ? (uint32_t)((records + window->lane_count - 1) / window->lane_count) : UINT32_MAX;
        if (rate == 0 && i > 0) lane->total = 0;
    }
    window->interval = rate > 0 ? 1.0 / rate : 0;
    window->begin = seconds_now();
    for (;;) {
        double now = seconds_now();
        if (rate == 0 && now >= end) window->lanes[0].total = window->lanes[0].sent;
        if (is_done(window)) return;
        double wait = send_all_due(window, now) - seconds_now();
        if (wait < 0) wait = 0;
        struct timespec timeout = {(time_t)wait, (long)((wait - (double)(time_t)wait) * 1e9)};
        struct epoll_event events[2 * PARTITIONS_MAX];
        int count = epoll_pwait2(window->poller, events, 2 * PARTITIONS_MAX, &timeout, NULL);
        if (count < 0 && errno != EINTR) fail("epoll: %s", strerror(errno));
        now = seconds_now();
        if (count > 0) heard = now;
        if (now - heard > PATIENCE_SECONDS) fail("no answer for %.0f seconds", PATIENCE_SECONDS);
        for (int i = 0; i < count; i++) {
            Lane *lane = &window->lanes[events[i].data.u32 / 2];
            (events[i].data.u32 % 2 == 0 ? take_answers : take_fetched)(window, lane, now);
        }
    }
}

static void open_lanes(Window *window) {
    Case *one = window->one;
    const char *topic = one->target->topic.name;
    for (int i = 0; i < window->lane_count; i++) {
        Lane *lane = &window->lanes[i];
        *lane = (Lane){.partition = i, .base = one->target->ends[i], .fetch = -1};
        lane->frame = malloc(produce_capacity(topic, (size_t)one->value_bytes, window->request_records_max));
        lane->produce = connect_to(one->target->leader_ports[i]);
        if (lane->frame == NULL || lane->produce < 0) fail("the leader of %s-%d cannot be reached", topic, i);
        watch(window, lane->produce, i, 0);
        if (!one->target->is_consumed) continue;
        lane->fetch = connect_to(one->target->leader_ports[i]);
        if (lane->fetch < 0) fail("the leader of %s-%d cannot be reached", topic, i);
        watch(window, lane->fetch, i, 1);
        send_fetch(window, lane);
    }
}

static void close_lanes(Window *window) {
    for (int i = 0; i < window->lane_count; i++) {
        Lane *lane = &window->lanes[i];
        window->one->target->ends[i] = lane->base + lane->sent;
        close(lane->produce);
        if (lane->fetch >= 0) close(lane->fetch);
        free(lane->answers.bytes);
        free(lane->fetched.bytes);
        free(lane->frame);
    }
    close(window->poller);
}

void run_window(Case *one, double seconds) {
    static Lane lanes[PARTITIONS_MAX];
    Target *target = one->target;
    Window window = {.one = one, .lanes = lanes, .lane_count = target->topic.partitions};
    window.poller = epoll_create1(EPOLL_CLOEXEC);
    window.request_records_max = REQUEST_BYTES_MAX / (one->value_bytes + 12);
    // Else the kernel may wake this thread 50 us after a record was due.
    prctl(PR_SET_TIMERSLACK, 1);
    open_lanes(&window);
    run_schedule(&window, WARM_UP_RATE, WARM_UP_RECORDS + window.lane_count, 0);
    window.counts = 1;
    uint32_t requests = 0;
    for (int i = 0; i < window.lane_count; i++) requests += lanes[i].requests_sent;
    size_t records = one->ack_us.count;
    double cpu = cpu_seconds_of_all(target->nodes, target->node_count);
    run_schedule(&window, one->rate, (int)(seconds * one->rate), seconds);
    one->node_cpu_seconds += cpu_seconds_of_all(target->nodes, target->node_count) - cpu;
    one->records += one->ack_us.count - records;
    for (int i = 0; i < window.lane_count; i++) one->requests += lanes[i].requests_sent;
    one->requests -= requests;
    close_lanes(&window);
}
