// ingest-speed: how fast one node takes produced batches, beside a loop in C that does the least one can do with them.
//
// Every figure is a ratio of two runs a second apart, because the machines are noisy. Memory that a process touches for
// the first time is many times slower here than the second time, so each pair of runs has one ahead of it that does not
// count, and a run's bytes are given back before the next.
#define _GNU_SOURCE
#include "bench.h"

#include <dirent.h>
#include <ftw.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static char folder[4096];
static pid_t owner;

static int remove_entry(const char *path, const struct stat *status, int kind, struct FTW *walk) {
    (void)status, (void)kind, (void)walk;
    return remove(path);
}

static void clean_up(void) {
    if (getpid() != owner) return;
    end_servers();
    if (folder[0] != 0) nftw(folder, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
}

static void interrupted(int number) {
    (void)number;
    exit(1);
}

_Noreturn static void usage(void) {
    fputs("usage: ingest-speed [--json] [--rounds N] [--megabytes N] [--batches KIB,KIB,...]\n"
          "                    [--martlet BINARY] [--folder DIR]\n"
          "       ingest-speed load PORT KIB MEGABYTES    drives a node that runs already\n",
          stderr);
    exit(2);
}

static int number(const char *text, int least, int most) {
    char *end;
    long value = strtol(text, &end, 10);
    if (*text == 0 || *end != 0 || value < least || value > most) usage();
    return (int)value;
}

static Run run_once(const Server *server, int is_node, size_t batch_size, int megabytes) {
    static int made = 0;
    char topic[64];
    snprintf(topic, sizeof topic, "ingest-%d", made++);
    Frame frame = make_frame(topic, batch_size);
    if (is_node) create_topic(server, topic);
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
            batches = 0;
            for (char *part = strtok(value, ","); part && batches < 16; part = strtok(NULL, ",")) {
                measured[batches++].batch_size = (size_t)number(part, 2, 1024) << 10;
            }
            if (batches == 0) usage();
        } else usage();
    }
    owner = getpid();
    snprintf(folder, sizeof folder, "%s/ingest-speed-XXXXXX", parent);
    if (mkdtemp(folder) == NULL) {
        folder[0] = 0;
        fail("no folder can be made in %s", parent);
    }
    atexit(clean_up);
    signal(SIGINT, interrupted);
    signal(SIGTERM, interrupted);
    Server yardstick = start_yardstick(folder);
    Server node = start_node(binary, folder);
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
