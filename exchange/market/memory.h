/* Zeroed memory for tables that are visited at random: aligned to cache lines and, where large, on huge pages,
 * because at a million orders most visits would otherwise also miss the address translation. */
#pragma once
#include <stdlib.h>
#include <string.h>
#if defined(__linux__)
#include <sys/mman.h>
#endif

#define MARGRAVE_LINE ((size_t)64)
#define MARGRAVE_HUGE ((size_t)1 << 21)

/* NULL where there is no memory; given back with free(). */
static inline void *margrave_table(size_t bytes) {
    size_t alignment = bytes < MARGRAVE_HUGE ? MARGRAVE_LINE : MARGRAVE_HUGE;
    size_t size = (bytes + alignment - 1) & ~(alignment - 1);
    void *table = aligned_alloc(alignment, size);
    if (table == NULL) return NULL;
#if defined(__linux__) && defined(MADV_HUGEPAGE)
    if (alignment == MARGRAVE_HUGE) madvise(table, size, MADV_HUGEPAGE); /* a hint: refusal changes nothing */
#endif
    return memset(table, 0, size);
}

/* Twice the bytes, the first half copied; the old table is given back. NULL, and nothing lost, without memory. */
static inline void *margrave_table_doubled(void *table, size_t bytes) {
    void *grown = margrave_table(2 * bytes);
    if (grown == NULL) return NULL;
    memcpy(grown, table, bytes);
    free(table);
    return grown;
}
