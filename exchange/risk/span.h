/* Charges of `span16` on deltas, in integers: calendar spreads by priority and their bound where orders are open.
 *
 * Deltas in 1e-10 coin. Charges are added up in 1e-16 coin and rounded up once. Nodes, steps and the bounds `up` and
 * `down` are those of exchange/risk/spreads.py. */
#ifndef MARGRAVE_SPAN_H
#define MARGRAVE_SPAN_H
#include <stdint.h>
#include <string.h>

#include "exchange/wide.h"

#define SPAN_PPM 1000000
#define SPAN_STEPS 64
#define SPAN_TIERS 8
#define SPAN_NODES (2 * SPAN_TIERS)

typedef struct {
    int first, second;
    int64_t first_ratio, second_ratio, rate; /* ppm */
} SpanStep;

typedef struct {
    int step_count, node_count;
    SpanStep step[SPAN_STEPS];
    int64_t up[SPAN_NODES], down[SPAN_NODES]; /* ppm of a delta */
    int64_t most;                             /* the largest of these */
    int64_t slack, noise;                     /* 1e-16 coin */
} SpanSpreads;

static inline int128 span_larger(int128 a, int128 b) { return a > b ? a : b; }

static inline int128 span_ceil(int128 a, int128 b) { return a / b + (a % b > 0); }

/* Charge of the spreads that these amounts form, 1e-16 coin; amounts are consumed. */
static inline int128 span_serve(const SpanSpreads *s, int128 *amount)
{
    int128 total = 0;
    int formed = 0;
    for (int k = 0; k < s->step_count; k++) {
        const SpanStep *step = &s->step[k];
        int128 a = amount[step->first], b = amount[step->second];
        if (a == 0 || b == 0)
            continue;
        formed = 1;
        if (a * step->second_ratio <= b * step->first_ratio) {
            total += span_ceil(a * step->rate * SPAN_PPM, step->first_ratio);
            amount[step->first] = 0;
            amount[step->second] = b - a * step->second_ratio / step->first_ratio;
        } else {
            total += span_ceil(b * step->rate * SPAN_PPM, step->second_ratio);
            amount[step->first] = a - b * step->first_ratio / step->second_ratio;
            amount[step->second] = 0;
        }
    }
    return formed ? total + s->slack : 0;
}

/* Calendar charge of deltas by expiry, 1e-10 coin; tier -1: in none. With `ordered` what it may become where `up` and
 * `down` may be added to and taken from them in any part, and `capped` more be moved anywhere. */
static inline int64_t span_calendar(const SpanSpreads *s, const int8_t *tier, int buckets, const int64_t *delta,
                                    const int64_t *up, const int64_t *down, int ordered, int64_t capped, int *bad)
{
    int128 amount[SPAN_NODES], most[SPAN_NODES], total, grown = 0, longs = 0, shorts = 0;
    int64_t rate[SPAN_NODES];
    int open = 0;
    memset(amount, 0, sizeof amount);
    memset(most, 0, sizeof most);
    memset(rate, 0, sizeof rate);
    for (int b = 0; b < buckets; b++) {
        if (tier[b] < 0 || (delta[b] == 0 && !(ordered && (up[b] || down[b]))))
            continue;
        int at = 2 * tier[b];
        int128 held = delta[b], zero = 0, high = held + (ordered ? up[b] : 0), low = held - (ordered ? down[b] : 0);
        amount[at + (held < 0)] += held < 0 ? -held : held;
        most[at] += span_larger(high, zero);
        most[at + 1] += span_larger(-low, zero);
        int128 rise = (span_larger(high, zero) - span_larger(held, zero)) * s->up[at]
                      + (span_larger(-held, zero) - span_larger(-high, zero)) * s->down[at + 1];
        int128 fall = (span_larger(held, zero) - span_larger(low, zero)) * s->down[at]
                      + (span_larger(-low, zero) - span_larger(-held, zero)) * s->up[at + 1];
        grown += span_larger(rise, fall);
    }
    total = span_serve(s, amount);
    if (ordered) {
        total += grown + s->noise;
        /* no more than every delta at the dearest spread that it can stand in */
        for (int k = 0; k < s->step_count; k++) {
            const SpanStep *step = &s->step[k];
            if (most[step->first] == 0 || most[step->second] == 0)
                continue;
            open = 1;
            int128 first = span_ceil((int128)step->rate * SPAN_PPM, step->first_ratio);
            int128 second = span_ceil((int128)step->rate * SPAN_PPM, step->second_ratio);
            rate[step->first] = (int64_t)span_larger(rate[step->first], first);
            rate[step->second] = (int64_t)span_larger(rate[step->second], second);
        }
        for (int n = 0; n < s->node_count; n += 2) {
            longs += most[n] * rate[n];
            shorts += most[n + 1] * rate[n + 1];
        }
        longs = (longs < shorts ? longs : shorts) + (open ? s->noise : 0);
        total = (longs < total ? longs : total) + (int128)capped * s->most;
    }
    return wide_narrow(span_ceil(total, SPAN_PPM), bad);
}

#endif
