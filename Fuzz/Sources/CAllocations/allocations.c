// The sanitizer's runtime looks for these two names and calls them, outside of instrumented code.
#include "allocations.h"

static _Thread_local size_t allocated_bytes;

__attribute__((no_sanitize("all"))) void __sanitizer_malloc_hook(const volatile void *block, size_t size_bytes) {
    (void)block;
    allocated_bytes += size_bytes;
}

__attribute__((no_sanitize("all"))) void __sanitizer_free_hook(const volatile void *block) { (void)block; }

size_t martlet_allocated_bytes(void) { return allocated_bytes; }
