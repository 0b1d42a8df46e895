// Readers and a writer in one thread. What is read is not copied to this process: only the head of each answer and of
// its first batch are, the rest is dropped in the kernel (MSG_TRUNC), so that twenty readers leave the node its
// processor.
#define _GNU_SOURCE
#include "read.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { HEAD_BYTES_MAX = 512, FETCH_WAIT_MS = 500, WRITER = READERS_MAX };

static const double PATIENCE_SECONDS = 20;

struct Reader {
    int socket;
    uint64_t next;
    uint32_t fetches;
    unsigned char head[HEAD_BYTES_MAX];
    size_t head_got, head_want, rest;
    uint32_t records_bytes;
};

Batch make_batch(const char *topic, size_t batch_size_max) {
    Batch made = {.record_count = (int)((batch_size_max - BATCH_HEADER_BYTES) / (VALUE_BYTES + 12))};
    made.bytes = malloc(produce_capacity(topic, VALUE_BYTES, made.record_count));
    if (made.bytes == NULL) fail("no memory");
    made.size = produce_request(made.bytes, topic, 0, 1, 0, VALUE_BYTES, made.record_count, &made.batch_size);
    return made;
}

static void note(Load *load, const Reader *reader) {
    Ranges *ranges = load->ranges;
    if (ranges == NULL) return;
    if (ranges->count == ranges->capacity) {
        ranges->capacity = ranges->capacity * 2 + 4096;
        ranges->items = realloc(ranges->items, ranges->capacity * sizeof *ranges->items);
        if (ranges->items == NULL) fail("no memory");
    }
    ranges->items[ranges->count++] = (Range){seconds_now() - load->began, (int)(reader - load->readers), reader->next,
                                             reader->records_bytes};
}

static void ask(Load *load, Reader *reader) {
    unsigned char frame[512];
    reader->fetches++;
    reader->head_got = 0;
    reader->head_want = fetch_head_size(load->topic);
    if (load->is_pushed || reader->next >= load->end) return;
    size_t size = fetch_request(frame, load->topic, 0, reader->fetches, reader->next, FETCH_WAIT_MS, load->fetch_bytes);
    send_all(reader->socket, frame, size);
}

/// The head is whole, or the first batch's behind it.
static void take_head(Load *load, Reader *reader) {
    size_t head_size = fetch_head_size(load->topic);
    if (reader->head_want == head_size) {
        reader->records_bytes = (uint32_t)fetched_size(reader->head + 4, head_size - 4, reader->fetches);
        if (get32(reader->head) + 4 != head_size + reader->records_bytes) fail("a fetch's answer that cannot be read");
        if (reader->records_bytes % load->batch->batch_size != 0) fail("a fetch brought a part of a batch");
        if (reader->records_bytes == 0) ask(load, reader);
        else reader->head_want += BATCH_HEADER_BYTES;
        return;
    }
    if (get64(reader->head + head_size) != reader->next) fail("a fetch skipped or repeated records");
    reader->rest = reader->records_bytes - BATCH_HEADER_BYTES;
}

static void finish_answer(Load *load, Reader *reader) {
    note(load, reader);
    load->answers++;
    load->bytes_read += reader->records_bytes;
    reader->next += reader->records_bytes / load->batch->batch_size * (uint64_t)load->batch->record_count;
    ask(load, reader);
}

/// Takes what lies ready of at most one answer.
static void take(Load *load, Reader *reader) {
    for (;;) {
        int is_head = reader->head_got < reader->head_want;
        unsigned char *to = is_head ? reader->head + reader->head_got : NULL;
        size_t want = is_head ? reader->head_want - reader->head_got : reader->rest;
        ssize_t got = recv(reader->socket, to, want, MSG_DONTWAIT | (is_head ? 0 : MSG_TRUNC));
        if (got < 0 && (errno == EAGAIN || errno == EINTR)) return;
        if (got <= 0) fail("the connection broke while receiving");
        if (is_head) {
            reader->head_got += (size_t)got;
            if (reader->head_got == reader->head_want) take_head(load, reader);
        } else {
            reader->rest -= (size_t)got;
            if (reader->rest > 0) continue;
            finish_answer(load, reader);
            return;
        }
    }
}

static int writes_on(const Load *load, double now, int readers_done) {
    if (load->write_topic == NULL) return 0;
    if (load->write_bytes_max > 0 && load->bytes_written >= load->write_bytes_max) return 0;
    return load->write_seconds > 0 ? now < load->began + load->write_seconds : !readers_done;
}

/// Sends the batches that are due; answers when the next one is.
static double write_due(Load *load, double now) {
    while (load->sent - load->acked < IN_FLIGHT) {
        double due = load->began;
        if (load->write_rate > 0) due += (double)load->sent * (double)load->write_batch->batch_size / load->write_rate;
        if (due > now) return due;
        set_correlation(load->write_batch->bytes, load->sent++);
        send_all(load->writer, load->write_batch->bytes, load->write_batch->size);
        load->bytes_written += load->write_batch->batch_size;
    }
    return now + PATIENCE_SECONDS;
}

static void take_acks(Load *load) {
    size_t size;
    unsigned char *answer;
    inbox_fill(&load->write_answers, load->writer);
    while ((answer = inbox_frame(&load->write_answers, &size)) != NULL) {
        uint64_t base = (uint64_t)load->acked * (uint64_t)load->write_batch->record_count;
        if (produced_offset(answer, size, load->acked++) != base) fail("a batch went to another offset than the next");
    }
}

static int readers_done(const Load *load, int writer_done) {
    uint64_t end = load->end;
    if (end == UINT64_MAX) {
        if (!writer_done) return 0;
        end = (uint64_t)load->sent * (uint64_t)load->write_batch->record_count;
    }
    for (int i = 0; i < load->reader_count; i++) {
        if (load->readers[i].next < end) return 0;
    }
    return 1;
}

static void watch(const Load *load, int descriptor, int index) {
    struct epoll_event event = {.events = EPOLLIN, .data.u32 = (uint32_t)index};
    if (epoll_ctl(load->poller, EPOLL_CTL_ADD, descriptor, &event) != 0) fail("epoll: %s", strerror(errno));
}

void open_load(Load *load) {
    load->poller = epoll_create1(EPOLL_CLOEXEC);
    load->readers = calloc(READERS_MAX, sizeof *load->readers);
    if (load->poller < 0 || load->readers == NULL) fail("no epoll: %s", strerror(errno));
    // Else the kernel may wake this thread 50 us after a batch was due.
    prctl(PR_SET_TIMERSLACK, 1);
    load->began = seconds_now();
    for (int i = 0; i < load->reader_count; i++) {
        Reader *reader = &load->readers[i];
        reader->socket = connect_to(load->port);
        if (reader->socket < 0) fail("a reader cannot connect");
        watch(load, reader->socket, i);
        // A scan's first request would begin the work before the clock does.
        if (load->end == UINT64_MAX) ask(load, reader);
    }
    if (load->write_topic == NULL) return;
    load->writer = connect_to(load->write_port);
    if (load->writer < 0) fail("the writer cannot connect");
    watch(load, load->writer, WRITER);
}

_Noreturn static void fail_silent(const Load *load) {
    fprintf(stderr, "written to %s: %u batches sent, %u answered\n", load->write_topic ? load->write_topic : "nothing",
            load->sent, load->acked);
    for (int i = 0; i < load->reader_count; i++) {
        const Reader *reader = &load->readers[i];
        fprintf(stderr, "reader %d of %s%s: at offset %llu, answer %u, %zu of %zu bytes of its head, %zu to come\n", i,
                load->topic, load->is_pushed ? " by sendfile" : "", (unsigned long long)reader->next, reader->fetches,
                reader->head_got, reader->head_want, reader->rest);
    }
    fail("no answer for %.0f seconds", PATIENCE_SECONDS);
}

void run_load(Load *load) {
    double heard = load->began = seconds_now();
    for (int i = 0; i < load->reader_count && load->end != UINT64_MAX; i++) ask(load, &load->readers[i]);
    for (;;) {
        double now = seconds_now(), next = now + PATIENCE_SECONDS;
        int writes = writes_on(load, now, readers_done(load, 0));
        int writer_done = !writes && load->sent == load->acked;
        if (writer_done && readers_done(load, writer_done)) break;
        if (writes) next = write_due(load, now);
        double wait = next - seconds_now();
        if (wait < 0) wait = 0;
        struct timespec timeout = {(time_t)wait, (long)((wait - (double)(time_t)wait) * 1e9)};
        struct epoll_event events[READERS_MAX + 1];
        int count = epoll_pwait2(load->poller, events, READERS_MAX + 1, &timeout, NULL);
        if (count < 0 && errno != EINTR) fail("epoll: %s", strerror(errno));
        now = seconds_now();
        if (count > 0) heard = now;
        if (now - heard > PATIENCE_SECONDS) fail_silent(load);
        for (int i = 0; i < count; i++) {
            if (events[i].data.u32 == WRITER) take_acks(load);
            else take(load, &load->readers[events[i].data.u32]);
        }
    }
    load->seconds = seconds_now() - load->began;
}

void close_load(Load *load) {
    for (int i = 0; i < load->reader_count; i++) close(load->readers[i].socket);
    if (load->write_topic != NULL) close(load->writer);
    close(load->poller);
    free(load->write_answers.bytes);
    free(load->readers);
}
