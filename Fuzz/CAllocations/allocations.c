// Counts what this thread asks for. Under a sanitizer its runtime calls the hook on every allocation; without one the
// functions of the C library are put before the real ones, for the whole process that this is linked into. What they
// return is the real ones' memory, so `free` stays as it is.
#include "allocations.h"

#include <errno.h>
#include <stdlib.h>

static _Thread_local size_t allocated_bytes, allocations;

size_t martlet_allocated_bytes(void) { return allocated_bytes; }

size_t martlet_allocations(void) { return allocations; }

__attribute__((no_sanitize("all"))) static inline void counted(size_t size_bytes) {
    allocated_bytes += size_bytes;
    allocations += 1;
}

#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)

__attribute__((no_sanitize("all"))) void __sanitizer_malloc_hook(const volatile void *block, size_t size_bytes) {
    (void)block;
    counted(size_bytes);
}

__attribute__((no_sanitize("all"))) void __sanitizer_free_hook(const volatile void *block) { (void)block; }

#elif defined(__GLIBC__)

void *__libc_malloc(size_t size_bytes);
void *__libc_calloc(size_t count, size_t size_bytes);
void *__libc_realloc(void *block, size_t size_bytes);
void *__libc_memalign(size_t alignment, size_t size_bytes);

void *malloc(size_t size_bytes) {
    counted(size_bytes);
    return __libc_malloc(size_bytes);
}

void *calloc(size_t count, size_t size_bytes) {
    size_t all_bytes;
    if (!__builtin_mul_overflow(count, size_bytes, &all_bytes)) counted(all_bytes);
    return __libc_calloc(count, size_bytes);
}

// Counted whole, as the sanitizers do: it may have to copy.
void *realloc(void *block, size_t size_bytes) {
    counted(size_bytes);
    return __libc_realloc(block, size_bytes);
}

void *memalign(size_t alignment, size_t size_bytes) {
    counted(size_bytes);
    return __libc_memalign(alignment, size_bytes);
}

void *aligned_alloc(size_t alignment, size_t size_bytes) { return memalign(alignment, size_bytes); }

int posix_memalign(void **block, size_t alignment, size_t size_bytes) {
    if (alignment % sizeof(void *) != 0 || (alignment & (alignment - 1)) != 0 || alignment == 0) return EINVAL;
    void *found = memalign(alignment, size_bytes);
    if (found == NULL) return ENOMEM;
    *block = found;
    return 0;
}

#endif
