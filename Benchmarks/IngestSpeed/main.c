// ingest-speed: how fast one node takes produced batches, beside a loop in C that does the least one can do with them.
//
// Every figure is a ratio of two runs a second apart, because the machines are noisy. Memory that a process touches for
// the first time is many times slower here than the second time, so each pair of runs has one ahead of it that does not
// count, and a run's bytes are given back before the next.
#define _GNU_SOURCE
#include "bench.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { LIST_MAX = 16, VALUE_BYTES = 1024, RECORD_BYTES_MAX = VALUE_BYTES + 12 };

static const char usage_text[] =
    "usage: ingest-speed [--json] [--rounds N] [--megabytes N] [--batches KIB,KIB,...]    0: none\n"
    "                    [--in-flight N,N,...] [--window-ms N]    requests with one record of 100 bytes; 0: none\n"
    "                    [--martlet BINARY] [--folder DIR]\n"
    "       ingest-speed replicated [--json] [--rounds N] [--megabytes N] [--partitions N,N,...]\n"
    "                    [--modes sync,async] [--batch-kib N] [--martlet BINARY] [--folder DIR]\n"
    "       ingest-speed load PORT KIB MEGABYTES    drives a node that runs already\n"
    "       ingest-speed press PORT TOPIC PARTITIONS REPLICAS BATCH_KIB SECONDS KB_PER_S\n"
    "                    drives a topic that is there already; 0 KB/s: as fast as it goes\n";

typedef struct {
    const char *binary, *parent;
    int json, rounds, megabytes, window_ms;
    int batches[LIST_MAX], batch_count, in_flight[LIST_MAX], in_flight_count;
} Options;

/// `batch_size` 0: requests with one small record, for as long as the window is.
static Run run_once(const Server *server, int is_node, const Measured *one, const Options *options) {
    static int made = 0;
    char topic[64];
    snprintf(topic, sizeof topic, "ingest-%d", made++);
    size_t size = one->batch_size;
    Frame frame = size > 0 ? make_frame(topic, VALUE_BYTES, (int)((size - BATCH_HEADER_BYTES) / RECORD_BYTES_MAX))
                           : make_frame(topic, SMALL_VALUE_BYTES, 1);
    Amount amount = {.frame = &frame, .in_flight = one->in_flight, .seconds = options->window_ms / 1000.0};
    if (size > 0) amount.requests = (uint32_t)((double)options->megabytes * 1e6 / (double)frame.batch_size) + 1;
    Topic made_topic = {.name = topic, .partitions = 1, .replicas = 1, .flush_mode = "async"};
    if (is_node) create_topic(server, &made_topic);
    Run run = drive(server, &amount);
    if (is_node) delete_topic(server, topic);
    free(frame.bytes);
    return run;
}

static void measure(Measured *one, const Server *yardstick, const Server *node, const Options *options) {
    one->rounds = options->rounds;
    run_once(yardstick, 0, one, options);
    run_once(node, 1, one, options);
    for (int round = 0; round < options->rounds; round++) {
        one->yardstick[round] = run_once(yardstick, 0, one, options);
        one->node[round] = run_once(node, 1, one, options);
    }
}

/// For a profiler: one run against a node that somebody else started.
static int load(char **arguments) {
    Server server = {.name = "the node", .pid = getpid(), .port = number(arguments[0], 1, 65535)};
    Measured one = {.batch_size = (size_t)number(arguments[1], 2, 1024) << 10, .in_flight = IN_FLIGHT};
    Options options = {.megabytes = number(arguments[2], 1, 100000)};
    Run run = run_once(&server, 1, &one, &options);
    printf("%.0f MB/s, p50 %.0f us, p99 %.0f us\n", run.megabytes_per_second, run.p50_us, run.p99_us);
    return 0;
}

static int take_list(char *value, int most, int *list) {
    int count = numbers(value, 0, most, list, LIST_MAX);
    return count == 1 && list[0] == 0 ? 0 : count;
}

static void take_options(Options *options, int argc, char **argv) {
    for (int i = 1; i < argc; i++) {
        const char *name = argv[i];
        if (strcmp(name, "--json") == 0) {
            options->json = 1;
            continue;
        }
        if (i + 1 == argc) usage();
        char *value = argv[++i];
        if (strcmp(name, "--rounds") == 0) options->rounds = number(value, 1, ROUNDS_MAX);
        else if (strcmp(name, "--megabytes") == 0) options->megabytes = number(value, 1, 1000);
        else if (strcmp(name, "--window-ms") == 0) options->window_ms = number(value, 50, 60000);
        else if (strcmp(name, "--martlet") == 0) options->binary = value;
        else if (strcmp(name, "--folder") == 0) options->parent = value;
        else if (strcmp(name, "--batches") == 0) options->batch_count = take_list(value, 1024, options->batches);
        else if (strcmp(name, "--in-flight") == 0) {
            options->in_flight_count = take_list(value, IN_FLIGHT_MAX, options->in_flight);
        } else usage();
    }
    for (int i = 0; i < options->batch_count; i++) {
        if (options->batches[i] < 2) usage();
    }
    for (int i = 0; i < options->in_flight_count; i++) {
        if (options->in_flight[i] < 1) usage();
    }
}

int main(int argc, char **argv) {
    begin_program("ingest-speed", usage_text);
    if (argc == 5 && strcmp(argv[1], "load") == 0) return load(argv + 2);
    if (argc > 1 && strcmp(argv[1], "press") == 0) return press(argc - 2, argv + 2);
    if (argc > 1 && strcmp(argv[1], "replicated") == 0) return replicated(argc - 2, argv + 2);
    Options options = {
        .binary = getenv("MARTLET") ? getenv("MARTLET") : ".build/release/martlet", .parent = "/tmp", .rounds = 3,
        .megabytes = 512, .window_ms = 700, .batches = {16, 64, 256, 1024}, .batch_count = 4,
        .in_flight = {1, 5, 64}, .in_flight_count = 3,
    };
    take_options(&options, argc, argv);
    static Measured batches[LIST_MAX], requests[LIST_MAX];
    Report report = {.batches = batches, .batch_count = options.batch_count, .requests = requests,
                     .request_count = options.in_flight_count, .rounds = options.rounds,
                     .megabytes = options.megabytes, .window_ms = options.window_ms, .load_before = load_average()};
    const char *folder = make_folder(options.parent);
    Server yardstick = start_yardstick(folder);
    Server node;
    start_nodes(options.binary, folder, 1, &node);
    for (int i = 0; i < options.batch_count; i++) {
        batches[i] = (Measured){.batch_size = (size_t)options.batches[i] << 10, .in_flight = IN_FLIGHT};
        measure(&batches[i], &yardstick, &node, &options);
    }
    for (int i = 0; i < options.in_flight_count; i++) {
        requests[i] = (Measured){.in_flight = options.in_flight[i]};
        measure(&requests[i], &yardstick, &node, &options);
    }
    (options.json ? print_json : print_table)(&report);
    return 0;
}
