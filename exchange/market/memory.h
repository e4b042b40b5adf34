/* Zeroed memory for tables that are visited at random: aligned to cache lines and, where large, on huge pages,
 * because at a million orders most visits would otherwise also miss the address translation. A large table is
 * doubled by moving its pages, not its bytes, and what it has never used is not there yet: growing stops nobody. */
#pragma once
#include <stdlib.h>
#include <string.h>
#if defined(__linux__)
#include <sys/mman.h>
#endif

#define MARGRAVE_LINE ((size_t)64)
#define MARGRAVE_HUGE ((size_t)1 << 21)

static inline size_t margrave_round(size_t bytes, size_t unit) { return (bytes + unit - 1) & ~(unit - 1); }

/* Zeroed and aligned to cache lines; NULL where there is no memory; given back with free(). */
static inline void *margrave_lines(size_t bytes) {
    size_t size = margrave_round(bytes, MARGRAVE_LINE);
    void *lines = aligned_alloc(MARGRAVE_LINE, size);
    return lines == NULL ? NULL : memset(lines, 0, size);
}

#if defined(__linux__) && defined(MADV_HUGEPAGE) && defined(MREMAP_FIXED)
#define MARGRAVE_MAPS 1

/* Addresses that begin at a huge page; NULL where there are none. */
static inline void *margrave_map(size_t size, int protection) {
    char *whole = (char *)mmap(NULL, size + MARGRAVE_HUGE, protection, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    size_t before;
    if (whole == (char *)MAP_FAILED) return NULL;
    before = (size_t)(-(size_t)whole & (MARGRAVE_HUGE - 1));
    if (before) munmap(whole, before);
    munmap(whole + before + size, MARGRAVE_HUGE - before);
    return whole + before;
}
#endif

/* NULL where there is no memory; given back with margrave_table_free. */
static inline void *margrave_table(size_t bytes) {
#ifdef MARGRAVE_MAPS
    if (bytes >= MARGRAVE_HUGE) {
        size_t size = margrave_round(bytes, MARGRAVE_HUGE);
        void *table = margrave_map(size, PROT_READ | PROT_WRITE);
        if (table != NULL) madvise(table, size, MADV_HUGEPAGE); /* a hint: refusal changes nothing */
        return table;
    }
#endif
    return margrave_lines(bytes);
}

static inline void margrave_table_free(void *table, size_t bytes) {
#ifdef MARGRAVE_MAPS
    if (bytes >= MARGRAVE_HUGE) {
        if (table != NULL) munmap(table, margrave_round(bytes, MARGRAVE_HUGE));
        return;
    }
#endif
    (void)bytes;
    free(table);
}

/* A table of `bytes` made twice as long, at another place. NULL, and nothing lost, without memory. */
static inline void *margrave_table_doubled(void *table, size_t bytes) {
    void *grown;
#ifdef MARGRAVE_MAPS
    if (bytes >= MARGRAVE_HUGE) {
        size_t size = margrave_round(2 * bytes, MARGRAVE_HUGE);
        grown = margrave_map(size, PROT_NONE);
        if (grown == NULL) return NULL;
        if (mremap(table, margrave_round(bytes, MARGRAVE_HUGE), size, MREMAP_MAYMOVE | MREMAP_FIXED, grown) == grown)
            return grown;
        munmap(grown, size);
        return NULL;
    }
#endif
    grown = margrave_table(2 * bytes);
    if (grown == NULL) return NULL;
    memcpy(grown, table, bytes);
    margrave_table_free(table, bytes);
    return grown;
}

/* Many small tables on shared huge pages: by themselves each would lie on small pages of its own. What is given back is
 * kept for the next table of that size. */
#define MARGRAVE_ARENA_SIZES ((size_t)64) /* in lines */
typedef struct {
    char *chunk; /* the newest; each begins with the address of the one before */
    size_t used;
    void *kept[MARGRAVE_ARENA_SIZES]; /* by lines; each begins with the address of the next */
} MargraveArena;

/* Zeroed; NULL where there is no memory. A large one stands by itself: what it never uses is not there. */
static inline void *margrave_arena_take(MargraveArena *arena, size_t bytes) {
    size_t size = margrave_round(bytes, MARGRAVE_LINE), lines = size / MARGRAVE_LINE;
    void *table;
    if (lines >= MARGRAVE_ARENA_SIZES) return calloc(bytes, 1);
    table = arena->kept[lines];
    if (table != NULL) {
        arena->kept[lines] = *(void **)table;
        return memset(table, 0, size);
    }
    if (arena->chunk == NULL || arena->used + size > MARGRAVE_HUGE) {
        char *chunk = (char *)margrave_table(MARGRAVE_HUGE);
        if (chunk == NULL) return NULL;
        *(char **)chunk = arena->chunk;
        arena->chunk = chunk;
        arena->used = MARGRAVE_LINE;
    }
    table = arena->chunk + arena->used;
    arena->used += size;
    return table;
}

static inline void margrave_arena_give(MargraveArena *arena, void *table, size_t bytes) {
    size_t lines = margrave_round(bytes, MARGRAVE_LINE) / MARGRAVE_LINE;
    if (lines >= MARGRAVE_ARENA_SIZES) {
        free(table);
    } else if (table != NULL) {
        *(void **)table = arena->kept[lines];
        arena->kept[lines] = table;
    }
}

static inline void margrave_arena_close(MargraveArena *arena) {
    while (arena->chunk != NULL) {
        char *before = *(char **)arena->chunk;
        margrave_table_free(arena->chunk, MARGRAVE_HUGE);
        arena->chunk = before;
    }
}
