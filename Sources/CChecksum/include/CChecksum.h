// CRC-32C (Castagnoli), the checksum of record batches: one function that picks the fastest way the processor has.
#ifndef MARTLET_CCHECKSUM_H
#define MARTLET_CCHECKSUM_H

#include <stddef.h>
#include <stdint.h>

/// The CRC-32C of some earlier bytes (whose CRC is `seed`; 0 for none) followed by `length` bytes at `bytes`.
/// `bytes` may be null when `length` is 0.
uint32_t martlet_crc32c(uint32_t seed, const void *bytes, size_t length);

/// The same by tables alone, for processors without the instruction, and for tests to compare with.
uint32_t martlet_crc32c_portable(uint32_t seed, const void *bytes, size_t length);

/// 1 when `martlet_crc32c` uses processor instructions, 0 when it uses tables.
int martlet_crc32c_is_accelerated(void);

#endif
