/* CRC-32C (Castagnoli, reflected polynomial 0x82F63B78, RFC 3720 appendix B.4).
 *
 * crc32c(crc, p, n) continues a checksum: start with crc = 0. The SSE4.2 or ARMv8 instruction is used where
 * the processor has it; the table form (slicing by 8) gives the same figure everywhere else.
 */
#ifndef MARGRAVE_CRC32C_H
#define MARGRAVE_CRC32C_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "the journal is little endian and is written by little-endian machines only"
#endif

static uint32_t crc32c_table[8][256];

static inline void crc32c_fill_table(void) {
    for (uint32_t i = 0; i < 256; i++) {
        uint32_t c = i;
        for (int bit = 0; bit < 8; bit++) c = (c >> 1) ^ (0x82F63B78u & (0u - (c & 1u)));
        crc32c_table[0][i] = c;
    }
    for (uint32_t i = 0; i < 256; i++)
        for (int k = 1; k < 8; k++) {
            uint32_t before = crc32c_table[k - 1][i];
            crc32c_table[k][i] = (before >> 8) ^ crc32c_table[0][before & 255u];
        }
}

static inline uint32_t crc32c_software(uint32_t crc, const uint8_t *p, size_t n) {
    uint32_t c = ~crc;
    for (; n >= 8; p += 8, n -= 8) {
        uint64_t word;
        memcpy(&word, p, 8);
        word ^= c;
        c = 0;
        for (int k = 0; k < 8; k++) c ^= crc32c_table[7 - k][(word >> (8 * k)) & 255u];
    }
    while (n--) c = (c >> 8) ^ crc32c_table[0][(c ^ *p++) & 255u];
    return ~c;
}

#if defined(__x86_64__)
#include <nmmintrin.h>

__attribute__((target("sse4.2")))
static inline uint32_t crc32c_hardware(uint32_t crc, const uint8_t *p, size_t n) {
    uint64_t c = (uint32_t)~crc;
    for (; n >= 8; p += 8, n -= 8) {
        uint64_t word;
        memcpy(&word, p, 8);
        c = _mm_crc32_u64(c, word);
    }
    while (n--) c = _mm_crc32_u8((uint32_t)c, *p++);
    return ~(uint32_t)c;
}

static inline int crc32c_has_hardware(void) { return __builtin_cpu_supports("sse4.2") != 0; }

#elif defined(__aarch64__) && (defined(__ARM_FEATURE_CRC32) || defined(__GNUC__))
#if defined(__linux__)
#include <sys/auxv.h>
#endif

/* The mnemonics are enabled inside the block, so no compiler flag is needed; the processor is asked first. */
static inline uint32_t crc32c_hardware(uint32_t crc, const uint8_t *p, size_t n) {
    uint32_t c = ~crc;
    for (; n >= 8; p += 8, n -= 8) {
        uint64_t word;
        memcpy(&word, p, 8);
        __asm__(".arch_extension crc\n\tcrc32cx %w0, %w0, %x1" : "+r"(c) : "r"(word));
    }
    while (n--) {
        uint32_t byte = *p++;
        __asm__(".arch_extension crc\n\tcrc32cb %w0, %w0, %w1" : "+r"(c) : "r"(byte));
    }
    return ~c;
}

static inline int crc32c_has_hardware(void) {
#if defined(__linux__)
    return (getauxval(AT_HWCAP) & (1ul << 7)) != 0; /* HWCAP_CRC32 */
#else
    return 1; /* every 64-bit Apple processor has it */
#endif
}

#else
static inline uint32_t crc32c_hardware(uint32_t crc, const uint8_t *p, size_t n) {
    return crc32c_software(crc, p, n);
}
static inline int crc32c_has_hardware(void) { return 0; }
#endif

static int crc32c_use_hardware = 0;

/* Called once when the module is imported, before any other thread can exist in it. */
static inline void crc32c_init(void) {
    crc32c_fill_table();
    crc32c_use_hardware = crc32c_has_hardware();
}

static inline uint32_t crc32c(uint32_t crc, const void *p, size_t n) {
    return crc32c_use_hardware ? crc32c_hardware(crc, (const uint8_t *)p, n)
                               : crc32c_software(crc, (const uint8_t *)p, n);
}

#endif
