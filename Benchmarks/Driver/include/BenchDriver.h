// What the benchmark programs share: bytes, sockets, nodes as child processes, requests and answers, figures.
#ifndef BENCH_DRIVER_H
#define BENCH_DRIVER_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

// program.c

/// Names the program in its sentences, and has its children and its folder cleaned up whatever ends it.
void begin_program(const char *name, const char *usage_text);
extern const char *program_name;
_Noreturn void usage(void);
/// Ends the program with a sentence and exit code 1.
_Noreturn void fail(const char *format, ...) __attribute__((format(printf, 1, 2)));
/// A decimal number in its bounds, or the usage.
int number(const char *text, int least, int most);
/// Numbers with commas between them; answers how many.
int numbers(char *list, int least, int most, int *values, int count_max);
/// A new folder in `parent`, deleted at the end.
const char *make_folder(const char *parent);
double load_average(void);

// bytes.c: big-endian, as the protocol has it.
void put16(unsigned char *at, uint16_t value);
void put32(unsigned char *at, uint32_t value);
void put64(unsigned char *at, uint64_t value);
uint16_t get16(const unsigned char *at);
uint32_t get32(const unsigned char *at);
uint64_t get64(const unsigned char *at);
/// A string of the protocol; answers where it ends.
unsigned char *put_string(unsigned char *at, const char *text);

// sockets.c

void send_all(int descriptor, const unsigned char *bytes, size_t size);
/// 0 when the peer closed before the first byte, else 1; anything between ends the program.
int receive_all(int descriptor, unsigned char *bytes, size_t size);
/// Nagle off, as clients and nodes have it; -1 when nobody listens.
int connect_to(int port);
int listen_on(int port);
int accept_from(int listener);
/// Below 32768, where the kernel's own outgoing ports begin.
int free_port(void);
double seconds_now(void);

/// Frames that come in piece by piece.
typedef struct {
    unsigned char *bytes;
    size_t capacity, start, end;
} Inbox;

/// Takes what lies ready and does not wait.
void inbox_fill(Inbox *inbox, int descriptor);
/// The next whole frame behind its length, or NULL. It stays until the inbox is filled again.
unsigned char *inbox_frame(Inbox *inbox, size_t *size);

// servers.c

/// A child that ends with the program, whatever becomes of it.
typedef struct {
    const char *name;
    pid_t pid;
    int port;
} Server;

enum { NODES_MAX = 3 };

/// In the child 0, in the parent the child's id.
pid_t fork_server(void);
void end_server(pid_t pid);
void end_servers(void);
/// User and system seconds of the whole process until now, threads that ended included.
double cpu_seconds(const Server *server);
double cpu_seconds_of_all(const Server *servers, int count);
/// A cluster of `count` nodes whose data is in `folder`/node-1 and so on, all of them registered.
void start_nodes(const char *binary, const char *folder, int count, Server *nodes);

// topics.c

typedef struct {
    const char *name;
    int partitions;
    int replicas;
    const char *flush_mode;
    int segment_bytes;  // 0: the node's default
} Topic;

/// The size of an answer without its length; 0 when the node does not listen, or closes because it is not yet ready.
size_t exchange(int port, int api, int version, const unsigned char *body, size_t body_size, unsigned char *answer,
                size_t capacity);
void create_topic(const Server *node, const Topic *topic);
void delete_topic(const Server *node, const char *name);
int brokers_known(const Server *node);
/// The port of each partition's leader, once all have one and every replica is in sync.
void leader_ports(const Server *node, const Topic *topic, int *ports);

// produce.c

enum { BATCH_HEADER_BYTES = 61 };

/// The room that a Produce request needs at most.
size_t produce_capacity(const char *topic, size_t value_bytes, int record_count);
/// A Produce request (version 7) with its length ahead: one batch of records without keys whose values do not compress.
/// Answers its size.
size_t produce_request(unsigned char *frame, const char *topic, int partition, int acks, uint32_t correlation,
                       size_t value_bytes, int record_count, size_t *batch_size);

/// What one request carries: a batch of so many records for each of these partitions.
typedef struct {
    const char *topic;
    const int *partitions;
    int partition_count, acks, record_count;
    size_t value_bytes;
} Batches;

/// The same for several partitions; needs `produce_capacity` for each.
size_t produce_batches(unsigned char *frame, const Batches *batches, uint32_t correlation, size_t *batch_size);
/// Correlation ids are patched in requests that are sent again.
void set_correlation(unsigned char *frame, uint32_t correlation);
/// The base offset that an answer without its length tells; an error or another correlation id ends the program.
uint64_t produced_offset(const unsigned char *answer, size_t size, uint32_t correlation);

/// The same for an answer about these partitions, in their order.
void produced_offsets(const unsigned char *answer, size_t size, uint32_t correlation, const int *partitions, int count,
                      uint64_t *offsets);

// fetch.c

/// A Fetch request (version 11, no session) with its length ahead, for one partition.
size_t fetch_request(unsigned char *frame, const char *topic, int partition, uint32_t correlation, uint64_t offset,
                     int wait_ms_max, int bytes_max);
/// The bytes of a Fetch answer, its length included, that come ahead of its records.
size_t fetch_head_size(const char *topic);
/// The records' size by an answer's head without the length; an error ends the program.
size_t fetched_size(const unsigned char *head, size_t head_size, uint32_t correlation);

// figures.c

typedef struct {
    double *values;
    size_t count, capacity;
} Samples;

void add_sample(Samples *samples, double value);
/// Sorts; 0.5 is the median, 0.99 what one of a hundred exceeds. 0 when there are none.
double percentile(Samples *samples, double share);
/// With an even count the mean of the two in the middle. Leaves the values as they are.
double median_of(const double *values, int count);

#endif
