// What the parts of ingest-speed know of each other.
#ifndef INGEST_SPEED_BENCH_H
#define INGEST_SPEED_BENCH_H

#include "BenchDriver.h"

/// A child that receives batches, checks their CRC, appends them to a file and answers.
Server start_yardstick(const char *folder);

/// One Produce request (acks=1) with one batch of records of 1 KiB, of which only the correlation id changes from one
/// sending to the next.
typedef struct {
    unsigned char *bytes;
    size_t size;
    size_t batch_size;
    int record_count;
} Frame;

Frame make_frame(const char *topic, size_t batch_size_max);

typedef struct {
    double megabytes_per_second;
    double cpu_seconds_per_gigabyte;
    double p50_us;
    double p99_us;
} Run;

enum { IN_FLIGHT = 5 };

/// Sends about `megabytes` of batches over one connection, `IN_FLIGHT` requests at a time, and checks every answer.
Run drive(const Server *server, Frame *frame, int megabytes);

enum { ROUNDS_MAX = 99 };

typedef struct {
    size_t batch_size;
    int rounds;
    Run yardstick[ROUNDS_MAX];
    Run node[ROUNDS_MAX];
} Measured;

/// More than this many times the yardstick's CPU a byte, or less than its inverse in speed, is a bug.
#define BUG_RATIO 2.0

void print_table(const Measured *measured, int count, int megabytes);
void print_json(const Measured *measured, int count, int megabytes);

#endif
