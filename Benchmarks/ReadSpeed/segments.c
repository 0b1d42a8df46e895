// A partition's segments on the disk: for the yardstick, which sends the same files, and to drop their pages.
#define _GNU_SOURCE
#include "read.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

static int by_offset(const void *a, const void *b) {
    uint64_t x = ((const Segment *)a)->base_offset, y = ((const Segment *)b)->base_offset;
    return (x > y) - (x < y);
}

int open_segments(const char *data, const char *topic, Segment *segments) {
    char folder[4096], path[4400];
    snprintf(folder, sizeof folder, "%s/%s-0", data, topic);
    DIR *listing = opendir(folder);
    if (listing == NULL) fail("%s cannot be listed: %s", folder, strerror(errno));
    int count = 0;
    for (struct dirent *entry; (entry = readdir(listing)) != NULL;) {
        char *ending;
        uint64_t base = strtoull(entry->d_name, &ending, 10);
        if (ending == entry->d_name || strcmp(ending, ".log") != 0) continue;
        if (count == SEGMENTS_MAX) fail("more than %d segments", SEGMENTS_MAX);
        snprintf(path, sizeof path, "%s/%s", folder, entry->d_name);
        struct stat status;
        int file = open(path, O_RDONLY | O_CLOEXEC);
        if (file < 0 || fstat(file, &status) != 0) fail("%s cannot be opened: %s", path, strerror(errno));
        segments[count++] = (Segment){file, base, status.st_size};
    }
    closedir(listing);
    if (count == 0) fail("no segments in %s", folder);
    qsort(segments, (size_t)count, sizeof *segments, by_offset);
    return count;
}

void close_segments(Segment *segments, int count) {
    for (int i = 0; i < count; i++) close(segments[i].file);
}

static size_t pages_in_memory(const Segment *segment, size_t pages) {
    size_t found = 0;
    unsigned char *flags = malloc(pages);
    void *map = mmap(NULL, (size_t)segment->size, PROT_READ, MAP_SHARED, segment->file, 0);
    if (flags == NULL || map == MAP_FAILED || mincore(map, (size_t)segment->size, flags) != 0) {
        fail("mincore: %s", strerror(errno));
    }
    for (size_t i = 0; i < pages; i++) found += flags[i] & 1;
    munmap(map, (size_t)segment->size);
    free(flags);
    return found;
}

double drop_pages(const Segment *segments, int count) {
    size_t all = 0, left = 0;
    long page = sysconf(_SC_PAGESIZE);
    for (int i = 0; i < count; i++) {
        // Dirty pages stay, whatever is asked.
        if (fdatasync(segments[i].file) != 0) fail("fdatasync: %s", strerror(errno));
        posix_fadvise(segments[i].file, 0, 0, POSIX_FADV_DONTNEED);
    }
    for (int i = 0; i < count; i++) {
        size_t pages = (size_t)((segments[i].size + page - 1) / page);
        if (pages == 0) continue;
        all += pages;
        left += pages_in_memory(&segments[i], pages);
    }
    return all == 0 ? 0 : (double)left / (double)all;
}
