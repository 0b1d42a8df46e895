// What the parts of ingest-speed know of each other.
#ifndef INGEST_SPEED_BENCH_H
#define INGEST_SPEED_BENCH_H

#include "BenchDriver.h"

enum { ROUNDS_MAX = 99, IN_FLIGHT_MAX = 64, PARTITIONS_MAX = 1000 };

/// Of produce requests on one connection where nothing else is said: what Kafka's producers have by default.
enum { IN_FLIGHT = 5 };

/// A child that receives batches, checks their CRC, appends them to one file and answers.
Server start_yardstick(const char *folder);

// driver.c: one partition of one node.

/// One Produce request (acks=1) with one batch, of which only the correlation id changes from one sending to the next.
typedef struct {
    unsigned char *bytes;
    size_t size;
    size_t batch_size;
    int record_count;
} Frame;

Frame make_frame(const char *topic, size_t value_bytes, int record_count);

typedef struct {
    double megabytes_per_second;
    double cpu_seconds_per_gigabyte;
    double requests_per_second;
    double requests_per_cpu_second;
    double p50_us;
    double p99_us;
} Run;

/// What is sent over one connection: so many requests, or as many as go in so long.
typedef struct {
    const Frame *frame;
    int in_flight;
    uint32_t requests;  // 0: by time
    double seconds;
} Amount;

/// Every answer is checked.
Run drive(const Server *server, const Amount *amount);

// report.c

/// Batches of one size, or requests with one small record each where `batch_size` is 0.
typedef struct {
    size_t batch_size;
    int in_flight;
    int rounds;
    Run yardstick[ROUNDS_MAX];
    Run node[ROUNDS_MAX];
} Measured;

typedef struct {
    const Measured *batches, *requests;
    int batch_count, request_count, rounds, megabytes, window_ms;
    double load_before;
} Report;

/// More than this many times the yardstick's CPU a byte, or less than its inverse in speed, is a bug.
#define BUG_RATIO 2.0

enum { SMALL_VALUE_BYTES = 100 };

void print_table(const Report *report);
void print_json(const Report *report);

// load.c: many partitions of several leaders at once.

typedef struct {
    const char *topic;
    int partitions;
    const int *ports;      // of each partition's leader
    int is_one_connection; // all partitions over one, for the yardstick
    int acks;
    size_t batch_size_max;
    int is_fresh;          // the topic is empty: offsets begin with 0
    double megabytes;      // 0: by time
    double seconds;
    double megabytes_per_second;  // 0: as fast as it goes
} Load;

typedef struct {
    double seconds, bytes, records, requests;
    double p50_us, p99_us, longest_us;
} Loaded;

Loaded run_load(const Load *load);

// replicated.c: `ingest-speed replicated`, and `ingest-speed press` for a cluster that runs already.
int replicated(int argc, char **argv);
int press(int argc, char **argv);

#endif
