// How many bytes this thread asked malloc for: the sanitizer's runtime calls the hook on every allocation.
#ifndef MARTLET_ALLOCATIONS_H
#define MARTLET_ALLOCATIONS_H

#include <stddef.h>

// Bytes of all allocations of this thread since it began; what was freed is not taken off.
size_t martlet_allocated_bytes(void);

#endif
