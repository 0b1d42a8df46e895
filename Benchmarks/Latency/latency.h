// What the parts of latency-speed know of each other.
#ifndef LATENCY_SPEED_LATENCY_H
#define LATENCY_SPEED_LATENCY_H

#include "BenchDriver.h"

enum { PARTITIONS_MAX = 64, IN_FLIGHT = 5, REQUEST_BYTES_MAX = 256 << 10 };

/// A topic with its leaders, and where each partition ends.
typedef struct {
    const Server *nodes;
    int node_count;
    Topic topic;
    int leader_ports[PARTITIONS_MAX];
    uint64_t ends[PARTITIONS_MAX];
    int is_consumed;
} Target;

/// One row of the table; its samples come from all rounds.
typedef struct {
    Target *target;
    int value_bytes;
    int rate;  // records a second; 0: the next record is sent when the one before was acknowledged and consumed
    Samples ack_us, consume_us, fdatasync_us, round_trip_us;
    size_t records, requests;
    double node_cpu_seconds;
} Case;

/// Connects, warms up, sends for so many seconds by the schedule and waits for the last record.
void run_window(Case *one, double seconds);

/// Threads that each append `bytes` to a file of their own and call fdatasync, all at the same time, again and again:
/// a sample is the slowest of a round.
void measure_fdatasyncs(const char *folder, int threads, size_t bytes, double seconds, Samples *us);
/// So many bytes to a thread on loopback, and back.
void measure_round_trips(size_t bytes, double seconds, Samples *us);

typedef struct {
    Case *cases;
    int case_count, node_count, partitions, rounds;
    double window_seconds, load_before;
} Report;

void print_table(const Report *report);
void print_json(const Report *report);

#endif
