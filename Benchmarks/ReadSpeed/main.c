// read-speed: what a node's reads cost, beside a loop in C that sends the same ranges of the same files with sendfile.
//
// The node writes while the tail is read, and one clock counts both. So every round has a window in which the same rate
// is written and nobody reads; what it cost a byte is taken from the windows with readers. The rate is fixed, because a
// writer that goes as fast as it can is slower beside readers, and then its batches come together in another way.
//
// The yardstick runs behind each window, with the ranges that the node's answers had, to as many sockets of the same
// driver: once as fast as it goes, and for the tail once at the times at which they came from the node.
#define _GNU_SOURCE
#include "read.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { LIST_MAX = 8, CASES_MAX = 4 * LIST_MAX, SEGMENT_BYTES = 64 << 20 };

static const char usage_text[] =
    "usage: read-speed [--json] [--rounds N] [--tail N,N,...] [--hot N,...] [--written N,...] [--cold N,...]\n"
    "                  how many readers: of the tail, of closed segments in memory, of those while others\n"
    "                  write, of closed segments whose pages were dropped; 0: not that\n"
    "                  [--write-mb N]         MB/s written, 0: as fast as it goes\n"
    "                  [--window-ms N] [--megabytes N] [--batch-kib N] [--fetch-kib N]\n"
    "                  [--martlet BINARY] [--folder DIR]\n";

typedef struct {
    const char *binary, *parent;
    int json, rounds, write_mb, window_ms, megabytes, batch_kib, fetch_kib;
    int readers[4][LIST_MAX], counts[4];
} Options;

static const char *const case_names[] = {"tail", "closed, hot", "closed, hot, written", "closed, cold"};
enum { TAIL, HOT, WRITTEN, COLD };

typedef struct {
    Server node;
    char data[4200];
    Options options;
    Report *report;
    // The closed segments.
    Batch closed_batch;
    Segment closed[SEGMENTS_MAX];
    int closed_count;
    int topics_made;
} Bench;

static void take_options(Options *options, int argc, char **argv) {
    static const char *const lists[] = {"--tail", "--hot", "--written", "--cold"};
    for (int i = 1; i < argc; i++) {
        const char *name = argv[i];
        if (strcmp(name, "--json") == 0) {
            options->json = 1;
            continue;
        }
        if (i + 1 == argc) usage();
        char *value = argv[++i];
        int kind = 0;
        while (kind < 4 && strcmp(name, lists[kind]) != 0) kind++;
        if (kind < 4) options->counts[kind] = numbers(value, 0, READERS_MAX, options->readers[kind], LIST_MAX);
        else if (strcmp(name, "--rounds") == 0) options->rounds = number(value, 1, ROUNDS_MAX);
        else if (strcmp(name, "--write-mb") == 0) options->write_mb = number(value, 0, 10000);
        else if (strcmp(name, "--window-ms") == 0) options->window_ms = number(value, 100, 60000);
        else if (strcmp(name, "--megabytes") == 0) options->megabytes = number(value, 130, 8000);
        else if (strcmp(name, "--batch-kib") == 0) options->batch_kib = number(value, 2, 512);
        else if (strcmp(name, "--fetch-kib") == 0) options->fetch_kib = number(value, 2, 51200);
        else if (strcmp(name, "--martlet") == 0) options->binary = value;
        else if (strcmp(name, "--folder") == 0) options->parent = value;
        else usage();
    }
}

/// The seconds of CPU that the server spends on a load; what is left to its background threads counts too.
static double run_measured(Load *load, const Server *server) {
    open_load(load);
    usleep(20000);
    double cpu = cpu_seconds(server);
    run_load(load);
    usleep(100000);
    cpu = cpu_seconds(server) - cpu;
    close_load(load);
    return cpu;
}

static Figures figures_of(const Load *load, double cpu) {
    double bytes = (double)load->bytes_read;
    return (Figures){bytes / 1e6 / load->seconds, cpu / (bytes / 1e9), bytes / (double)load->answers};
}

/// The yardstick's run after a node's: the same readers, pushed to instead of asking.
static Figures run_sendfile(const Load *like, const Segment *segments, int count, int is_paced) {
    Load load = *like;
    load.ranges = NULL;
    load.bytes_read = load.bytes_written = load.answers = 0;
    load.sent = load.acked = 0;
    load.write_answers = (Inbox){0};
    load.is_pushed = 1;
    Server loop = start_sendfile(segments, count, like->ranges, like->batch, like->topic, like->reader_count, is_paced);
    load.port = loop.port;
    double cpu = run_measured(&load, &loop);
    end_server(loop.pid);
    return figures_of(&load, cpu);
}

static void make_topic(Bench *bench, char *name, size_t size, int segment_bytes) {
    snprintf(name, size, "read-%d", bench->topics_made++);
    Topic topic = {.name = name, .partitions = 1, .replicas = 1, .flush_mode = "async", .segment_bytes = segment_bytes};
    create_topic(&bench->node, &topic);
    int port;
    leader_ports(&bench->node, &topic, &port);
}

static void write_at_rate(Load *load, const Bench *bench, const char *topic, const Batch *batch) {
    load->write_topic = topic;
    load->write_batch = batch;
    load->write_port = bench->node.port;
    load->write_rate = bench->options.write_mb * 1e6;
}

/// A window of writing with `one`'s readers at the tail; NULL: without, for what writing costs.
static void run_tail(Bench *bench, Case *one, int round) {
    char topic[64];
    Ranges ranges = {0};
    Segment segments[SEGMENTS_MAX];
    make_topic(bench, topic, sizeof topic, 0);
    Batch batch = make_batch(topic, (size_t)bench->options.batch_kib << 10);
    Load load = {.topic = topic, .batch = &batch, .port = bench->node.port, .reader_count = one ? one->readers : 0,
                 .fetch_bytes = bench->options.fetch_kib << 10, .end = UINT64_MAX, .ranges = &ranges,
                 .write_seconds = bench->options.window_ms / 1000.0};
    write_at_rate(&load, bench, topic, &batch);
    double cpu = run_measured(&load, &bench->node);
    double *write_cpu = &bench->report->write_cpu[round];
    if (one == NULL) {
        *write_cpu = cpu / ((double)load.bytes_written / 1e9);
    } else {
        one->node[round] = figures_of(&load, cpu - *write_cpu * (double)load.bytes_written / 1e9);
        int count = open_segments(bench->data, topic, segments);
        load.end = load.bytes_written / batch.batch_size * (uint64_t)batch.record_count;
        load.write_topic = NULL;
        one->loop[round] = run_sendfile(&load, segments, count, 0);
        one->paced[round] = run_sendfile(&load, segments, count, 1);
        close_segments(segments, count);
    }
    delete_topic(&bench->node, topic);
    free(batch.bytes);
    free(ranges.items);
}

static const char *const closed_topic = "closed";

/// Fills the topic whose closed segments are read.
static void fill(Bench *bench) {
    Topic topic = {.name = closed_topic, .partitions = 1, .replicas = 1, .flush_mode = "async",
                   .segment_bytes = SEGMENT_BYTES};
    create_topic(&bench->node, &topic);
    int port;
    leader_ports(&bench->node, &topic, &port);
    bench->closed_batch = make_batch(closed_topic, (size_t)bench->options.batch_kib << 10);
    Load load = {.topic = closed_topic, .batch = &bench->closed_batch, .port = bench->node.port, .end = UINT64_MAX,
                 .write_seconds = 60, .write_bytes_max = (uint64_t)bench->options.megabytes * 1000000};
    write_at_rate(&load, bench, closed_topic, &bench->closed_batch);
    load.write_rate = 0;
    run_measured(&load, &bench->node);
    bench->closed_count = open_segments(bench->data, closed_topic, bench->closed);
}

static void drop_closed(Bench *bench, Case *one) {
    if (!one->is_cold) return;
    double left = drop_pages(bench->closed, bench->closed_count);
    if (left > one->pages_left) one->pages_left = left;
}

/// Readers that begin at the same time and read every closed segment once.
static void run_closed(Bench *bench, Case *one, int round) {
    char topic[64];
    Ranges ranges = {0};
    Batch batch = {0};
    // The last segment is not closed.
    Load load = {.topic = closed_topic, .batch = &bench->closed_batch, .port = bench->node.port,
                 .reader_count = one->readers, .fetch_bytes = bench->options.fetch_kib << 10, .ranges = &ranges,
                 .end = bench->closed[bench->closed_count - 1].base_offset};
    if (one->is_written) {
        make_topic(bench, topic, sizeof topic, 0);
        batch = make_batch(topic, (size_t)bench->options.batch_kib << 10);
        write_at_rate(&load, bench, topic, &batch);
    }
    drop_closed(bench, one);
    double cpu = run_measured(&load, &bench->node);
    one->node[round] =
        figures_of(&load, cpu - bench->report->write_cpu[round] * (double)load.bytes_written / 1e9);
    if (one->is_written) {
        delete_topic(&bench->node, topic);
        make_topic(bench, topic, sizeof topic, 0);
        free(batch.bytes);
        batch = make_batch(topic, (size_t)bench->options.batch_kib << 10);
    }
    drop_closed(bench, one);
    one->loop[round] = run_sendfile(&load, bench->closed, bench->closed_count, 0);
    if (one->is_written) delete_topic(&bench->node, topic);
    free(batch.bytes);
    free(ranges.items);
}

static int list_cases(const Options *options, Case *cases) {
    int count = 0;
    for (int kind = TAIL; kind <= COLD; kind++) {
        for (int i = 0; i < options->counts[kind]; i++) {
            if (options->readers[kind][i] == 0) continue;
            cases[count++] = (Case){.name = case_names[kind], .readers = options->readers[kind][i],
                                    .is_tail = kind == TAIL, .is_written = kind == WRITTEN, .is_cold = kind == COLD,
                                    .rounds = options->rounds};
        }
    }
    return count;
}

int main(int argc, char **argv) {
    begin_program("read-speed", usage_text);
    static Bench bench;
    static Case cases[CASES_MAX];
    bench.options = (Options){
        .binary = getenv("MARTLET") ? getenv("MARTLET") : ".build/release/martlet", .parent = "/tmp", .rounds = 3,
        .write_mb = 100, .window_ms = 800, .megabytes = 512, .batch_kib = 64, .fetch_kib = 1024,
        .readers = {{1, 5, 20}, {1, 5}, {5}, {1}}, .counts = {3, 2, 1, 1},
    };
    Options *options = &bench.options;
    take_options(options, argc, argv);
    static Report report;
    report = (Report){.cases = cases, .case_count = list_cases(options, cases), .rounds = options->rounds,
                      .megabytes = options->megabytes, .write_rate = options->write_mb, .load_before = load_average(),
                      .fetch_bytes = options->fetch_kib << 10};
    bench.report = &report;
    const char *folder = make_folder(options->parent);
    start_nodes(options->binary, folder, 1, &bench.node);
    snprintf(bench.data, sizeof bench.data, "%s/node-1", folder);
    fill(&bench);
    report.batch_size = bench.closed_batch.batch_size;
    // One that does not count: memory that is touched for the first time is much slower.
    run_tail(&bench, NULL, 0);
    for (int round = 0; round < options->rounds; round++) {
        run_tail(&bench, NULL, round);
        for (int i = 0; i < report.case_count; i++) {
            (cases[i].is_tail ? run_tail : run_closed)(&bench, &cases[i], round);
        }
    }
    (options->json ? print_json : print_table)(&report);
    return 0;
}
