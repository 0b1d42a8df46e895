// Numbers and strings as the protocol writes them.
#include "BenchDriver.h"

#include <string.h>

static void put(unsigned char *at, uint64_t value, int size) {
    for (int i = size - 1; i >= 0; i--, value >>= 8) at[i] = (unsigned char)value;
}

void put16(unsigned char *at, uint16_t value) { put(at, value, 2); }
void put32(unsigned char *at, uint32_t value) { put(at, value, 4); }
void put64(unsigned char *at, uint64_t value) { put(at, value, 8); }
uint16_t get16(const unsigned char *at) { return (uint16_t)(at[0] << 8 | at[1]); }
uint32_t get32(const unsigned char *at) { return (uint32_t)get16(at) << 16 | get16(at + 2); }
uint64_t get64(const unsigned char *at) { return (uint64_t)get32(at) << 32 | get32(at + 4); }

unsigned char *put_string(unsigned char *at, const char *text) {
    size_t size = strlen(text);
    put16(at, (uint16_t)size);
    memcpy(at + 2, text, size);
    return at + 2 + size;
}
