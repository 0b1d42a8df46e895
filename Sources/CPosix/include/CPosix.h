// The few system calls that Swift's Glibc cannot name, or that read better in C. Every call goes on after EINTR, answers short
// transfers by going on, and returns an error as a negative errno, so that no caller has to look at the thread's errno.
#ifndef MARTLET_CPOSIX_H
#define MARTLET_CPOSIX_H

#include <stddef.h>
#include <stdint.h>

/// Writes all of `head`, then all of `body`, at `position`. 0, or a negative errno (then any part may be written).
int posix_write_both(int fd, const void *head, size_t head_size, const void *body, size_t body_size, int64_t position);

/// Reads up to `size` bytes at `position`, fewer only at the end of the file. The count, or a negative errno.
int64_t posix_read_at(int fd, void *buffer, size_t size, int64_t position);

/// Whether the page cache holds all of a range, which is then read without waiting for the disk; 1 also where the kernel cannot
/// tell. A guess: it may have let go of it by the next call.
int posix_is_cached(int fd, int64_t position, int64_t size);

/// The same for kernels that cannot count: some of its bytes are asked for, and read if they are there.
int posix_is_cached_by_samples(int fd, int64_t position, int64_t size);

/// Reads a range of a file into the page cache, as far as there is one.
void posix_bring_in(const char *path, int64_t position, int64_t size);

/// Opens for reading and writing with close-on-exec; `create` makes the file where there is none. A descriptor, or a negative errno.
int posix_open_file(const char *path, int create, int truncate_first);

/// Opens a directory for fsync. A descriptor, or a negative errno.
int posix_open_directory(const char *path);

/// fdatasync, or fsync for directories. 0, or a negative errno.
int posix_sync_file(int fd);
int posix_sync_directory(int fd);

/// Begins write-back of a range without waiting for it. 0, or a negative errno.
int posix_begin_write_back(int fd, int64_t position, int64_t size);

int posix_truncate(int fd, int64_t size);

/// Takes blocks of the disk for a range that may lie behind the end of the file; its size stays. Where less than
/// `keep_free` bytes would be left, nothing is taken. 0, or a negative errno.
int posix_make_room(int fd, int64_t position, int64_t size, int64_t keep_free);

/// The size of an open file, or a negative errno.
int64_t posix_size(int fd);

/// 1 for a directory, 0 for anything else (a link to a directory too), or a negative errno.
int posix_is_directory(const char *path);

/// Takes the exclusive lock of an open file without waiting. 0, or -EWOULDBLOCK when another process holds it.
int posix_lock_exclusive(int fd);

/// Raises the soft limit of open files to the hard one and answers the limit then in force.
int64_t posix_raise_open_files_limit(void);

/// Lets go of the pages of shared libraries' code that this process has mapped. They stay in the page cache; what is run again is
/// mapped again, without the disk. For after a start, which runs much that is not run again.
void posix_let_go_of_library_code(void);

/// Asks the scheduler for short turns of `nanoseconds`, for this thread and those that it makes from now on (unless somebody gave
/// it SCHED_RESET_ON_FORK): a thread that wakes then seldom waits until one with longer turns has had its own (EEVDF, Linux 6.12;
/// kernels before that take it and do nothing). Only under SCHED_OTHER and SCHED_BATCH, whose niceness stays: elsewhere a
/// runtime means something else. 0, or a negative errno.
int posix_ask_for_short_turns(uint64_t nanoseconds);

/// The length of this thread's turns in nanoseconds; 0 where the kernel does not say, or a negative errno.
int64_t posix_turn_ns(void);

/// Catches SIGTERM and SIGINT and ignores SIGPIPE. The first signal caught can be read as its number from the descriptor answered;
/// the second ends the process at once with status 1. Once a process. A negative errno when there is no pipe to be had.
int posix_catch_stop_signals(void);

/// Puts a zero where the signals' numbers come out. From any thread.
void posix_wake_signal_reader(void);

/// Waits for the next number; -1 when there will be none.
int posix_next_signal(int descriptor);

#endif
