// What was measured, as tables or as JSON, and whether the aims hold.
#include "bench.h"

#include <stdio.h>

/// A batch of 64 KiB and more may cost so many times the yardstick's CPU; of requests with one small record, 64 in
/// flight, a CPU second must take such a share of the yardstick's.
static const double AIM_CPU_RATIO = 1.25, AIM_REQUESTS_RATIO = 0.6;
enum { AIM_BATCH_SIZE = 64 << 10, AIM_IN_FLIGHT = 64 };

typedef double (*Figure)(const Run *);

static double speed(const Run *run) { return run->megabytes_per_second; }
static double cpu(const Run *run) { return run->cpu_seconds_per_gigabyte; }
static double requests(const Run *run) { return run->requests_per_second; }
static double requests_per_cpu(const Run *run) { return run->requests_per_cpu_second; }
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

static int is_aimed_at(const Measured *one) {
    return one->batch_size > 0 ? one->batch_size >= AIM_BATCH_SIZE : one->in_flight == AIM_IN_FLIGHT;
}

static int holds(const Measured *one) {
    return one->batch_size > 0 ? ratio(one, cpu) <= AIM_CPU_RATIO : ratio(one, requests_per_cpu) >= AIM_REQUESTS_RATIO;
}

/// Of batches for which there is an aim: smaller ones are requests more than bytes.
static int is_bug(const Measured *one) {
    return is_aimed_at(one) && (ratio(one, cpu) > BUG_RATIO || ratio(one, speed) < 1 / BUG_RATIO);
}

static void print_pair(const Measured *one, Figure figure, const char *format) {
    printf(format, median(one->yardstick, one->rounds, figure));
    printf(format, median(one->node, one->rounds, figure));
}

static void print_batches(const Report *report) {
    printf("Batches of records of 1 KiB, %d requests in flight; runs of %d MB.\n\n", IN_FLIGHT, report->megabytes);
    printf("%-10s %15s %15s %15s %6s %6s\n", "", "MB/s", "CPU s/GB", "p99 us", "ratio", "ratio");
    printf("%-10s", "batch");
    for (int i = 0; i < 3; i++) printf(" %7s %7s", "yardst.", "node");
    printf(" %6s %6s\n", "MB/s", "CPU");
    int bugs = 0;
    for (int i = 0; i < report->batch_count; i++) {
        const Measured *one = &report->batches[i];
        printf("%6zu KiB", one->batch_size >> 10);
        print_pair(one, speed, " %7.0f");
        print_pair(one, cpu, " %7.3f");
        print_pair(one, p99, " %7.0f");
        printf(" %6.2f %6.2f%s\n", ratio(one, speed), ratio(one, cpu), is_bug(one) ? " !" : "");
        bugs += is_bug(one);
    }
    if (bugs > 0) printf("\n! more than %.0f times the yardstick: a bug (docs/PERFORMANCE.md)\n", BUG_RATIO);
}

static void print_requests(const Report *report) {
    printf("\nRequests with one record of %d bytes; runs of %.1f s.\n\n", SMALL_VALUE_BYTES, report->window_ms / 1e3);
    printf("%-9s %15s %17s %15s %6s %8s\n", "", "requests/s", "requests/CPU s", "p99 us", "ratio", "ratio");
    printf("%-9s %7s %7s %8s %8s %7s %7s %6s %8s\n", "in flight", "yardst.", "node", "yardst.", "node", "yardst.",
           "node", "req./s", "/CPU s");
    for (int i = 0; i < report->request_count; i++) {
        const Measured *one = &report->requests[i];
        printf("%9d", one->in_flight);
        print_pair(one, requests, " %7.0f");
        print_pair(one, requests_per_cpu, " %8.0f");
        print_pair(one, p99, " %7.0f");
        printf(" %6.2f %8.2f\n", ratio(one, requests), ratio(one, requests_per_cpu));
    }
}

static void print_aims(const Report *report) {
    printf("\n");
    for (int i = 0; i < report->batch_count; i++) {
        const Measured *one = &report->batches[i];
        if (!is_aimed_at(one)) continue;
        printf("%-7s batches of %zu KiB: CPU <= %.2f x the yardstick: %.2f\n", holds(one) ? "holds" : "MISSED",
               one->batch_size >> 10, AIM_CPU_RATIO, ratio(one, cpu));
    }
    for (int i = 0; i < report->request_count; i++) {
        const Measured *one = &report->requests[i];
        if (!is_aimed_at(one)) continue;
        printf("%-7s one record, %d in flight: requests a CPU second >= %.1f x the yardstick: %.2f\n",
               holds(one) ? "holds" : "MISSED", one->in_flight, AIM_REQUESTS_RATIO, ratio(one, requests_per_cpu));
    }
}

void print_table(const Report *report) {
    printf("Ingest: one node, one connection, acks=1, flush.mode=async; medians of %d interleaved runs,\n",
           report->rounds);
    printf("load %.1f before and %.1f after. Yardstick: a loop in C that receives, checks the CRC, appends, answers.\n",
           report->load_before, load_average());
    if (report->batch_count > 0) print_batches(report);
    if (report->request_count > 0) print_requests(report);
    print_aims(report);
}

static void print_runs(const char *name, const Run *runs, int count) {
    const struct {
        const char *name;
        Figure figure;
    } figures[] = {{"mb_per_s", speed}, {"cpu_s_per_gb", cpu}, {"requests_per_s", requests},
                   {"requests_per_cpu_s", requests_per_cpu}, {"p50_us", p50}, {"p99_us", p99}};
    printf("\"%s\": {", name);
    for (size_t i = 0; i < sizeof figures / sizeof figures[0]; i++) {
        printf("%s\"%s\": %.4f, \"%s_runs\": [", i ? ", " : "", figures[i].name, median(runs, count, figures[i].figure),
               figures[i].name);
        for (int run = 0; run < count; run++) printf("%s%.4f", run ? ", " : "", figures[i].figure(&runs[run]));
        printf("]");
    }
    printf("}");
}

static void print_measured(const char *name, const Measured *all, int count) {
    printf("\"%s\": [", name);
    for (int i = 0; i < count; i++) {
        const Measured *one = &all[i];
        printf("%s\n  {\"batch_bytes\": %zu, \"in_flight\": %d, ", i ? "," : "", one->batch_size, one->in_flight);
        print_runs("yardstick", one->yardstick, one->rounds);
        printf(", ");
        print_runs("node", one->node, one->rounds);
        printf(", \"ratio_mb_per_s\": %.4f, \"ratio_cpu\": %.4f, \"ratio_requests_per_cpu_s\": %.4f, \"is_bug\": %s",
               ratio(one, speed), ratio(one, cpu), ratio(one, requests_per_cpu), is_bug(one) ? "true" : "false");
        if (is_aimed_at(one)) printf(", \"holds\": %s", holds(one) ? "true" : "false");
        printf("}");
    }
    printf("\n]");
}

void print_json(const Report *report) {
    printf("{\"bench\": \"ingest\", \"mb_per_run\": %d, \"load_before\": %.2f, \"load_after\": %.2f, ",
           report->megabytes, report->load_before, load_average());
    print_measured("batches", report->batches, report->batch_count);
    printf(", ");
    print_measured("requests", report->requests, report->request_count);
    printf("}\n");
}
