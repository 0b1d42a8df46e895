// What was measured, and whether the aim holds.
#include "read.h"

#include <stdio.h>

/// The tail's cost by five readers may be so many times sendfile's.
static const double AIM_RATIO = 1.5;
enum { AIM_READERS = 5 };

typedef double (*Figure)(const Figures *);

static double speed(const Figures *run) { return run->megabytes_per_second; }
static double cpu(const Figures *run) { return run->cpu_seconds_per_gigabyte; }
static double answer(const Figures *run) { return run->bytes_per_answer / 1024; }

static double median(const Figures *runs, int count, Figure figure) {
    double values[ROUNDS_MAX];
    for (int i = 0; i < count; i++) values[i] = figure(&runs[i]);
    return median_of(values, count);
}

static double ratio(const Case *one, const Figures *yardstick) {
    return median(one->node, one->rounds, cpu) / median(yardstick, one->rounds, cpu);
}

static const char *verdict(const Case *one, const Figures *yardstick) {
    return ratio(one, yardstick) <= AIM_RATIO ? "holds" : "FAILS";
}

static void print_row(const Case *one) {
    printf("%-21s %7d %7.0f %7.0f %8.3f %8.3f", one->name, one->readers, median(one->node, one->rounds, speed),
           median(one->node, one->rounds, answer), median(one->node, one->rounds, cpu),
           median(one->loop, one->rounds, cpu));
    if (one->is_tail) {
        printf(" %8.3f %7.2f %7.2f", median(one->paced, one->rounds, cpu), ratio(one, one->loop),
               ratio(one, one->paced));
    } else {
        printf(" %8s %7.2f", "", ratio(one, one->loop));
    }
    if (one->is_cold) printf("  %.0f MB/s by sendfile", median(one->loop, one->rounds, speed));
    printf("\n");
}

void print_table(const Report *report) {
    char rate[64];
    snprintf(rate, sizeof rate, report->write_rate > 0 ? "%.0f MB/s" : "as fast as it goes", report->write_rate);
    printf("Read: one node, one partition, batches of %zu KiB, fetches of up to %d KiB, written at %s;\n",
           (report->batch_size + 1023) / 1024, report->fetch_bytes / 1024, rate);
    printf("closed segments of %d MB; medians of %d rounds, load %.1f before and %.1f after.\n", report->megabytes,
           report->rounds, report->load_before, load_average());
    printf("CPU of reading only: writing cost %.3f s/GB without readers, which is subtracted.\n\n",
           median_of(report->write_cpu, report->rounds));
    printf("%-21s %7s %7s %7s %8s %17s %15s\n", "", "", "", "KiB an", "CPU s/GB", "sendfile CPU s/GB", "ratio");
    printf("%-21s %7s %7s %7s %8s %8s %8s %7s %7s\n", "what is read", "readers", "MB/s", "answer", "node", "loop",
           "in time", "loop", "in time");
    for (int i = 0; i < report->case_count; i++) print_row(&report->cases[i]);
    for (int i = 0; i < report->case_count; i++) {
        const Case *one = &report->cases[i];
        if (one->is_cold && one->pages_left > 0.01) {
            printf("\n! %.0f %% of the pages could not be dropped: not a cold read\n", one->pages_left * 100);
        }
        if (!one->is_tail || one->readers != AIM_READERS) continue;
        printf("\n%s  tail by %d readers: CPU <= %.1f x the sendfile loop: %.2f\n", verdict(one, one->loop),
               AIM_READERS, AIM_RATIO, ratio(one, one->loop));
        printf("%s  tail by %d readers: CPU <= %.1f x sendfile at the same times: %.2f\n", verdict(one, one->paced),
               AIM_READERS, AIM_RATIO, ratio(one, one->paced));
    }
}

static void print_runs(const char *name, const Figures *runs, int count) {
    printf(", \"%s\": {\"mb_per_s\": %.1f, \"answer_kib\": %.1f, \"cpu_s_per_gb\": %.4f", name,
           median(runs, count, speed), median(runs, count, answer), median(runs, count, cpu));
    printf(", \"cpu_s_per_gb_runs\": [");
    for (int run = 0; run < count; run++) printf("%s%.4f", run ? ", " : "", cpu(&runs[run]));
    printf("]}");
}

void print_json(const Report *report) {
    printf("{\"bench\": \"read\", \"rounds\": %d, \"batch_bytes\": %zu, \"fetch_bytes\": %d, \"write_mb_per_s\": %.0f, "
           "\"load_before\": %.2f, \"load_after\": %.2f, \"write_cpu_s_per_gb\": %.4f, \"cases\": [",
           report->rounds, report->batch_size, report->fetch_bytes, report->write_rate, report->load_before,
           load_average(), median_of(report->write_cpu, report->rounds));
    for (int i = 0; i < report->case_count; i++) {
        const Case *one = &report->cases[i];
        printf("%s\n  {\"case\": \"%s\", \"readers\": %d", i ? "," : "", one->name, one->readers);
        print_runs("node", one->node, one->rounds);
        print_runs("sendfile", one->loop, one->rounds);
        if (one->is_tail) print_runs("sendfile_in_time", one->paced, one->rounds);
        printf(", \"ratio_cpu\": %.4f", ratio(one, one->loop));
        if (one->is_tail) printf(", \"ratio_cpu_in_time\": %.4f", ratio(one, one->paced));
        if (one->is_tail && one->readers == AIM_READERS) {
            printf(", \"aim\": {\"ratio_max\": %.1f, \"holds\": %s, \"holds_in_time\": %s}", AIM_RATIO,
                   ratio(one, one->loop) <= AIM_RATIO ? "true" : "false",
                   ratio(one, one->paced) <= AIM_RATIO ? "true" : "false");
        }
        if (one->is_cold) printf(", \"pages_left\": %.4f", one->pages_left);
        printf("}");
    }
    printf("\n]}\n");
}
