// What a disk and a socket take without any log between them.
#define _GNU_SOURCE
#include "latency.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { THREADS_MAX = NODES_MAX };

typedef struct {
    pthread_barrier_t barrier;
    int threads, is_over;
    size_t bytes;
    double end, took[THREADS_MAX];
    const char *folder;
    Samples *us;
} Rounds;

typedef struct {
    Rounds *rounds;
    int index;
} Syncer;

static void append_and_sync(int file, const unsigned char *bytes, size_t size) {
    if (write(file, bytes, size) != (ssize_t)size || fdatasync(file) != 0) fail("fdatasync: %s", strerror(errno));
}

static void *sync_rounds(void *context) {
    Rounds *rounds = ((Syncer *)context)->rounds;
    int index = ((Syncer *)context)->index;
    char path[4200];
    snprintf(path, sizeof path, "%s/yardstick-%d", rounds->folder, index);
    int file = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
    unsigned char *bytes = calloc(1, rounds->bytes);
    if (file < 0 || bytes == NULL) fail("%s cannot be opened: %s", path, strerror(errno));
    append_and_sync(file, bytes, rounds->bytes);
    for (;;) {
        if (index == 0) rounds->is_over = seconds_now() >= rounds->end;
        pthread_barrier_wait(&rounds->barrier);
        if (rounds->is_over) break;
        double began = seconds_now();
        append_and_sync(file, bytes, rounds->bytes);
        rounds->took[index] = seconds_now() - began;
        pthread_barrier_wait(&rounds->barrier);
        if (index != 0) continue;
        double slowest = 0;
        for (int i = 0; i < rounds->threads; i++) slowest = rounds->took[i] > slowest ? rounds->took[i] : slowest;
        add_sample(rounds->us, slowest * 1e6);
    }
    free(bytes);
    close(file);
    return NULL;
}

void measure_fdatasyncs(const char *folder, int threads, size_t bytes, double seconds, Samples *us) {
    Rounds rounds = {.threads = threads, .bytes = bytes, .folder = folder, .us = us};
    Syncer syncers[THREADS_MAX];
    pthread_t ids[THREADS_MAX];
    rounds.end = seconds_now() + seconds;
    pthread_barrier_init(&rounds.barrier, NULL, (unsigned)threads);
    for (int i = 0; i < threads; i++) {
        syncers[i] = (Syncer){&rounds, i};
        if (pthread_create(&ids[i], NULL, sync_rounds, &syncers[i]) != 0) fail("no thread");
    }
    for (int i = 0; i < threads; i++) pthread_join(ids[i], NULL);
    pthread_barrier_destroy(&rounds.barrier);
}

typedef struct {
    int listener;
    size_t bytes;
} Echo;

static void *echo(void *context) {
    Echo *echo = context;
    unsigned char *bytes = malloc(echo->bytes);
    int connection = accept_from(echo->listener);
    if (connection < 0 || bytes == NULL) fail("no connection: %s", strerror(errno));
    while (receive_all(connection, bytes, echo->bytes)) send_all(connection, bytes, echo->bytes);
    free(bytes);
    close(connection);
    return NULL;
}

void measure_round_trips(size_t bytes, double seconds, Samples *us) {
    int port = free_port();
    Echo other = {.listener = listen_on(port), .bytes = bytes};
    pthread_t thread;
    if (other.listener < 0 || pthread_create(&thread, NULL, echo, &other) != 0) fail("no echo on port %d", port);
    unsigned char *content = calloc(1, bytes);
    int connection = connect_to(port);
    if (connection < 0 || content == NULL) fail("no connection to port %d", port);
    double now = seconds_now(), end = now + seconds;
    while (now < end) {
        double began = now;
        send_all(connection, content, bytes);
        receive_all(connection, content, bytes);
        now = seconds_now();
        add_sample(us, (now - began) * 1e6);
    }
    close(connection);
    pthread_join(thread, NULL);
    close(other.listener);
    free(content);
}
