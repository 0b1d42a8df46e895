// CRC-32C three ways: SSE4.2 with PCLMULQDQ, the ARMv8 CRC instructions, and tables.
//
// The crc instruction has a latency of three cycles and a throughput of one, so one chain uses a third of the unit.
// The fast paths run three chains over three neighbouring stretches and join them at the end. To move a CRC past N
// bytes is to multiply it by x^(8N) modulo the polynomial: one carry-less multiplication by a constant, and one more
// crc instruction to reduce the product. In the reflected order the product comes out one bit low and the reduction
// adds 32, hence the constants x^(8N-33) mod P.
#include "CChecksum.h"

#include <string.h>

#define POLYNOMIAL 0x82F63B78u

enum { LONG_STRETCH = 4096, SHORT_STRETCH = 256 };
#define SHIFT_4096 0x82f89c77u
#define SHIFT_8192 0x54a86326u
#define SHIFT_256 0xb9e02b86u
#define SHIFT_512 0xdd7e3b0cu

static uint32_t tables[8][256];
typedef uint32_t (*crc_function)(uint32_t, const unsigned char *, size_t);
static crc_function fastest;

static inline uint64_t load64(const unsigned char *bytes) {
    uint64_t word;
    memcpy(&word, bytes, sizeof word);
#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
    word = __builtin_bswap64(word);
#endif
    return word;
}

// `crc` is the inner, inverted state here and in every function of this type.
static uint32_t crc_by_tables(uint32_t crc, const unsigned char *bytes, size_t length) {
    while (length >= 8) {
        uint64_t word = load64(bytes) ^ crc;
        crc = tables[7][word & 0xff] ^ tables[6][(word >> 8) & 0xff] ^ tables[5][(word >> 16) & 0xff]
            ^ tables[4][(word >> 24) & 0xff] ^ tables[3][(word >> 32) & 0xff] ^ tables[2][(word >> 40) & 0xff]
            ^ tables[1][(word >> 48) & 0xff] ^ tables[0][word >> 56];
        bytes += 8;
        length -= 8;
    }
    while (length-- > 0) {
        crc = tables[0][(crc ^ *bytes++) & 0xff] ^ (crc >> 8);
    }
    return crc;
}

#if defined(__x86_64__)

#include <immintrin.h>

__attribute__((target("sse4.2,pclmul")))
static inline uint32_t shifted(uint32_t crc, uint32_t constant) {
    __m128i product = _mm_clmulepi64_si128(_mm_cvtsi32_si128((int)crc), _mm_cvtsi32_si128((int)constant), 0);
    return (uint32_t)_mm_crc32_u64(0, (uint64_t)_mm_cvtsi128_si64(product));
}

__attribute__((target("sse4.2,pclmul")))
static inline uint32_t three_stretches(
    uint32_t crc, const unsigned char *bytes, size_t stretch, uint32_t once, uint32_t twice
) {
    uint64_t a = crc, b = 0, c = 0;
    for (size_t i = 0; i < stretch; i += 8) {
        a = _mm_crc32_u64(a, load64(bytes + i));
        b = _mm_crc32_u64(b, load64(bytes + stretch + i));
        c = _mm_crc32_u64(c, load64(bytes + 2 * stretch + i));
    }
    return shifted((uint32_t)a, twice) ^ shifted((uint32_t)b, once) ^ (uint32_t)c;
}

__attribute__((target("sse4.2,pclmul")))
static uint32_t crc_by_instructions(uint32_t crc, const unsigned char *bytes, size_t length) {
    while (length >= 3 * LONG_STRETCH) {
        crc = three_stretches(crc, bytes, LONG_STRETCH, SHIFT_4096, SHIFT_8192);
        bytes += 3 * LONG_STRETCH;
        length -= 3 * LONG_STRETCH;
    }
    while (length >= 3 * SHORT_STRETCH) {
        crc = three_stretches(crc, bytes, SHORT_STRETCH, SHIFT_256, SHIFT_512);
        bytes += 3 * SHORT_STRETCH;
        length -= 3 * SHORT_STRETCH;
    }
    uint64_t state = crc;
    while (length >= 8) {
        state = _mm_crc32_u64(state, load64(bytes));
        bytes += 8;
        length -= 8;
    }
    crc = (uint32_t)state;
    while (length-- > 0) {
        crc = _mm_crc32_u8(crc, *bytes++);
    }
    return crc;
}

static int has_instructions(void) {
    return __builtin_cpu_supports("sse4.2") && __builtin_cpu_supports("pclmul");
}

#elif defined(__aarch64__)

#if defined(__linux__)
#include <sys/auxv.h>
#endif

// The builtins, not <arm_acle.h>: that header hides them unless the whole file is compiled for the extension.
__attribute__((target("crc")))
static uint32_t crc_by_instructions(uint32_t crc, const unsigned char *bytes, size_t length) {
    while (length >= 8) {
        crc = __builtin_arm_crc32cd(crc, load64(bytes));
        bytes += 8;
        length -= 8;
    }
    while (length-- > 0) {
        crc = __builtin_arm_crc32cb(crc, *bytes++);
    }
    return crc;
}

static int has_instructions(void) {
#if defined(__APPLE__)
    return 1;
#elif defined(__linux__)
    enum { HARDWARE_HAS_CRC32 = 1 << 7 };
    return (getauxval(AT_HWCAP) & HARDWARE_HAS_CRC32) != 0;
#else
    return 0;
#endif
}

#else

#define crc_by_instructions crc_by_tables

static int has_instructions(void) {
    return 0;
}

#endif

// Runs before main, so that neither the tables nor the choice need a lock or a check on the way.
__attribute__((constructor))
static void prepare(void) {
    for (uint32_t i = 0; i < 256; i++) {
        uint32_t crc = i;
        for (int bit = 0; bit < 8; bit++) {
            crc = (crc >> 1) ^ ((crc & 1) ? POLYNOMIAL : 0);
        }
        tables[0][i] = crc;
    }
    for (uint32_t i = 0; i < 256; i++) {
        for (int t = 1; t < 8; t++) {
            tables[t][i] = tables[0][tables[t - 1][i] & 0xff] ^ (tables[t - 1][i] >> 8);
        }
    }
#if defined(__x86_64__)
    __builtin_cpu_init();
#endif
    fastest = has_instructions() ? crc_by_instructions : crc_by_tables;
}

uint32_t martlet_crc32c(uint32_t seed, const void *bytes, size_t length) {
    return ~fastest(~seed, bytes, length);
}

uint32_t martlet_crc32c_portable(uint32_t seed, const void *bytes, size_t length) {
    return ~crc_by_tables(~seed, bytes, length);
}

int martlet_crc32c_is_accelerated(void) {
    return fastest != crc_by_tables;
}
