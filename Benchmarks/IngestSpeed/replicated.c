// ingest-speed replicated: three nodes, RF 3, acks=all, and the CPU of all of them beside the loop in C that takes the
// same requests once. ingest-speed press: the same load into a cluster and a topic of somebody else.
#define _GNU_SOURCE
#include "bench.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { LIST_MAX = 8, NODES = 3 };

typedef struct {
    const char *binary, *parent;
    int json, rounds, megabytes, batch_kib;
    int partitions[LIST_MAX], partitions_count;
    int has_mode[2];
} Options;

static const char *const mode_names[] = {"sync", "async"};

typedef struct {
    double megabytes_per_second, cpu_seconds_per_gigabyte, p50_us, p99_us;
} Figures;

/// One number of partitions: the yardstick, and the cluster in each mode.
typedef struct {
    int partitions;
    Figures yardstick[ROUNDS_MAX];
    Figures nodes[2][ROUNDS_MAX];
} Row;

/// The CPU once nothing is left to do: what lies in followers and background threads counts too.
static double settled_cpu(const Server *servers, int count) {
    double before = cpu_seconds_of_all(servers, count), now = before;
    for (int i = 0; i < 50; i++, before = now) {
        usleep(100000);
        now = cpu_seconds_of_all(servers, count);
        if (now - before < 0.01) break;
    }
    return now;
}

static Figures measured(const Load *load, const Server *servers, int count) {
    double cpu = cpu_seconds_of_all(servers, count);
    Loaded loaded = run_load(load);
    cpu = settled_cpu(servers, count) - cpu;
    return (Figures){.megabytes_per_second = loaded.bytes / 1e6 / loaded.seconds, .p50_us = loaded.p50_us,
                     .p99_us = loaded.p99_us, .cpu_seconds_per_gigabyte = cpu / (loaded.bytes / 1e9)};
}

static Load load_of(const Options *options, const char *topic, int partitions, const int *ports) {
    return (Load){.topic = topic, .partitions = partitions, .ports = ports, .acks = -1, .is_fresh = 1,
                  .batch_size_max = (size_t)options->batch_kib << 10, .megabytes = options->megabytes};
}

/// The partitions are dealt to three leaders, as in the cluster, so the requests are the same; one connection has them
/// all.
static Figures run_yardstick(const Server *yardstick, const Options *options, int partitions) {
    int leaders[PARTITIONS_MAX];
    for (int i = 0; i < partitions; i++) leaders[i] = yardstick->port + i % NODES;
    Load load = load_of(options, "replicated", partitions, leaders);
    load.is_one_connection = 1;
    return measured(&load, yardstick, 1);
}

static Figures run_nodes(const Server *nodes, const Options *options, int partitions, int mode) {
    static int made = 0;
    char name[64];
    int ports[PARTITIONS_MAX];
    snprintf(name, sizeof name, "replicated-%d", made++);
    Topic topic = {.name = name, .partitions = partitions, .replicas = NODES, .flush_mode = mode_names[mode]};
    create_topic(&nodes[0], &topic);
    for (int i = 0; i < NODES; i++) leader_ports(&nodes[i], &topic, ports);
    settled_cpu(nodes, NODES);
    Load load = load_of(options, name, partitions, ports);
    Figures figures = measured(&load, nodes, NODES);
    delete_topic(&nodes[0], name);
    settled_cpu(nodes, NODES);
    return figures;
}

static void measure(Row *row, const Server *yardstick, const Server *nodes, const Options *options) {
    // One ahead of those that count: memory that is touched for the first time is much slower.
    for (int round = -1; round < options->rounds; round++) {
        Figures figures = run_yardstick(yardstick, options, row->partitions);
        if (round >= 0) row->yardstick[round] = figures;
        for (int mode = 0; mode < 2; mode++) {
            if (!options->has_mode[mode]) continue;
            figures = run_nodes(nodes, options, row->partitions, mode);
            if (round >= 0) row->nodes[mode][round] = figures;
        }
    }
}

static Figures median(const Figures *all, int count) {
    double columns[4][ROUNDS_MAX];
    for (int i = 0; i < count; i++) {
        columns[0][i] = all[i].megabytes_per_second;
        columns[1][i] = all[i].cpu_seconds_per_gigabyte;
        columns[2][i] = all[i].p50_us;
        columns[3][i] = all[i].p99_us;
    }
    return (Figures){median_of(columns[0], count), median_of(columns[1], count), median_of(columns[2], count),
                     median_of(columns[3], count)};
}

static void print_rows(const Row *rows, const Options *options, double load_before) {
    printf("Replicated: three nodes, RF 3, acks=all, batches of %d KiB (records of 1 KiB), one connection to each\n",
           options->batch_kib);
    printf("leader, %d requests in flight, each with a batch for every partition led there, up to 1 MiB;\n", IN_FLIGHT);
    printf("medians of %d interleaved runs of %d MB, load %.1f before and %.1f after.\n", options->rounds,
           options->megabytes, load_before, load_average());
    printf("Yardstick: the loop in C takes the same requests, once.\n\n");
    printf("%-10s %-10s %8s %10s %7s %9s %9s\n", "partitions", "", "MB/s", "CPU s/GB", "ratio", "p50 ms", "p99 ms");
    for (int i = 0; i < options->partitions_count; i++) {
        Figures yardstick = median(rows[i].yardstick, options->rounds);
        for (int mode = -1; mode < 2; mode++) {
            if (mode >= 0 && !options->has_mode[mode]) continue;
            Figures one = mode < 0 ? yardstick : median(rows[i].nodes[mode], options->rounds);
            printf("%10d %-10s %8.0f %10.3f %7.2f %9.2f %9.2f\n", rows[i].partitions,
                   mode < 0 ? "yardstick" : mode_names[mode], one.megabytes_per_second, one.cpu_seconds_per_gigabyte,
                   one.cpu_seconds_per_gigabyte / yardstick.cpu_seconds_per_gigabyte, one.p50_us / 1e3,
                   one.p99_us / 1e3);
        }
    }
}

static void print_figures(const char *name, const Figures *all, int count) {
    Figures one = median(all, count);
    printf("\"%s\": {\"mb_per_s\": %.1f, \"cpu_s_per_gb\": %.4f, \"p50_us\": %.0f, \"p99_us\": %.0f, "
           "\"cpu_s_per_gb_runs\": [",
           name, one.megabytes_per_second, one.cpu_seconds_per_gigabyte, one.p50_us, one.p99_us);
    for (int i = 0; i < count; i++) printf("%s%.4f", i ? ", " : "", all[i].cpu_seconds_per_gigabyte);
    printf("]}");
}

static void print_rows_json(const Row *rows, const Options *options, double load_before) {
    printf("{\"bench\": \"replicated-light\", \"nodes\": %d, \"batch_bytes\": %d, \"in_flight\": %d, "
           "\"mb_per_run\": %d, \"load_before\": %.2f, \"load_after\": %.2f, \"rows\": [",
           NODES, options->batch_kib << 10, IN_FLIGHT, options->megabytes, load_before, load_average());
    for (int i = 0; i < options->partitions_count; i++) {
        double yardstick = median(rows[i].yardstick, options->rounds).cpu_seconds_per_gigabyte;
        printf("%s\n  {\"partitions\": %d, ", i ? "," : "", rows[i].partitions);
        print_figures("yardstick", rows[i].yardstick, options->rounds);
        for (int mode = 0; mode < 2; mode++) {
            if (!options->has_mode[mode]) continue;
            double cpu = median(rows[i].nodes[mode], options->rounds).cpu_seconds_per_gigabyte;
            printf(", ");
            print_figures(mode_names[mode], rows[i].nodes[mode], options->rounds);
            printf(", \"ratio_cpu_%s\": %.4f", mode_names[mode], cpu / yardstick);
        }
        printf("}");
    }
    printf("\n]}\n");
}

static void take_modes(Options *options, char *list) {
    options->has_mode[0] = options->has_mode[1] = 0;
    for (char *part = strtok(list, ","); part; part = strtok(NULL, ",")) {
        int mode = strcmp(part, "async") == 0;
        if (strcmp(part, mode_names[mode]) != 0) usage();
        options->has_mode[mode] = 1;
    }
}

static void take_options(Options *options, int argc, char **argv) {
    for (int i = 0; i < argc; i++) {
        const char *name = argv[i];
        if (strcmp(name, "--json") == 0) {
            options->json = 1;
            continue;
        }
        if (i + 1 == argc) usage();
        char *value = argv[++i];
        if (strcmp(name, "--rounds") == 0) options->rounds = number(value, 1, ROUNDS_MAX);
        else if (strcmp(name, "--megabytes") == 0) options->megabytes = number(value, 1, 1000);
        else if (strcmp(name, "--batch-kib") == 0) options->batch_kib = number(value, 2, 1024);
        else if (strcmp(name, "--modes") == 0) take_modes(options, value);
        else if (strcmp(name, "--martlet") == 0) options->binary = value;
        else if (strcmp(name, "--folder") == 0) options->parent = value;
        else if (strcmp(name, "--partitions") == 0) {
            options->partitions_count = numbers(value, 1, PARTITIONS_MAX, options->partitions, LIST_MAX);
        } else usage();
    }
}

int replicated(int argc, char **argv) {
    static Row rows[LIST_MAX];
    Options options = {
        .binary = getenv("MARTLET") ? getenv("MARTLET") : ".build/release/martlet", .parent = "/tmp", .rounds = 3,
        .megabytes = 200, .batch_kib = 64, .partitions = {1, 6, 60, 1000}, .partitions_count = 4, .has_mode = {1, 1},
    };
    take_options(&options, argc, argv);
    const char *folder = make_folder(options.parent);
    double load_before = load_average();
    Server yardstick = start_yardstick(folder);
    Server nodes[NODES_MAX];
    start_nodes(options.binary, folder, NODES, nodes);
    for (int i = 0; i < options.partitions_count; i++) {
        rows[i].partitions = options.partitions[i];
        measure(&rows[i], &yardstick, nodes, &options);
    }
    (options.json ? print_rows_json : print_rows)(rows, &options, load_before);
    return 0;
}

int press(int argc, char **argv) {
    if (argc != 7) usage();
    int ports[PARTITIONS_MAX];
    Server node = {.name = "the node", .pid = getpid(), .port = number(argv[0], 1, 65535)};
    Topic topic = {.name = argv[1], .partitions = number(argv[2], 1, PARTITIONS_MAX),
                   .replicas = number(argv[3], 1, NODES_MAX)};
    Load load = {.topic = topic.name, .partitions = topic.partitions, .ports = ports, .acks = -1,
                 .batch_size_max = (size_t)number(argv[4], 2, 1024) << 10, .seconds = number(argv[5], 1, 100000),
                 .megabytes_per_second = number(argv[6], 0, 10000000) / 1e3};
    leader_ports(&node, &topic, ports);
    Loaded loaded = run_load(&load);
    printf("{\"seconds\": %.3f, \"mb_per_s\": %.3f, \"records_per_s\": %.1f, \"requests_per_s\": %.1f, "
           "\"p50_us\": %.0f, \"p99_us\": %.0f, \"longest_us\": %.0f}\n",
           loaded.seconds, loaded.bytes / 1e6 / loaded.seconds, loaded.records / loaded.seconds,
           loaded.requests / loaded.seconds, loaded.p50_us, loaded.p99_us, loaded.longest_us);
    return 0;
}
