// What was measured, as a table or as JSON.
#include "bench.h"

#include <stdio.h>

typedef double (*Figure)(const Run *);

static double speed(const Run *run) { return run->megabytes_per_second; }
static double cpu(const Run *run) { return run->cpu_seconds_per_gigabyte; }
static double p50(const Run *run) { return run->p50_us; }
static double p99(const Run *run) { return run->p99_us; }

static double median(const Run *runs, int count, Figure figure) {
    double values[ROUNDS_MAX];
    for (int i = 0; i < count; i++) values[i] = figure(&runs[i]);
    return median_of(values, count);
}

static double ratio(const Measured *one, Figure figure) {
    return median(one->node, one->rounds, figure) / median(one->yardstick, one->rounds, figure);
}

static int is_bug(const Measured *one) { return ratio(one, cpu) > BUG_RATIO || ratio(one, speed) < 1 / BUG_RATIO; }

void print_table(const Measured *measured, int count, int megabytes) {
    printf("Ingest: one connection, %d requests in flight, records of 1 KiB, acks=1,\n", IN_FLIGHT);
    printf("flush.mode=async; medians of %d interleaved runs of %d MB, load %.1f.\n", measured[0].rounds, megabytes,
           load_average());
    printf("Yardstick: a loop in C that receives, checks the CRC, appends, answers.\n\n");
    printf("%-10s %16s %16s %16s %6s %6s\n", "", "MB/s", "CPU s/GB", "p99 us", "ratio", "ratio");
    printf("%-10s %8s %7s %8s %7s %8s %7s %6s %6s\n", "batch", "yardst.", "node", "yardst.", "node", "yardst.", "node",
           "MB/s", "CPU");
    int bugs = 0;
    for (int i = 0; i < count; i++) {
        const Measured *one = &measured[i];
        printf("%6zu KiB %8.0f %7.0f %8.3f %7.3f %8.0f %7.0f %6.2f %6.2f%s\n", one->batch_size >> 10,
               median(one->yardstick, one->rounds, speed), median(one->node, one->rounds, speed),
               median(one->yardstick, one->rounds, cpu), median(one->node, one->rounds, cpu),
               median(one->yardstick, one->rounds, p99), median(one->node, one->rounds, p99), ratio(one, speed),
               ratio(one, cpu), is_bug(one) ? " !" : "");
        bugs += is_bug(one);
    }
    if (bugs > 0) printf("\n! more than %.0f times the yardstick: a bug (docs/PERFORMANCE.md)\n", BUG_RATIO);
}

static void print_runs(const char *name, const Run *runs, int count) {
    const struct {
        const char *name;
        Figure figure;
    } figures[] = {{"mb_per_s", speed}, {"cpu_s_per_gb", cpu}, {"p50_us", p50}, {"p99_us", p99}};
    printf("\"%s\": {", name);
    for (int i = 0; i < 4; i++) {
        printf("%s\"%s\": %.4f, \"%s_runs\": [", i ? ", " : "", figures[i].name, median(runs, count, figures[i].figure),
               figures[i].name);
        for (int run = 0; run < count; run++) printf("%s%.4f", run ? ", " : "", figures[i].figure(&runs[run]));
        printf("]");
    }
    printf("}");
}

void print_json(const Measured *measured, int count, int megabytes) {
    printf("{\"bench\": \"ingest\", \"in_flight\": %d, \"mb_per_run\": %d, \"batches\": [", IN_FLIGHT, megabytes);
    for (int i = 0; i < count; i++) {
        const Measured *one = &measured[i];
        printf("%s\n  {\"batch_bytes\": %zu, ", i ? "," : "", one->batch_size);
        print_runs("yardstick", one->yardstick, one->rounds);
        printf(", ");
        print_runs("node", one->node, one->rounds);
        printf(", \"ratio_mb_per_s\": %.4f, \"ratio_cpu\": %.4f, \"is_bug\": %s}", ratio(one, speed), ratio(one, cpu),
               is_bug(one) ? "true" : "false");
    }
    printf("\n]}\n");
}
