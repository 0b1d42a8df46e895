// The system calls of CPosix.h, each with its loop around EINTR and short transfers.
#define _GNU_SOURCE
#include "CPosix.h"

#include <errno.h>
#include <fcntl.h>
#include <link.h>
#include <sched.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

int posix_write_both(int fd, const void *head, size_t head_size, const void *body, size_t body_size, int64_t position) {
    struct iovec parts[2] = {{(void *)head, head_size}, {(void *)body, body_size}};
    struct iovec *next = parts;
    int count = 2;
    for (;;) {
        while (count > 0 && next->iov_len == 0) {
            next++;
            count--;
        }
        if (count == 0) return 0;
        ssize_t written = pwritev(fd, next, count, position);
        if (written < 0) {
            if (errno == EINTR) continue;
            return -errno;
        }
        if (written == 0) return -EIO;
        position += written;
        for (int i = 0; i < count && written > 0; i++) {
            size_t part = (size_t)written < next[i].iov_len ? (size_t)written : next[i].iov_len;
            next[i].iov_base = (char *)next[i].iov_base + part;
            next[i].iov_len -= part;
            written -= (ssize_t)part;
        }
    }
}

int64_t posix_read_at(int fd, void *buffer, size_t size, int64_t position) {
    size_t total = 0;
    while (total < size) {
        ssize_t got = pread(fd, (char *)buffer + total, size - total, position + (int64_t)total);
        if (got < 0) {
            if (errno == EINTR) continue;
            return -errno;
        }
        if (got == 0) break;
        total += (size_t)got;
    }
    return (int64_t)total;
}

#ifndef SYS_cachestat
#define SYS_cachestat 451  // On every architecture that Linux 6.5 has.
#endif

// The kernel's struct cachestat_range and struct cachestat.
struct cache_range {
    uint64_t position;
    uint64_t size;
};
struct cache_counts {
    uint64_t pages;
    uint64_t dirty;
    uint64_t under_write_back;
    uint64_t evicted;
    uint64_t recently_evicted;
};

// Before Linux 6.5: the first byte of each sixteenth page and the last byte, read if they are there.
int posix_is_cached_by_samples(int fd, int64_t position, int64_t size) {
    const int64_t step = 64 << 10;
    for (int64_t at = 0;; at = at + step < size ? at + step : size - 1) {
        char byte;
        struct iovec part = {&byte, 1};
        if (preadv2(fd, &part, 1, position + at, RWF_NOWAIT) < 0 && errno == EAGAIN) return 0;
        if (at >= size - 1) return 1;
    }
}

int posix_is_cached(int fd, int64_t position, int64_t size) {
    if (size <= 0) return 1;
    const int64_t page = sysconf(_SC_PAGESIZE);
    struct cache_range range = {(uint64_t)position, (uint64_t)size};
    struct cache_counts counts;
    // Without a page the file's cache may be another's, as on overlayfs: asked for a byte, that one answers.
    if (syscall(SYS_cachestat, fd, &range, &counts, 0) != 0 || counts.pages == 0) return posix_is_cached_by_samples(fd, position, size);
    const int64_t pages = (position + size - 1) / page - position / page + 1;
    return (int64_t)counts.pages >= pages;
}

void posix_bring_in(const char *path, int64_t position, int64_t size) {
    char bytes[64 << 10];
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return;
    for (int64_t end = position + size; position < end;) {
        size_t wanted = end - position < (int64_t)sizeof bytes ? (size_t)(end - position) : sizeof bytes;
        ssize_t got = pread(fd, bytes, wanted, position);
        if (got < 0 && errno == EINTR) continue;
        if (got <= 0) break;
        position += got;
    }
    close(fd);
}

int posix_open_file(const char *path, int create, int truncate_first) {
    int flags = O_RDWR | O_CLOEXEC | (create ? O_CREAT : 0) | (truncate_first ? O_TRUNC : 0);
    for (;;) {
        int fd = open(path, flags, 0644);
        if (fd >= 0) return fd;
        if (errno != EINTR) return -errno;
    }
}

int posix_open_directory(const char *path) {
    for (;;) {
        int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (fd >= 0) return fd;
        if (errno != EINTR) return -errno;
    }
}

int posix_sync_file(int fd) {
    while (fdatasync(fd) != 0) {
        if (errno != EINTR) return -errno;
    }
    return 0;
}

int posix_sync_directory(int fd) {
    while (fsync(fd) != 0) {
        if (errno != EINTR) return -errno;
    }
    return 0;
}

int posix_begin_write_back(int fd, int64_t position, int64_t size) {
    return sync_file_range(fd, position, size, SYNC_FILE_RANGE_WRITE) == 0 ? 0 : -errno;
}

int posix_truncate(int fd, int64_t size) {
    while (ftruncate(fd, size) != 0) {
        if (errno != EINTR) return -errno;
    }
    return 0;
}

int posix_make_room(int fd, int64_t position, int64_t size, int64_t keep_free) {
    struct statvfs status;
    if (fstatvfs(fd, &status) != 0) return -errno;
    if ((int64_t)(status.f_bavail * status.f_frsize) - size < keep_free) return -ENOSPC;
    return fallocate(fd, FALLOC_FL_KEEP_SIZE, position, size) == 0 ? 0 : -errno;
}

int64_t posix_size(int fd) {
    struct stat status;
    return fstat(fd, &status) == 0 ? (int64_t)status.st_size : -errno;
}

int posix_is_directory(const char *path) {
    struct stat status;
    if (lstat(path, &status) != 0) return -errno;
    return S_ISDIR(status.st_mode) ? 1 : 0;
}

int posix_lock_exclusive(int fd) {
    while (flock(fd, LOCK_EX | LOCK_NB) != 0) {
        if (errno != EINTR) return -errno;
    }
    return 0;
}

int64_t posix_raise_open_files_limit(void) {
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0) return 1024;
    if (limit.rlim_cur < limit.rlim_max) {
        rlim_t before = limit.rlim_cur;
        limit.rlim_cur = limit.rlim_max;
        if (setrlimit(RLIMIT_NOFILE, &limit) != 0) return (int64_t)before;
    }
    return limit.rlim_cur > (rlim_t)1 << 40 ? (int64_t)1 << 40 : (int64_t)limit.rlim_cur;
}

static int signal_writer = -1;
static volatile sig_atomic_t stop_was_asked = 0;

static void caught(int number) {
    if (stop_was_asked) _exit(1);
    stop_was_asked = 1;
    int saved = errno;
    unsigned char byte = (unsigned char)number;
    ssize_t ignored = write(signal_writer, &byte, 1);
    (void)ignored;
    errno = saved;
}

/// Whether the loader has written into the code.
static int has_relocated_code(const struct dl_phdr_info *object) {
    for (int i = 0; i < object->dlpi_phnum; i++) {
        if (object->dlpi_phdr[i].p_type != PT_DYNAMIC) continue;
        const ElfW(Dyn) *entry = (const ElfW(Dyn) *)(object->dlpi_addr + object->dlpi_phdr[i].p_vaddr);
        for (; entry->d_tag != DT_NULL; entry++) {
            if (entry->d_tag == DT_TEXTREL) return 1;
            if (entry->d_tag == DT_FLAGS && (entry->d_un.d_val & DF_TEXTREL) != 0) return 1;
        }
    }
    return 0;
}

static int let_go_of_code(struct dl_phdr_info *object, size_t size, void *context) {
    (void)size;
    (void)context;
    // A library has a path. The program itself has none, and its code is what a node runs; nor has the kernel's vdso.
    if (object->dlpi_name == NULL || object->dlpi_name[0] != '/' || has_relocated_code(object)) return 0;
    const uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);
    for (int i = 0; i < object->dlpi_phnum; i++) {
        const ElfW(Phdr) *part = &object->dlpi_phdr[i];
        if (part->p_type != PT_LOAD || (part->p_flags & PF_X) == 0 || (part->p_flags & PF_W) != 0) continue;
        // Whole pages of this part alone: one that it shares with its neighbour stays.
        uintptr_t start = (object->dlpi_addr + part->p_vaddr + page - 1) & ~(page - 1);
        uintptr_t end = (object->dlpi_addr + part->p_vaddr + part->p_memsz) & ~(page - 1);
        // It is no more than a saving: a failure costs nothing.
        if (start < end) (void)madvise((void *)start, end - start, MADV_DONTNEED);
    }
    return 0;
}

void posix_let_go_of_library_code(void) { dl_iterate_phdr(let_go_of_code, NULL); }

// The kernel's struct sched_attr as of Linux 3.14, which every kernel takes; C libraries before glibc 2.41 do not name it.
struct scheduling {
    uint32_t size;
    uint32_t policy;
    uint64_t flags;
    int32_t nice;
    uint32_t priority;
    uint64_t runtime;
    uint64_t deadline;
    uint64_t period;
};

static int get_scheduling(struct scheduling *scheduling) {
    return syscall(SYS_sched_getattr, 0, scheduling, sizeof *scheduling, 0) == 0 ? 0 : -errno;
}

int posix_ask_for_short_turns(uint64_t nanoseconds) {
    struct scheduling scheduling = {0};
    int status = get_scheduling(&scheduling);
    if (status < 0) return status;
    if (scheduling.policy != SCHED_OTHER && scheduling.policy != SCHED_BATCH) return 0;
    scheduling.runtime = nanoseconds;
    return syscall(SYS_sched_setattr, 0, &scheduling, 0) == 0 ? 0 : -errno;
}

int64_t posix_turn_ns(void) {
    struct scheduling scheduling = {0};
    int status = get_scheduling(&scheduling);
    return status < 0 ? status : (int64_t)scheduling.runtime;
}

int posix_catch_stop_signals(void) {
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) != 0) return -errno;
    signal_writer = ends[1];
    struct sigaction action = {0};
    action.sa_handler = caught;
    action.sa_flags = SA_RESTART;
    sigemptyset(&action.sa_mask);
    sigaction(SIGTERM, &action, NULL);
    sigaction(SIGINT, &action, NULL);
    signal(SIGPIPE, SIG_IGN);
    return ends[0];
}

void posix_wake_signal_reader(void) {
    unsigned char byte = 0;
    ssize_t ignored = write(signal_writer, &byte, 1);
    (void)ignored;
}

int posix_next_signal(int descriptor) {
    unsigned char byte;
    for (;;) {
        ssize_t got = read(descriptor, &byte, 1);
        if (got == 1) return byte;
        if (got == 0 || errno != EINTR) return -1;
    }
}
