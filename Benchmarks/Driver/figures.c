// Samples, and what is said about them.
#include "BenchDriver.h"

#include <stdlib.h>
#include <string.h>

static int rising(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

void add_sample(Samples *samples, double value) {
    if (samples->count == samples->capacity) {
        samples->capacity = samples->capacity * 2 + 1024;
        samples->values = realloc(samples->values, samples->capacity * sizeof *samples->values);
        if (samples->values == NULL) fail("no memory");
    }
    samples->values[samples->count++] = value;
}

double percentile(Samples *samples, double share) {
    if (samples->count == 0) return 0;
    qsort(samples->values, samples->count, sizeof *samples->values, rising);
    size_t index = (size_t)((double)samples->count * share);
    return samples->values[index < samples->count ? index : samples->count - 1];
}

double median_of(const double *values, int count) {
    Samples sorted = {0};
    for (int i = 0; i < count; i++) add_sample(&sorted, values[i]);
    double high = percentile(&sorted, 0.5);
    double median = count % 2 == 1 || count == 0 ? high : (sorted.values[count / 2 - 1] + high) / 2;
    free(sorted.values);
    return median;
}
