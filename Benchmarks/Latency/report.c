// What was measured, and which aims hold.
#include "latency.h"

#include <stdio.h>
#include <string.h>

typedef struct {
    char text[128];
    double value_us, limit_us;
} Aim;

/// The aim that this case is judged by, if there is one (docs/PERFORMANCE.md).
static int aim_of(const Report *report, Case *one, Aim *aim) {
    if (report->node_count != 3 || strcmp(one->target->topic.flush_mode, "sync") != 0) return 0;
    if (one->rate == 0) {
        snprintf(aim->text, sizeof aim->text, "%d B, 1 in flight: ack p50 <= fdatasync p50 + 250 us", one->value_bytes);
        aim->value_us = percentile(&one->ack_us, 0.5);
        aim->limit_us = percentile(&one->fdatasync_us, 0.5) + 250;
        return 1;
    }
    if (one->rate == 5000) {
        snprintf(aim->text, sizeof aim->text, "%d B, 5,000/s: ack p99 <= 3 x fdatasync p99 + 1 ms", one->value_bytes);
        aim->value_us = percentile(&one->ack_us, 0.99);
        aim->limit_us = 3 * percentile(&one->fdatasync_us, 0.99) + 1000;
        return 1;
    }
    return 0;
}

static void print_row(Case *one) {
    char rate[32];
    snprintf(rate, sizeof rate, one->rate == 0 ? "1 in flight" : "%d/s", one->rate);
    printf("%-5s %5d B %11s", one->target->topic.flush_mode, one->value_bytes, rate);
    Samples *latencies[] = {&one->ack_us, &one->consume_us};
    for (int i = 0; i < 2; i++) {
        printf(" %7.0f %7.0f %7.0f", percentile(latencies[i], 0.5), percentile(latencies[i], 0.99),
               percentile(latencies[i], 0.999));
    }
    printf(" %7.0f %7.0f %7zu %6.1f %6.0f\n", percentile(&one->fdatasync_us, 0.5), percentile(&one->fdatasync_us, 0.99),
           one->records, (double)one->records / (double)one->requests,
           one->node_cpu_seconds / (double)one->records * 1e6);
}

void print_table(const Report *report) {
    Samples round_trips = {0};
    printf("Latency: nodes and replicas %d, acks=all, partitions %d, open loop; %d windows of %.1f s each,\n",
           report->node_count, report->partitions, report->rounds, report->window_seconds);
    printf("load %.1f before and %.1f after. Microseconds, counted from when a record was due.\n", report->load_before,
           load_average());
    printf("fdatasync: the slowest of %d at a time, each behind an append of one record's batch.\n\n",
           report->node_count);
    printf("%-5s %7s %11s %23s %23s %15s %7s %6s %6s\n", "flush", "", "", "produce to ack", "produce to consume",
           "fdatasync", "", "rec./", "CPU us");
    printf("%-5s %7s %11s %7s %7s %7s %7s %7s %7s %7s %7s %7s %6s %6s\n", "mode", "value", "rate", "p50", "p99",
           "p99.9", "p50", "p99", "p99.9", "p50", "p99", "records", "req.", "/rec.");
    for (int i = 0; i < report->case_count; i++) {
        Case *one = &report->cases[i];
        print_row(one);
        for (size_t j = 0; j < one->round_trip_us.count; j++) add_sample(&round_trips, one->round_trip_us.values[j]);
    }
    printf("\nRound trip of a batch with one record over TCP on loopback: p50 %.0f us, p99 %.0f us.\n",
           percentile(&round_trips, 0.5), percentile(&round_trips, 0.99));
    for (int i = 0; i < report->case_count; i++) {
        Aim aim;
        if (!aim_of(report, &report->cases[i], &aim)) continue;
        printf("%s  %s: %.0f, limit %.0f\n", aim.value_us <= aim.limit_us ? "holds" : "FAILS", aim.text, aim.value_us,
               aim.limit_us);
    }
}

static void print_samples(const char *name, Samples *samples) {
    printf(", \"%s\": {\"count\": %zu, \"p50\": %.1f, \"p99\": %.1f, \"p99_9\": %.1f}", name, samples->count,
           percentile(samples, 0.5), percentile(samples, 0.99), percentile(samples, 0.999));
}

void print_json(const Report *report) {
    printf("{\"bench\": \"latency\", \"nodes\": %d, \"partitions\": %d, \"rounds\": %d, \"window_s\": %.3f, "
           "\"load_before\": %.2f, \"load_after\": %.2f, \"cases\": [",
           report->node_count, report->partitions, report->rounds, report->window_seconds, report->load_before,
           load_average());
    for (int i = 0; i < report->case_count; i++) {
        Case *one = &report->cases[i];
        Aim aim;
        printf("%s\n  {\"flush_mode\": \"%s\", \"value_bytes\": %d, \"records_per_s\": %d, \"records\": %zu, "
               "\"requests\": %zu, \"node_cpu_us_per_record\": %.2f",
               i ? "," : "", one->target->topic.flush_mode, one->value_bytes, one->rate, one->records, one->requests,
               one->node_cpu_seconds / (double)one->records * 1e6);
        print_samples("ack_us", &one->ack_us);
        print_samples("consume_us", &one->consume_us);
        print_samples("fdatasync_us", &one->fdatasync_us);
        print_samples("round_trip_us", &one->round_trip_us);
        if (aim_of(report, one, &aim)) {
            printf(", \"aim\": {\"value_us\": %.1f, \"limit_us\": %.1f, \"holds\": %s}", aim.value_us, aim.limit_us,
                   aim.value_us <= aim.limit_us ? "true" : "false");
        }
        printf("}");
    }
    printf("\n]}\n");
}
