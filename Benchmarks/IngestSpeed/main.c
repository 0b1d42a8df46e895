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

static const char usage_text[] =
    "usage: ingest-speed [--json] [--rounds N] [--megabytes N] [--batches KIB,KIB,...]\n"
    "                    [--martlet BINARY] [--folder DIR]\n"
    "       ingest-speed load PORT KIB MEGABYTES    drives a node that runs already\n";

static Run run_once(const Server *server, int is_node, size_t batch_size, int megabytes) {
    static int made = 0;
    char topic[64];
    snprintf(topic, sizeof topic, "ingest-%d", made++);
    Frame frame = make_frame(topic, batch_size);
    Topic made_topic = {.name = topic, .partitions = 1, .replicas = 1, .flush_mode = "async"};
    if (is_node) create_topic(server, &made_topic);
    Run run = drive(server, &frame, megabytes);
    if (is_node) delete_topic(server, topic);
    free(frame.bytes);
    return run;
}

/// For a profiler: one run against a node that somebody else started.
static int load(char **arguments) {
    Server server = {.name = "the node", .pid = getpid(), .port = number(arguments[0], 1, 65535)};
    size_t batch_size = (size_t)number(arguments[1], 2, 1024) << 10;
    Run run = run_once(&server, 1, batch_size, number(arguments[2], 1, 100000));
    printf("%.0f MB/s, p50 %.0f us, p99 %.0f us\n", run.megabytes_per_second, run.p50_us, run.p99_us);
    return 0;
}

int main(int argc, char **argv) {
    begin_program("ingest-speed", usage_text);
    if (argc == 5 && strcmp(argv[1], "load") == 0) return load(argv + 2);
    const char *binary = getenv("MARTLET") ? getenv("MARTLET") : ".build/release/martlet";
    const char *parent = "/tmp";
    int json = 0, rounds = 3, megabytes = 512, batches = 3;
    static Measured measured[16] = {{.batch_size = 64 << 10}, {.batch_size = 256 << 10}, {.batch_size = 1 << 20}};
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--json") == 0) {
            json = 1;
            continue;
        }
        if (i + 1 == argc) usage();
        char *value = argv[++i];
        if (strcmp(argv[i - 1], "--rounds") == 0) rounds = number(value, 1, ROUNDS_MAX);
        else if (strcmp(argv[i - 1], "--megabytes") == 0) megabytes = number(value, 1, 1000);
        else if (strcmp(argv[i - 1], "--martlet") == 0) binary = value;
        else if (strcmp(argv[i - 1], "--folder") == 0) parent = value;
        else if (strcmp(argv[i - 1], "--batches") == 0) {
            int sizes[16];
            batches = numbers(value, 2, 1024, sizes, 16);
            for (int batch = 0; batch < batches; batch++) measured[batch].batch_size = (size_t)sizes[batch] << 10;
        } else usage();
    }
    const char *folder = make_folder(parent);
    Server yardstick = start_yardstick(folder);
    Server node;
    start_nodes(binary, folder, 1, &node);
    for (int i = 0; i < batches; i++) {
        size_t size = measured[i].batch_size;
        measured[i].rounds = rounds;
        run_once(&yardstick, 0, size, megabytes);
        run_once(&node, 1, size, megabytes);
        for (int round = 0; round < rounds; round++) {
            measured[i].yardstick[round] = run_once(&yardstick, 0, size, megabytes);
            measured[i].node[round] = run_once(&node, 1, size, megabytes);
        }
    }
    (json ? print_json : print_table)(measured, batches, megabytes);
    return 0;
}
