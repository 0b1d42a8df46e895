// A disk that can lose power, beneath a real process (LD_PRELOAD). It knows for every file and directory of one tree what a
// sync has made durable; when the test kills the process, power.py puts the tree back to that, give or take what was in flight.
// It also makes writes and syncs late or failing and moves the wall clock, on command through a page shared with the test.
//
// The tree (DISK_ROOT) holds what the process sees: all that it wrote. Beside it, in DISK_SIDE, by inode number N:
//   N.live      another link to the file, so that it outlives an unlink and its number is not given away again
//   N.durable   its contents as of its last sync; without this file, the contents did not change since the last power cut
//   N.dir       what happened to a directory's names: B(efore), L(ink), U(nlink), R(ename), and S(ync) of so many bytes
//               of this list
//   N.gone      a removed directory
// So fsync of a file copies what changed to N.durable, and fsync of a directory writes an S. A new file's name needs the sync of
// its directory, as POSIX has it and ext4 is kinder. sync_file_range promises nothing. Mapped writes are not seen.
#define _GNU_SOURCE
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

// The page shared with the test (DISK_FAULTS); power.py knows the same layout.
struct faults {
    int64_t clock_offset_ns;
    uint32_t lies;                // syncs answer success and make nothing durable
    int32_t sync_errno;           // of files and directories that match
    int32_t sync_failures;        // how many more fail; -1: all
    int32_t write_errno;
    int32_t write_failures;
    int32_t name_errno;           // creating, renaming
    uint32_t sync_delay_ms;
    uint32_t write_delay_ms;
    uint64_t syncs, failed_syncs, writes, failed_writes, delayed;  // counted here, for the test to see
    char match[128];              // a part of the path; empty: all
};

struct object {
    uint64_t number;
    struct object *next;
    char *path;
    int is_directory;
    int is_changed;               // N.durable exists
    off_t from, to;               // what changed since the last sync
    pthread_mutex_t change, sync; // `sync` is held over a whole sync: a second one must not answer before the first is done
};

#define DESCRIPTORS 65536
static struct object *volatile descriptors[DESCRIPTORS];
static struct object *objects[4096];
static pthread_mutex_t objects_lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_mutex_t names_lock = PTHREAD_MUTEX_INITIALIZER;
static char root[PATH_MAX], side[PATH_MAX];
static size_t root_size;
static struct faults none, *faults = &none;

#define REAL(name) \
    static __typeof__(&name) real; \
    if (!real) real = (__typeof__(&name))dlsym(RTLD_NEXT, #name)

static void fail(const char *what, const char *path) {
    dprintf(2, "the interposed disk: %s: %s (errno %d)\n", what, path, errno);
    _exit(99);
}

__attribute__((constructor)) static void begin(void) {
    const char *shared = getenv("DISK_FAULTS"), *tree = getenv("DISK_ROOT"), *beside = getenv("DISK_SIDE");
    if (shared) {
        int fd = open(shared, O_RDWR | O_CLOEXEC);
        void *page = fd < 0 ? MAP_FAILED : mmap(NULL, sizeof none, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
        if (page == MAP_FAILED) fail("no page of faults", shared);
        close(fd);
        faults = page;
    }
    if (tree && beside) {
        if (mkdir(beside, 0755) != 0 && errno != EEXIST) fail("no side directory", beside);
        snprintf(side, sizeof side, "%s", beside);
        snprintf(root, sizeof root, "%s", tree);
        root_size = strlen(root);
    }
}

// MARK: The real calls


static int real_open(const char *path, int flags, mode_t mode) { REAL(openat); return real(AT_FDCWD, path, flags, mode); }
static int real_close(int fd) { REAL(close); return real(fd); }
static ssize_t real_write(int fd, const void *bytes, size_t size) { REAL(write); return real(fd, bytes, size); }
static int real_rename(const char *a, const char *b) { REAL(renameat); return real(AT_FDCWD, a, AT_FDCWD, b); }
static int real_truncate(int fd, off_t size) { REAL(ftruncate); return real(fd, size); }
static ssize_t real_pwrite(int fd, const void *bytes, size_t size, off_t at) { REAL(pwrite); return real(fd, bytes, size, at); }

// MARK: Where a path lies, and what it is

/// The absolute path with its directory's links resolved, when it lies in the tree (or is the tree); else 0.
static int locate(int at, const char *path, char *full) {
    if (!root_size || !path || !*path) return 0;
    char whole[PATH_MAX], parent[PATH_MAX];
    if (path[0] == '/') {
        snprintf(whole, sizeof whole, "%s", path);
    } else {
        char base[PATH_MAX] = ".";
        if (at != AT_FDCWD) {
            char link[64];
            snprintf(link, sizeof link, "/proc/self/fd/%d", at);
            ssize_t size = readlink(link, base, sizeof base - 1);
            if (size < 0) return 0;
            base[size] = 0;
        }
        if (snprintf(whole, sizeof whole, "%s/%s", base, path) >= (int)sizeof whole) return 0;
    }
    size_t size = strlen(whole);
    while (size > 1 && whole[size - 1] == '/') whole[--size] = 0;
    char *slash = strrchr(whole, '/');
    if (!slash || !slash[1]) return 0;
    *slash = 0;
    if (!realpath(whole[0] ? whole : "/", parent)) return 0;
    if (snprintf(full, PATH_MAX, "%s/%s", strcmp(parent, "/") ? parent : "", slash + 1) >= PATH_MAX) return 0;
    return strncmp(full, root, root_size) == 0 && (full[root_size] == '/' || full[root_size] == 0);
}

static void beside(char *path, uint64_t number, const char *kind) {
    snprintf(path, PATH_MAX, "%s/%llu.%s", side, (unsigned long long)number, kind);
}

static struct object *object_of(const struct stat *status, const char *path) {
    pthread_mutex_lock(&objects_lock);
    struct object **place = &objects[status->st_ino % 4096], *found = *place;
    while (found && found->number != status->st_ino) found = found->next;
    if (!found) {
        found = calloc(1, sizeof *found);
        found->number = status->st_ino;
        found->path = strdup(path);
        found->is_directory = S_ISDIR(status->st_mode);
        char durable[PATH_MAX];
        beside(durable, found->number, "durable");
        // A process before this one wrote to it: who knows what it synced.
        found->is_changed = access(durable, F_OK) == 0;
        found->to = found->is_changed ? INT64_MAX : 0;
        pthread_mutex_init(&found->change, NULL);
        pthread_mutex_init(&found->sync, NULL);
        found->next = *place;
        *place = found;
    }
    pthread_mutex_unlock(&objects_lock);
    return found;
}

static struct object *object_at(int fd) { return fd >= 0 && fd < DESCRIPTORS ? descriptors[fd] : NULL; }

static void note(int fd, struct object *object) {
    if (fd >= DESCRIPTORS) fail("too many descriptors", object ? object->path : "");
    if (fd >= 0) descriptors[fd] = object;
}

// MARK: Contents

/// Copies [begin, end) as far as the file goes, and makes the copy `size_max` long, or as long as the file if that is shorter.
static void copy(const char *from, const char *to, off_t begin, off_t end, off_t size_max, int flags) {
    int in = real_open(from, O_RDONLY | O_CLOEXEC, 0), out = real_open(to, O_WRONLY | O_CLOEXEC | flags, 0644);
    if (in < 0 || out < 0) fail("cannot copy", from);
    static __thread char buffer[1 << 18];
    struct stat status;
    if (fstat(in, &status) != 0) fail("cannot stat", from);
    if (status.st_size < size_max) size_max = status.st_size;
    if (real_truncate(out, size_max) != 0) fail("cannot cut", to);
    if (end > size_max) end = size_max;
    while (begin < end) {
        size_t size = end - begin < (off_t)sizeof buffer ? (size_t)(end - begin) : sizeof buffer;
        ssize_t got = pread(in, buffer, size, begin);
        if (got == 0) break;
        if (got < 0 || real_pwrite(out, buffer, (size_t)got, begin) != got) fail("cannot copy", from);
        begin += got;
    }
    real_close(in);
    real_close(out);
}

static void keep_alive(uint64_t number, const char *path) {
    char live[PATH_MAX];
    beside(live, number, "live");
    if (linkat(AT_FDCWD, path, AT_FDCWD, live, AT_SYMLINK_FOLLOW) != 0 && errno != EEXIST) fail("cannot link", path);
}

/// Before the first change: what there is now is what was durable.
static void will_change(struct object *object, const char *path) {
    pthread_mutex_lock(&object->change);
    if (!object->is_changed) {
        char live[PATH_MAX], half[PATH_MAX], durable[PATH_MAX];
        keep_alive(object->number, path);
        beside(live, object->number, "live");
        beside(half, object->number, "half");
        beside(durable, object->number, "durable");
        copy(live, half, 0, INT64_MAX, INT64_MAX, O_CREAT | O_TRUNC);
        if (real_rename(half, durable) != 0) fail("cannot rename", half);
        object->is_changed = 1;
    }
    pthread_mutex_unlock(&object->change);
}

static void descriptor_will_change(int fd, struct object *object) {
    char path[64];
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    will_change(object, path);
}

static void changed(struct object *object, off_t from, off_t to) {
    pthread_mutex_lock(&object->change);
    if (object->to <= object->from) {
        object->from = from;
        object->to = to;
    } else {
        if (from < object->from) object->from = from;
        if (to > object->to) object->to = to;
    }
    pthread_mutex_unlock(&object->change);
}

// MARK: Faults

static int matches(const struct object *object) { return !faults->match[0] || strstr(object->path, faults->match); }

static void delay(uint32_t ms) {
    if (!ms) return;
    __atomic_add_fetch(&faults->delayed, 1, __ATOMIC_RELAXED);
    struct timespec time = {ms / 1000, (long)(ms % 1000) * 1000000};
    while (nanosleep(&time, &time) != 0 && errno == EINTR) {}
}

static int take_failure(int32_t number, int32_t *left) {
    if (!number) return 0;
    for (;;) {
        int32_t seen = __atomic_load_n(left, __ATOMIC_SEQ_CST);
        if (seen == 0) return 0;
        if (seen < 0 || __atomic_compare_exchange_n(left, &seen, seen - 1, 0, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST)) {
            return number;
        }
    }
}

/// 0, or the errno that a write to the object gets.
static int write_fault(struct object *object) {
    __atomic_add_fetch(&faults->writes, 1, __ATOMIC_RELAXED);
    if (!matches(object)) return 0;
    delay(faults->write_delay_ms);
    int number = take_failure(faults->write_errno, &faults->write_failures);
    if (number) __atomic_add_fetch(&faults->failed_writes, 1, __ATOMIC_RELAXED);
    return number;
}

static int name_fault(const char *path) {
    return faults->name_errno && (!faults->match[0] || strstr(path, faults->match)) ? faults->name_errno : 0;
}

// MARK: Names

/// Says what happened to a directory's names. Its first line is preceded by what it held.
static void tell(const char *path, const char *line) {
    char log[PATH_MAX], directory[PATH_MAX];
    struct stat status;
    snprintf(directory, sizeof directory, "%s", path);
    if (lstat(directory, &status) != 0) fail("no directory", directory);
    beside(log, status.st_ino, "dir");
    int fd = real_open(log, O_WRONLY | O_APPEND | O_CLOEXEC, 0);
    if (fd < 0) {
        char half[PATH_MAX], before[PATH_MAX + 64];
        beside(half, status.st_ino, "half");
        fd = real_open(half, O_WRONLY | O_CREAT | O_TRUNC | O_APPEND | O_CLOEXEC, 0644);
        DIR *stream = opendir(directory);
        if (fd < 0 || !stream) fail("cannot list", directory);
        for (struct dirent *entry; (entry = readdir(stream));) {
            if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0) continue;
            int size = snprintf(before, sizeof before, "B %llu %s\n", (unsigned long long)entry->d_ino, entry->d_name);
            if (real_write(fd, before, (size_t)size) != size) fail("cannot write", half);
        }
        closedir(stream);
        if (real_rename(half, log) != 0) fail("cannot rename", half);
    }
    if (*line && real_write(fd, line, strlen(line)) != (ssize_t)strlen(line)) fail("cannot write", log);
    real_close(fd);
}

static char *parent_of(const char *full, char *parent) {
    snprintf(parent, PATH_MAX, "%s", full);
    *strrchr(parent, '/') = 0;
    return parent;
}

static const char *name_of(const char *full) { return strrchr(full, '/') + 1; }

static int opened(int at, const char *path, int flags, mode_t mode) {
    REAL(openat);
    char full[PATH_MAX], parent[PATH_MAX], line[PATH_MAX];
    if (!locate(at, path, full)) {
        int fd = real(at, path, flags, mode);
        if (fd >= 0 && fd < DESCRIPTORS) descriptors[fd] = NULL;
        return fd;
    }
    struct stat status;
    pthread_mutex_lock(&names_lock);
    int is_new = lstat(full, &status) != 0 && (flags & O_CREAT);
    if (is_new) {
        int number = name_fault(full);
        if (number) {
            pthread_mutex_unlock(&names_lock);
            errno = number;
            return -1;
        }
        tell(parent_of(full, parent), "");
    } else if ((flags & O_TRUNC) && S_ISREG(status.st_mode)) {
        struct object *object = object_of(&status, full);
        will_change(object, full);
        changed(object, 0, INT64_MAX);
    }
    int fd = real(at, path, flags, mode);
    int saved = errno;
    if (fd >= 0) {
        if (fstat(fd, &status) != 0) fail("cannot stat", full);
        if (is_new) {
            char durable[PATH_MAX];
            beside(durable, status.st_ino, "durable");
            int made = real_open(durable, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
            if (made < 0) fail("cannot create", durable);
            real_close(made);
            keep_alive(status.st_ino, full);
            snprintf(line, sizeof line, "L %llu %s\n", (unsigned long long)status.st_ino, name_of(full));
            tell(parent, line);
        }
        note(fd, S_ISREG(status.st_mode) || S_ISDIR(status.st_mode) ? object_of(&status, full) : NULL);
    }
    pthread_mutex_unlock(&names_lock);
    errno = saved;
    return fd;
}

static mode_t mode_of(int flags, va_list rest) { return flags & (O_CREAT | O_TMPFILE) ? va_arg(rest, mode_t) : 0; }

#define OPEN(name) \
    int name(const char *path, int flags, ...) { \
        va_list rest; \
        va_start(rest, flags); \
        mode_t mode = mode_of(flags, rest); \
        va_end(rest); \
        return opened(AT_FDCWD, path, flags, mode); \
    }
#define OPENAT(name) \
    int name(int at, const char *path, int flags, ...) { \
        va_list rest; \
        va_start(rest, flags); \
        mode_t mode = mode_of(flags, rest); \
        va_end(rest); \
        return opened(at, path, flags, mode); \
    }
OPEN(open)
OPEN(open64)
OPENAT(openat)
OPENAT(openat64)
int __open_2(const char *path, int flags) { return opened(AT_FDCWD, path, flags, 0); }
int __open64_2(const char *path, int flags) { return opened(AT_FDCWD, path, flags, 0); }
int creat(const char *path, mode_t mode) { return opened(AT_FDCWD, path, O_CREAT | O_WRONLY | O_TRUNC, mode); }
int creat64(const char *path, mode_t mode) { return creat(path, mode); }

int close(int fd) {
    if (fd >= 0 && fd < DESCRIPTORS) descriptors[fd] = NULL;
    return real_close(fd);
}

int dup(int fd) {
    REAL(dup);
    int copy = real(fd);
    note(copy, object_at(fd));
    return copy;
}

int renameat(int at, const char *path, int new_at, const char *new_path) {
    REAL(renameat);
    char from[PATH_MAX], to[PATH_MAX], parent[PATH_MAX], new_parent[PATH_MAX], line[2 * PATH_MAX];
    int inside = locate(at, path, from), new_inside = locate(new_at, new_path, to);
    if (!inside && !new_inside) return real(at, path, new_at, new_path);
    if (!inside || !new_inside || strcmp(parent_of(from, parent), parent_of(to, new_parent)) != 0) {
        fail("a rename between directories is not modelled", from);
    }
    int number = name_fault(from);
    if (number) {
        errno = number;
        return -1;
    }
    struct stat status;
    pthread_mutex_lock(&names_lock);
    tell(parent, "");
    if (lstat(to, &status) == 0) {
        if (S_ISDIR(status.st_mode)) fail("a rename over a directory is not modelled", to);
        keep_alive(status.st_ino, to);
    }
    int result = real(at, path, new_at, new_path);
    int saved = errno;
    snprintf(line, sizeof line, "R %s/%s\n", name_of(from), name_of(to));
    if (result == 0) tell(parent, line);
    pthread_mutex_unlock(&names_lock);
    errno = saved;
    return result;
}

int rename(const char *path, const char *new_path) { return renameat(AT_FDCWD, path, AT_FDCWD, new_path); }

int renameat2(int at, const char *path, int new_at, const char *new_path, unsigned flags) {
    if (flags) fail("renameat2 with flags is not modelled", path);
    return renameat(at, path, new_at, new_path);
}

static int is_empty(const char *path) {
    DIR *stream = opendir(path);
    int count = 0;
    if (!stream) return 0;
    while (readdir(stream)) count++;
    closedir(stream);
    return count <= 2;
}

int unlinkat(int at, const char *path, int flags) {
    REAL(unlinkat);
    char full[PATH_MAX], parent[PATH_MAX], line[PATH_MAX], gone[PATH_MAX];
    struct stat status;
    if (!locate(at, path, full)) return real(at, path, flags);
    pthread_mutex_lock(&names_lock);
    int result = lstat(full, &status);
    if (result == 0 && !(flags & AT_REMOVEDIR) == !!S_ISDIR(status.st_mode)) {
        errno = S_ISDIR(status.st_mode) ? EISDIR : ENOTDIR;
        result = -1;
    }
    if (result == 0) {
        tell(parent_of(full, parent), "");
        if (!S_ISDIR(status.st_mode)) {
            keep_alive(status.st_ino, full);
            result = real(at, path, flags);
        } else if (is_empty(full)) {
            // Moved, not removed: its number must not be given to another while its name may come back.
            beside(gone, status.st_ino, "gone");
            result = real_rename(full, gone);
        } else {
            errno = ENOTEMPTY;
            result = -1;
        }
    }
    int saved = errno;
    snprintf(line, sizeof line, "U %s\n", name_of(full));
    if (result == 0) tell(parent, line);
    pthread_mutex_unlock(&names_lock);
    errno = saved;
    return result;
}

int unlink(const char *path) { return unlinkat(AT_FDCWD, path, 0); }
int rmdir(const char *path) { return unlinkat(AT_FDCWD, path, AT_REMOVEDIR); }

int remove(const char *path) {
    struct stat status;
    return lstat(path, &status) == 0 && S_ISDIR(status.st_mode) ? rmdir(path) : unlink(path);
}

int mkdirat(int at, const char *path, mode_t mode) {
    REAL(mkdirat);
    char full[PATH_MAX], parent[PATH_MAX], line[PATH_MAX];
    struct stat status;
    if (!locate(at, path, full) || !full[root_size]) return real(at, path, mode);
    pthread_mutex_lock(&names_lock);
    int number = lstat(full, &status) == 0 ? 0 : name_fault(full);
    tell(parent_of(full, parent), "");
    int result = number ? -1 : real(at, path, mode);
    int saved = number ? number : errno;
    if (result == 0) {
        if (lstat(full, &status) != 0) fail("cannot stat", full);
        snprintf(line, sizeof line, "L %llu %s\n", (unsigned long long)status.st_ino, name_of(full));
        tell(parent, line);
    }
    pthread_mutex_unlock(&names_lock);
    errno = saved;
    return result;
}

int mkdir(const char *path, mode_t mode) { return mkdirat(AT_FDCWD, path, mode); }

int linkat(int at, const char *path, int new_at, const char *new_path, int flags) {
    REAL(linkat);
    char full[PATH_MAX];
    if (locate(new_at, new_path, full)) fail("a second link is not modelled", full);
    return real(at, path, new_at, new_path, flags);
}

int link(const char *path, const char *new_path) { return linkat(AT_FDCWD, path, AT_FDCWD, new_path, 0); }

// MARK: Changes

/// Around a change of [from, to) of a tracked file; `call` is the real one.
#define CHANGE(fd, first, call) \
    struct object *object = object_at(fd); \
    if (!object) return call; \
    int number = write_fault(object); \
    if (number) { \
        errno = number; \
        return -1; \
    } \
    descriptor_will_change(fd, object); \
    off_t start = first; \
    ssize_t result = call; \
    int saved = errno; \
    if (result > 0) changed(object, start, start + result); \
    errno = saved; \
    return result

static off_t place(int fd) {
    struct stat status;
    if ((fcntl(fd, F_GETFL) & O_APPEND) && fstat(fd, &status) == 0) return status.st_size;
    return lseek(fd, 0, SEEK_CUR);
}

ssize_t write(int fd, const void *bytes, size_t size) {
    CHANGE(fd, place(fd), real_write(fd, bytes, size));
}
ssize_t writev(int fd, const struct iovec *parts, int count) {
    REAL(writev);
    CHANGE(fd, place(fd), real(fd, parts, count));
}
ssize_t pwrite(int fd, const void *bytes, size_t size, off_t at) {
    CHANGE(fd, at, real_pwrite(fd, bytes, size, at));
}
ssize_t pwrite64(int fd, const void *bytes, size_t size, off_t at) {
    CHANGE(fd, at, real_pwrite(fd, bytes, size, at));
}
ssize_t pwritev(int fd, const struct iovec *parts, int count, off_t at) {
    REAL(pwritev);
    CHANGE(fd, at, real(fd, parts, count, at));
}
ssize_t pwritev64(int fd, const struct iovec *parts, int count, off_t at) { return pwritev(fd, parts, count, at); }
ssize_t pwritev2(int fd, const struct iovec *parts, int count, off_t at, int flags) {
    REAL(pwritev2);
    CHANGE(fd, at < 0 ? place(fd) : at, real(fd, parts, count, at, flags));
}
ssize_t pwritev64v2(int fd, const struct iovec *parts, int count, off_t at, int flags) {
    return pwritev2(fd, parts, count, at, flags);
}

#define RESIZE(fd, from, call) \
    struct object *object = object_at(fd); \
    if (!object) return call; \
    descriptor_will_change(fd, object); \
    int result = call; \
    int saved = errno; \
    changed(object, from, INT64_MAX); \
    errno = saved; \
    return result

int ftruncate(int fd, off_t size) { RESIZE(fd, size, real_truncate(fd, size)); }
int ftruncate64(int fd, off_t size) { return ftruncate(fd, size); }
int fallocate(int fd, int mode, off_t at, off_t size) {
    REAL(fallocate);
    RESIZE(fd, at, real(fd, mode, at, size));
}
int fallocate64(int fd, int mode, off_t at, off_t size) { return fallocate(fd, mode, at, size); }
int posix_fallocate(int fd, off_t at, off_t size) {
    REAL(posix_fallocate);
    RESIZE(fd, at, real(fd, at, size));
}
int posix_fallocate64(int fd, off_t at, off_t size) { return posix_fallocate(fd, at, size); }

int truncate(const char *path, off_t size) {
    int fd = opened(AT_FDCWD, path, O_WRONLY | O_CLOEXEC, 0);
    if (fd < 0) return -1;
    int result = ftruncate(fd, size), saved = errno;
    close(fd);
    errno = saved;
    return result;
}
int truncate64(const char *path, off_t size) { return truncate(path, size); }

// MARK: Syncs

/// What is under way: a delay, then a failure or none. 0, or the errno.
static int sync_fault(struct object *object) {
    if (!matches(object)) return 0;
    delay(faults->sync_delay_ms);
    int number = take_failure(faults->sync_errno, &faults->sync_failures);
    if (number) __atomic_add_fetch(&faults->failed_syncs, 1, __ATOMIC_RELAXED);
    return number;
}

/// Only what happened to the names before the sync began is durable after it.
static int sync_names(struct object *object) {
    char log[PATH_MAX], line[64];
    struct stat status;
    beside(log, object->number, "dir");
    pthread_mutex_lock(&names_lock);
    // Without a log nothing happened to its names since the last power cut.
    off_t told = stat(log, &status) == 0 ? status.st_size : 0;
    pthread_mutex_unlock(&names_lock);
    int number = sync_fault(object);
    if (number || faults->lies || !told) return number;
    pthread_mutex_lock(&names_lock);
    int fd = real_open(log, O_WRONLY | O_APPEND | O_CLOEXEC, 0);
    int size = snprintf(line, sizeof line, "S %lld\n", (long long)told);
    if (fd < 0 || real_write(fd, line, (size_t)size) != size) fail("cannot write", log);
    real_close(fd);
    pthread_mutex_unlock(&names_lock);
    return 0;
}

/// Only what was written before the sync began is durable after it.
static int sync_contents(struct object *object) {
    char live[PATH_MAX], durable[PATH_MAX];
    struct stat status;
    beside(live, object->number, "live");
    beside(durable, object->number, "durable");
    pthread_mutex_lock(&object->sync);
    pthread_mutex_lock(&object->change);
    off_t from = object->from, to = object->to;
    int is_changed = object->is_changed && to > from;
    off_t size = is_changed && stat(live, &status) == 0 ? status.st_size : 0;
    // After a failed sync too, as Linux does: the pages count as clean, and the next sync will not bring them to the disk.
    if (!faults->lies) object->from = object->to = 0;
    pthread_mutex_unlock(&object->change);
    int number = sync_fault(object);
    if (is_changed && !number && !faults->lies) copy(live, durable, from, to, size, 0);
    pthread_mutex_unlock(&object->sync);
    return number;
}

/// 0, or the errno of a sync of the object.
static int sync_object(struct object *object) {
    __atomic_add_fetch(&faults->syncs, 1, __ATOMIC_RELAXED);
    return object->is_directory ? sync_names(object) : sync_contents(object);
}

#define SYNC(fd) \
    struct object *object = object_at(fd); \
    if (!object) return real(fd); \
    int number = sync_object(object); \
    if (number) errno = number; \
    return number ? -1 : 0

int fsync(int fd) {
    REAL(fsync);
    SYNC(fd);
}
int fdatasync(int fd) {
    REAL(fdatasync);
    SYNC(fd);
}

static int sync_everything(void) {
    int number = 0;
    for (int i = 0; i < 4096; i++) {
        pthread_mutex_lock(&objects_lock);
        struct object *object = objects[i];
        pthread_mutex_unlock(&objects_lock);
        for (; object; object = object->next) {
            int failed = sync_object(object);
            if (failed) number = failed;
        }
    }
    return number;
}

int syncfs(int fd) {
    REAL(syncfs);
    if (!object_at(fd)) return real(fd);
    int number = sync_everything();
    if (number) errno = number;
    return number ? -1 : 0;
}

void sync(void) { sync_everything(); }

int sync_file_range(int fd, off_t at, off_t size, unsigned flags) {
    REAL(sync_file_range);
    return object_at(fd) ? 0 : real(fd, at, size, flags);
}
int sync_file_range64(int fd, off_t at, off_t size, unsigned flags) { return sync_file_range(fd, at, size, flags); }

// MARK: The wall clock

static void move(struct timespec *time) {
    int64_t offset = faults->clock_offset_ns;
    if (!offset) return;
    int64_t sum = (int64_t)time->tv_sec * 1000000000 + time->tv_nsec + offset;
    time->tv_sec = sum / 1000000000;
    time->tv_nsec = sum % 1000000000;
}

int clock_gettime(clockid_t clock, struct timespec *time) {
    REAL(clock_gettime);
    int result = real(clock, time);
    if (result == 0 && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE)) move(time);
    return result;
}

int gettimeofday(struct timeval *restrict time, void *restrict zone) {
    struct timespec now;
    (void)zone;
    clock_gettime(CLOCK_REALTIME, &now);
    time->tv_sec = now.tv_sec;
    time->tv_usec = now.tv_nsec / 1000;
    return 0;
}

time_t time(time_t *result) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    if (result) *result = now.tv_sec;
    return now.tv_sec;
}

int timespec_get(struct timespec *time, int base) {
    return base == TIME_UTC && clock_gettime(CLOCK_REALTIME, time) == 0 ? base : 0;
}
