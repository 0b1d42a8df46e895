// latency-speed: how long a record takes to its acknowledgement and to a consumer, beside what the disk and the
// loopback take without a log between them.
//
// The machines are noisy, so every case runs in several short windows, each followed by a window of its yardsticks, and
// what is judged is the one beside the other. Records are sent in an open loop (window.c). The driver is one thread,
// with a connection to produce and one to fetch for each partition; up to five requests are in flight on a connection,
// and records that are due when a request leaves share its batch.
#define _GNU_SOURCE
#include "latency.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { LIST_MAX = 8, CASES_MAX = 2 * LIST_MAX * LIST_MAX };

static const char usage_text[] =
    "usage: latency-speed [--json] [--nodes 1|3] [--partitions N] [--modes sync,async]\n"
    "                     [--rates N,N,...]      records a second; 0: one record in flight\n"
    "                     [--values BYTES,...] [--rounds N] [--window-ms N] [--no-consumer]\n"
    "                     [--martlet BINARY] [--folder DIR]\n";

typedef struct {
    const char *binary, *parent;
    int json, nodes, partitions, rounds, window_ms, is_consumed;
    int modes[2], mode_count, rates[LIST_MAX], rate_count, values[LIST_MAX], value_count;
} Options;

static const char *const mode_names[] = {"sync", "async"};

static void take_modes(Options *options, char *list) {
    options->mode_count = 0;
    for (char *part = strtok(list, ","); part && options->mode_count < 2; part = strtok(NULL, ",")) {
        int mode = strcmp(part, "async") == 0;
        if (strcmp(part, mode_names[mode]) != 0) usage();
        options->modes[options->mode_count++] = mode;
    }
    if (options->mode_count == 0) usage();
}

static void take_options(Options *options, int argc, char **argv) {
    for (int i = 1; i < argc; i++) {
        const char *name = argv[i];
        int *values = options->values, *rates = options->rates;
        if (strcmp(name, "--json") == 0) {
            options->json = 1;
            continue;
        }
        if (strcmp(name, "--no-consumer") == 0) {
            options->is_consumed = 0;
            continue;
        }
        if (i + 1 == argc) usage();
        char *value = argv[++i];
        if (strcmp(name, "--nodes") == 0) options->nodes = number(value, 1, NODES_MAX);
        else if (strcmp(name, "--partitions") == 0) options->partitions = number(value, 1, PARTITIONS_MAX);
        else if (strcmp(name, "--rounds") == 0) options->rounds = number(value, 1, 1000);
        else if (strcmp(name, "--window-ms") == 0) options->window_ms = number(value, 100, 60000);
        else if (strcmp(name, "--modes") == 0) take_modes(options, value);
        else if (strcmp(name, "--rates") == 0) options->rate_count = numbers(value, 0, 1000000, rates, LIST_MAX);
        else if (strcmp(name, "--values") == 0) options->value_count = numbers(value, 1, 65536, values, LIST_MAX);
        else if (strcmp(name, "--martlet") == 0) options->binary = value;
        else if (strcmp(name, "--folder") == 0) options->parent = value;
        else usage();
    }
}

static void make_target(Target *target, const Options *options, int mode, const Server *nodes) {
    static const char *const topics[] = {"latency-sync", "latency-async"};
    *target = (Target){.nodes = nodes, .node_count = options->nodes, .is_consumed = options->is_consumed};
    target->topic = (Topic){.name = topics[mode], .partitions = options->partitions, .replicas = options->nodes,
                            .flush_mode = mode_names[mode]};
    create_topic(&nodes[0], &target->topic);
    leader_ports(&nodes[0], &target->topic, target->leader_ports);
}

/// The bytes of a batch with one record of this case: what each replica appends, and what a round trip carries.
static size_t batch_bytes(const Case *one) {
    const char *topic = one->target->topic.name;
    unsigned char *frame = malloc(produce_capacity(topic, (size_t)one->value_bytes, 1));
    size_t size;
    if (frame == NULL) fail("no memory");
    produce_request(frame, topic, 0, -1, 0, (size_t)one->value_bytes, 1, &size);
    free(frame);
    return size;
}

static void run_rounds(Case *cases, int count, const Options *options, const char *folder) {
    double seconds = options->window_ms / 1000.0;
    for (int round = 0; round < options->rounds; round++) {
        for (int i = 0; i < count; i++) {
            Case *one = &cases[i];
            run_window(one, seconds);
            measure_fdatasyncs(folder, options->nodes, batch_bytes(one), seconds / 4, &one->fdatasync_us);
            measure_round_trips(batch_bytes(one), seconds / 32, &one->round_trip_us);
        }
    }
}

int main(int argc, char **argv) {
    begin_program("latency-speed", usage_text);
    Options options = {
        .binary = getenv("MARTLET") ? getenv("MARTLET") : ".build/release/martlet", .parent = "/tmp", .nodes = 3,
        .partitions = 1, .rounds = 3, .window_ms = 700, .is_consumed = 1, .modes = {0, 1}, .mode_count = 2,
        .rates = {0, 1000, 5000, 20000}, .rate_count = 4, .values = {100, 1024}, .value_count = 2,
    };
    take_options(&options, argc, argv);
    const char *folder = make_folder(options.parent);
    static Case cases[CASES_MAX];
    Server nodes[NODES_MAX];
    Target targets[2];
    int count = 0;
    double load = load_average();
    start_nodes(options.binary, folder, options.nodes, nodes);
    for (int m = 0; m < options.mode_count; m++) {
        make_target(&targets[m], &options, options.modes[m], nodes);
        for (int v = 0; v < options.value_count; v++) {
            for (int r = 0; r < options.rate_count; r++) {
                cases[count++] =
                    (Case){.target = &targets[m], .value_bytes = options.values[v], .rate = options.rates[r]};
            }
        }
    }
    run_rounds(cases, count, &options, folder);
    Report report = {.cases = cases, .case_count = count, .node_count = options.nodes, .partitions = options.partitions,
                     .rounds = options.rounds, .window_seconds = options.window_ms / 1000.0, .load_before = load};
    (options.json ? print_json : print_table)(&report);
    return 0;
}
