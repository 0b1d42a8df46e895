// How many bytes this thread asked the C library for, and how often.
#ifndef MARTLET_ALLOCATIONS_H
#define MARTLET_ALLOCATIONS_H

#include <stddef.h>

// Bytes of all allocations of this thread since it began; what was freed is not taken off. Always 0 without a sanitizer
// on a system whose C library is not glibc.
size_t martlet_allocated_bytes(void);

// How many allocations that were; a realloc is one. 0 likewise where nobody counts.
size_t martlet_allocations(void);

#endif
