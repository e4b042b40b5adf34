/* 128-bit intermediate products with explicit rounding. A quotient that leaves int64 is reported through *bad. */
#ifndef MARGRAVE_WIDE_H
#define MARGRAVE_WIDE_H
#include <stdint.h>

typedef __int128 int128;

static inline int64_t wide_narrow(int128 value, int *bad)
{
    if (value > INT64_MAX || value < -INT64_MAX) {
        *bad = 1;
        return 0;
    }
    return (int64_t)value;
}

/* floor(a * b / c), c > 0 */
static inline int64_t wide_mul_div_floor(int64_t a, int64_t b, int64_t c, int *bad)
{
    int128 p = (int128)a * b;
    if (p >= INT64_MIN && p <= INT64_MAX) {
        int64_t s = (int64_t)p, q = s / c;
        return q - (s % c < 0);
    }
    int128 q = p / c;
    return wide_narrow(q - (p % c < 0), bad);
}

/* ceil(a * b / c), c > 0 */
static inline int64_t wide_mul_div_ceil(int64_t a, int64_t b, int64_t c, int *bad)
{
    int128 p = (int128)a * b;
    if (p >= INT64_MIN && p <= INT64_MAX) {
        int64_t s = (int64_t)p, q = s / c;
        return q + (s % c > 0);
    }
    int128 q = p / c;
    return wide_narrow(q + (p % c > 0), bad);
}

/* round half up of a * b / c for a, b >= 0, c > 0 */
static inline int64_t wide_mul_div_near(int64_t a, int64_t b, int64_t c, int *bad)
{
    int128 p = (int128)a * b + c / 2;
    if (p <= INT64_MAX)
        return (int64_t)p / c;
    return wide_narrow(p / c, bad);
}

static inline int64_t wide_mul(int64_t a, int64_t b, int *bad)
{
    return wide_narrow((int128)a * b, bad);
}

static inline int64_t wide_add(int64_t a, int64_t b, int *bad)
{
    return wide_narrow((int128)a + b, bad);
}

/* floor(a * b / 2**shift) */
static inline int64_t wide_mul_shift(int64_t a, int64_t b, int shift, int *bad)
{
    return wide_narrow(((int128)a * b) >> shift, bad);
}

static inline int128 wide_join(int64_t high, uint64_t low)
{
    return (int128)((unsigned __int128)(uint64_t)high << 64 | low);
}

/* floor(lots * (index - entry) / 2**64): the funding a position of `lots` is owed (negative: owes) */
static inline int64_t wide_funding(int64_t lots, int128 owed, int *bad)
{
    /* split so that both products stay inside 128 bits: |lots| < 2**63, low < 2**64 */
    int64_t high = (int64_t)(owed >> 64);
    uint64_t low = (uint64_t)owed;
    int128 total = (int128)lots * high + (((int128)lots * (int128)low) >> 64);
    return wide_narrow(total, bad);
}

#endif
