// What the parts of ingest-speed know of each other.
#ifndef INGEST_SPEED_BENCH_H
#define INGEST_SPEED_BENCH_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/// Ends the bench with a sentence and exit code 1.
_Noreturn void fail(const char *format, ...) __attribute__((format(printf, 1, 2)));

// Big-endian, as the protocol has it.
void put16(unsigned char *at, uint16_t value);
void put32(unsigned char *at, uint32_t value);
void put64(unsigned char *at, uint64_t value);
uint16_t get16(const unsigned char *at);
uint32_t get32(const unsigned char *at);

void send_all(int descriptor, const unsigned char *bytes, size_t size);
/// 0 when the peer closed before the first byte, else 1; anything between ends the bench.
int receive_all(int descriptor, unsigned char *bytes, size_t size);
/// Nagle off, as clients and nodes have it.
int connect_to(int port);
int listen_on(int port);
/// Below 32768, where the kernel's own outgoing ports begin.
int free_port(void);
double seconds_now(void);

/// A child that ends with the bench, whatever becomes of it.
typedef struct {
    const char *name;
    pid_t pid;
    int port;
} Server;

/// User and system seconds of the whole process until now, threads that ended included.
double cpu_seconds(const Server *server);
Server start_yardstick(const char *folder);
Server start_node(const char *binary, const char *folder);
void end_servers(void);

void create_topic(const Server *node, const char *topic);
void delete_topic(const Server *node, const char *topic);

/// One Produce request (version 7, acks=1) with one batch of records of 1 KiB, of which only the correlation id
/// changes from one sending to the next.
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

/// Serves one connection after the other, for ever: bytes in, CRC checked, appended to a file, answered.
_Noreturn void serve_yardstick(int listener, const char *path);

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
