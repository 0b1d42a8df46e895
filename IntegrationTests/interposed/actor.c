// Does to files what it reads from standard input, one call a line, and answers each with its result or its errno: with it
// t69_interposed_disk.py proves the interposed disk before anything is proved with it.
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

static int with(const char *path, int flags, long (*call)(int, const char *, const char *), const char *a, const char *b) {
    int fd = open(path, flags, 0644);
    if (fd < 0) return -1;
    long result = call(fd, a, b);
    int saved = errno;
    close(fd);
    errno = saved;
    return (int)result;
}

static long put(int fd, const char *at, const char *text) { return pwrite(fd, text, strlen(text), atol(at)); }
static long put_both(int fd, const char *at, const char *text) {
    size_t half = strlen(text) / 2;
    struct iovec parts[2] = {{(void *)text, half}, {(void *)(text + half), strlen(text) - half}};
    return pwritev(fd, parts, 2, atol(at));
}
static long append(int fd, const char *text, const char *none) { return (void)none, write(fd, text, strlen(text)); }
static long cut(int fd, const char *size, const char *none) { return (void)none, ftruncate(fd, atol(size)); }
static long sync_all(int fd, const char *a, const char *b) { return (void)a, (void)b, fsync(fd); }
static long sync_contents(int fd, const char *a, const char *b) { return (void)a, (void)b, fdatasync(fd); }
static long sync_tree(int fd, const char *a, const char *b) { return (void)a, (void)b, syncfs(fd); }
static long write_back(int fd, const char *a, const char *b) {
    return (void)a, (void)b, sync_file_range(fd, 0, 1 << 20, SYNC_FILE_RANGE_WRITE);
}
static long nothing(int fd, const char *a, const char *b) { return (void)fd, (void)a, (void)b, 0; }

static long perform(const char *verb, const char *path, const char *a, const char *b) {
    struct timespec now;
    struct timeval day;
    if (!strcmp(verb, "create")) return with(path, O_RDWR | O_CREAT, nothing, a, b);
    if (!strcmp(verb, "empty")) return with(path, O_RDWR | O_CREAT | O_TRUNC, nothing, a, b);
    if (!strcmp(verb, "put")) return with(path, O_RDWR, put, a, b);
    if (!strcmp(verb, "putv")) return with(path, O_RDWR, put_both, a, b);
    if (!strcmp(verb, "append")) return with(path, O_RDWR | O_APPEND, append, a, b);
    if (!strcmp(verb, "cut")) return with(path, O_RDWR, cut, a, b);
    if (!strcmp(verb, "fsync")) return with(path, O_RDWR, sync_all, a, b);
    if (!strcmp(verb, "fdatasync")) return with(path, O_RDWR, sync_contents, a, b);
    if (!strcmp(verb, "writeback")) return with(path, O_RDWR, write_back, a, b);
    if (!strcmp(verb, "syncdir")) return with(path, O_RDONLY | O_DIRECTORY, sync_all, a, b);
    if (!strcmp(verb, "syncfs")) return with(path, O_RDONLY | O_DIRECTORY, sync_tree, a, b);
    if (!strcmp(verb, "rename")) return rename(path, a);
    if (!strcmp(verb, "unlink")) return unlink(path);
    if (!strcmp(verb, "mkdir")) return mkdir(path, 0755);
    if (!strcmp(verb, "rmdir")) return rmdir(path);
    if (!strcmp(verb, "time")) return time(NULL);
    if (!strcmp(verb, "clock")) return clock_gettime(CLOCK_REALTIME, &now) == 0 ? now.tv_sec : -1;
    if (!strcmp(verb, "day")) return gettimeofday(&day, NULL) == 0 ? day.tv_sec : -1;
    if (!strcmp(verb, "monotonic")) return clock_gettime(CLOCK_MONOTONIC, &now) == 0 ? now.tv_sec : -1;
    errno = ENOSYS;
    return -1;
}

int main(void) {
    char line[1 << 16], verb[32], path[256], a[256], b[1 << 15];
    while (fgets(line, sizeof line, stdin)) {
        a[0] = b[0] = path[0] = 0;
        if (sscanf(line, "%31s %255s %255s %32767s", verb, path, a, b) < 1) continue;
        errno = 0;
        long result = perform(verb, path, a, b);
        printf("%ld\n", result < 0 ? -(long)errno : result);
        fflush(stdout);
    }
    return 0;
}
