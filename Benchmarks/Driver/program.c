// How a benchmark begins, complains and ends.
#define _GNU_SOURCE
#include "BenchDriver.h"

#include <ftw.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

const char *program_name = "bench";
static const char *usage_text = "";
static char folder[4096];
static pid_t owner;

void fail(const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    fprintf(stderr, "%s: ", program_name);
    vfprintf(stderr, format, arguments);
    fputc('\n', stderr);
    va_end(arguments);
    exit(1);
}

static int remove_entry(const char *path, const struct stat *status, int kind, struct FTW *walk) {
    (void)status, (void)kind, (void)walk;
    return remove(path);
}

static void clean_up(void) {
    if (getpid() != owner) return;
    end_servers();
    if (folder[0] != 0) nftw(folder, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
}

static void interrupted(int signal_number) {
    (void)signal_number;
    exit(1);
}

void begin_program(const char *name, const char *text) {
    program_name = name;
    usage_text = text;
    owner = getpid();
    atexit(clean_up);
    signal(SIGINT, interrupted);
    signal(SIGTERM, interrupted);
}

void usage(void) {
    fputs(usage_text, stderr);
    exit(2);
}

int number(const char *text, int least, int most) {
    char *end;
    long value = strtol(text, &end, 10);
    if (*text == 0 || *end != 0 || value < least || value > most) usage();
    return (int)value;
}

int numbers(char *list, int least, int most, int *values, int count_max) {
    int count = 0;
    for (char *part = strtok(list, ","); part && count < count_max; part = strtok(NULL, ",")) {
        values[count++] = number(part, least, most);
    }
    if (count == 0) usage();
    return count;
}

const char *make_folder(const char *parent) {
    snprintf(folder, sizeof folder, "%s/%s-XXXXXX", parent, program_name);
    if (mkdtemp(folder) == NULL) {
        folder[0] = 0;
        fail("no folder can be made in %s", parent);
    }
    return folder;
}

double load_average(void) {
    double load[1] = {0};
    getloadavg(load, 1);
    return load[0];
}
