// What the parts of read-speed know of each other.
#ifndef READ_SPEED_READ_H
#define READ_SPEED_READ_H

#include "BenchDriver.h"

enum { READERS_MAX = 64, IN_FLIGHT = 5, VALUE_BYTES = 1024 };

/// What one answer brought to one reader: whole batches from this record on.
typedef struct {
    double at_seconds;  // after the run began
    int reader;
    uint64_t offset;
    uint32_t bytes;
} Range;

typedef struct {
    Range *items;
    size_t count, capacity;
} Ranges;

/// Every batch of a topic is one and the same request, so its size and records give each offset a place in the files.
typedef struct {
    unsigned char *bytes;
    size_t size, batch_size;
    int record_count;
} Batch;

Batch make_batch(const char *topic, size_t batch_size_max);

typedef struct Reader Reader;

/// Readers of one topic, a writer, or both, over one connection each.
typedef struct {
    const char *topic;
    const Batch *batch;
    int port, reader_count, fetch_bytes;
    /// The server sends without being asked.
    int is_pushed;
    /// The first record that is not read; UINT64_MAX: what the writer wrote last.
    uint64_t end;
    /// NULL: nobody writes. Bytes a second, 0: as fast as it goes; for so many seconds, 0: until all is read.
    const char *write_topic;
    const Batch *write_batch;
    int write_port;
    double write_rate, write_seconds;
    uint64_t write_bytes_max;  // 0: no bound

    Ranges *ranges;  // NULL: not noted
    double seconds;
    uint64_t bytes_read, bytes_written, answers;

    Reader *readers;
    int poller, writer;
    Inbox write_answers;
    uint32_t sent, acked;
    double began;
} Load;

/// Connects, and lets the readers of a node ask for their first records.
void open_load(Load *load);
void run_load(Load *load);
void close_load(Load *load);

typedef struct {
    int file;
    uint64_t base_offset;
    off_t size;
} Segment;

enum { SEGMENTS_MAX = 256 };

/// The segments of a topic of one partition in a node's data directory, in order; answers how many.
int open_segments(const char *data, const char *topic, Segment *segments);
void close_segments(Segment *segments, int count);
/// Asks the kernel to drop their pages, and answers the share that stayed.
double drop_pages(const Segment *segments, int count);

/// A child that sends these ranges to as many connections, one range after the other; `is_paced`: each no earlier than
/// it came in the run that noted it. It begins when `connections` have come.
Server start_sendfile(const Segment *segments, int segment_count, const Ranges *ranges, const Batch *batch,
                      const char *topic, int connections, int is_paced);

typedef struct {
    double megabytes_per_second, cpu_seconds_per_gigabyte, bytes_per_answer;
} Figures;

enum { ROUNDS_MAX = 50 };

/// One row of the table.
typedef struct {
    const char *name;
    int readers, is_written, is_tail, is_cold;
    int rounds;
    Figures node[ROUNDS_MAX], loop[ROUNDS_MAX], paced[ROUNDS_MAX];
    double pages_left;  // of a cold read: the greatest share that could not be dropped
} Case;

typedef struct {
    Case *cases;
    int case_count, rounds, megabytes;
    double write_rate, load_before;
    size_t batch_size;
    int fetch_bytes;
    double write_cpu[ROUNDS_MAX];  // seconds a gigabyte written, without readers
} Report;

void print_table(const Report *report);
void print_json(const Report *report);

#endif
