/* Template: bounds on the value of options over a box of market states, and the search for accounts outside
 * theirs. The proof stands in docs/margin.md, "Safe bands". Expects black76.h and risk_rows.h.
 *
 * At a fixed total width a Black-76 price is convex in the forward, and it rises with the width. So over the box
 * it is at least the tangent at the anchor at the narrowest width, and at most the chord at the widest.
 */
typedef struct {
    KERNEL_ALIGNED double forward[MARGRAVE_MAX_SCENARIOS]; /* shocked, at the anchor */
    KERNEL_ALIGNED double low[MARGRAVE_MAX_SCENARIOS];     /* call: tangent at the anchor */
    KERNEL_ALIGNED double step[MARGRAVE_MAX_SCENARIOS];    /* what it rises by up to the box's upper end */
    KERNEL_ALIGNED double high[3][MARGRAVE_MAX_SCENARIOS]; /* call: chord at the three points */
    KERNEL_ALIGNED double slope[2][MARGRAVE_MAX_SCENARIOS]; /* call, put: largest change per unit of basis */
    double strike;
} NAME(bounds);

/* N(z) and a bound on it that needs no quotient: half the exponential, 1 from zero on. */
KERNEL_INLINE VD NAME(normal)(VD z) {
    NAME(black) b = NAME(black_terms)(NAME(opaque_fits)(), -z, NAME(abs)(z));
    return NAME(tail_of_d_minus)(&b);
}

KERNEL_INLINE VD NAME(normal_bound)(const NAME(fits) *fits, VD z) {
    VD far = NAME(min)(NAME(abs)(z), NAME(splat)(MILLS_Z_MAX));
    VD half = NAME(density)(fits, far * far) * HALF_ROOT_TWO_PI;
    return NAME(splat)(1.0) - NAME(where_negative)(z, 1.0 - half);
}

/* A call's price at forward, x = ln(forward / strike) and width; its delta where asked for. */
KERNEL_INLINE VD NAME(call_at)(const NAME(fits) *fits, VD forward, VD strike, VD x, VD width, VD *delta) {
    VD a = NAME(abs)(x) / width, half = 0.5 * width;
    NAME(black) b = NAME(black_terms)(fits, a - half, a + half);
    VD lesser = NAME(min)(forward, strike);
    VD otm = NAME(black_value)(lesser, b.d_minus, NAME(black_spread)(&b));
    if (delta) *delta = NAME(call_delta)(&b, x, lesser, forward);
    return otm + NAME(max)(forward - strike, NAME(splat)(0.0));
}

typedef struct {
    double strike, log_ratio, width, root_years, forward;
    const double *vol_multiplier;
} NAME(band_pair);

/* The call's tangent and chord in every column. */
static void NAME(bound_columns)(const ChainInput *in, const BandBox *box, const double *log_multiplier,
                                const NAME(band_pair) *pair, NAME(bounds) *c) {
    const NAME(fits) *fits = NAME(opaque_fits)();
    double up = 1.0 + box->price_range, down = 1.0 - box->price_range;
    double log_up = scalar_log(up), log_down = scalar_log(down);
    double edge_up = scalar_log(up * (1.0 + box->basis_range) * BAND_OUTWARD);
    double edge_down = scalar_log(down * (1.0 - box->basis_range) / BAND_OUTWARD);
    VD strike = NAME(splat)(pair->strike), least = NAME(splat)(WIDTH_MIN);
    c->strike = pair->strike;
    for (int j = 0; j < in->scenario_count; j += LANES) {
        VD forward = pair->forward * NAME(load)(in->spot_multiplier + j);
        VD x = pair->log_ratio + NAME(load)(log_multiplier + j);
        VD floor = in->vol_floor ? NAME(load)(in->vol_floor + j) : NAME(splat)(0.0);
        VD width = NAME(max)(pair->width * NAME(load)(pair->vol_multiplier + j), floor * pair->root_years);
        VD narrow = NAME(max)(width * (1.0 - box->width_range), least);
        VD wide = NAME(max)(width * (1.0 + box->width_range), least);
        VD delta;
        NAME(store)(c->forward + j, forward);
        NAME(store)(c->low + j, NAME(call_at)(fits, forward, strike, x, narrow, &delta));
        NAME(store)(c->step + j, delta * forward * box->price_range);
        NAME(store)(c->high[0] + j, NAME(call_at)(fits, forward, strike, x, wide, 0));
        NAME(store)(c->high[1] + j, NAME(call_at)(fits, forward * up, strike, x + log_up, wide, 0));
        NAME(store)(c->high[2] + j, NAME(call_at)(fits, forward * down, strike, x + log_down, wide, 0));
        /* d1 and d2 at the corner of the box where they are largest, -d1 and -d2 likewise */
        VD far = x + edge_up, near = -(x + edge_down);
        far = NAME(max)(far / narrow, far / wide);
        near = NAME(max)(near / narrow, near / wide);
        if (in->inverse) {
            NAME(store)(c->slope[0] + j, strike * NAME(normal_bound)(fits, far - 0.5 * narrow));
            NAME(store)(c->slope[1] + j, strike * NAME(normal_bound)(fits, near + 0.5 * wide));
        } else {
            NAME(store)(c->slope[0] + j, forward * up * NAME(normal_bound)(fits, far + 0.5 * wide));
            NAME(store)(c->slope[1] + j, forward * up * NAME(normal_bound)(fits, near - 0.5 * narrow));
        }
    }
}

/* Least and largest value of one lot of a call (side 0) or put (1) at a point of the box: a share of the value at
 * the mark and one of the value in the column. A negative share swaps tangent and chord. */
static void NAME(bound_side)(const ChainInput *in, const BandBox *box, const NAME(bounds) *c, int side, int point,
                             int numeraire, double scale, double strike, double *least_row, double *largest_row) {
    int base = box->base_column;
    double sign = point == 0 ? 0.0 : point == 1 ? 1.0 : -1.0, reach = 1.0 + sign * box->price_range;
    double shrunk = 1.0 - box->basis_range;
    double basis = in->inverse ? box->basis_range / (shrunk * shrunk) : box->basis_range;
    double parity = side ? strike - c->forward[base] * reach : 0.0;
    double base_low = c->low[base] + sign * c->step[base] + parity, base_high = c->high[point][base] + parity;
    VD zero = NAME(splat)(0.0);
    for (int j = 0; j < in->scenario_count; j += LANES) {
        VD share = NAME(load)(box->base_share[numeraire] + j), shock = NAME(load)(box->shock_share[numeraire] + j);
        VD plus = NAME(max)(share, zero), minus = NAME(max)(-share, zero);
        VD low = NAME(load)(c->low + j) + sign * NAME(load)(c->step + j), high = NAME(load)(c->high[point] + j);
        if (side) {
            VD put = strike - NAME(load)(c->forward + j) * reach;
            low += put;
            high += put;
        }
        VD slope = (plus + minus) * c->slope[side][base] + shock * NAME(load)(c->slope[side] + j);
        VD least = plus * base_low - minus * base_high + shock * low - basis * slope;
        VD largest = plus * base_high - minus * base_low + shock * high + basis * slope;
        NAME(store)(least_row + j, least * scale);
        NAME(store)(largest_row + j, largest * scale);
    }
}

/* Least and largest value of one lot at the mark. */
static void NAME(bound_mark)(const ChainInput *in, const BandBox *box, const NAME(bounds) *c, int side, int point,
                             double scale, int64_t row, const BandTables *out) {
    int base = box->base_column;
    double sign = point == 0 ? 0.0 : point == 1 ? 1.0 : -1.0, shrunk = 1.0 - box->basis_range;
    double basis = (in->inverse ? box->basis_range / (shrunk * shrunk) : box->basis_range) * c->slope[side][base];
    double parity = side ? c->strike - c->forward[base] * (1.0 + sign * box->price_range) : 0.0;
    out->mark[0][point][row] = (c->low[base] + sign * c->step[base] + parity - basis) * scale;
    out->mark[1][point][row] = (c->high[point][base] + parity + basis) * scale;
}

/* Least and largest N(d1) over the box. */
static void NAME(bound_deltas)(const BandBox *box, const NAME(band_pair) *pair, double *deltas) {
    double narrow = pair->width * (1.0 - box->width_range), wide = pair->width * (1.0 + box->width_range);
    if (narrow < WIDTH_MIN) narrow = WIDTH_MIN;
    if (wide < WIDTH_MIN) wide = WIDTH_MIN;
    double far = pair->log_ratio
                 + scalar_log((1.0 + box->price_range) * (1.0 + box->basis_range) * BAND_OUTWARD);
    double near = pair->log_ratio
                  + scalar_log((1.0 - box->price_range) * (1.0 - box->basis_range) / BAND_OUTWARD);
    double largest = far / (far > 0.0 ? narrow : wide) + 0.5 * wide;
    double least = near / (near > 0.0 ? wide : narrow) + 0.5 * narrow;
    deltas[0] = NAME(normal)(NAME(splat)(least))[0] - BAND_DELTA_ERROR;
    deltas[1] = NAME(normal)(NAME(splat)(largest))[0] + BAND_DELTA_ERROR;
}

static void NAME(bound_chain)(const ChainInput *in, const BandBox *box, const BandTables *out) {
    KERNEL_ALIGNED double log_multiplier[MARGRAVE_MAX_SCENARIOS];
    NAME(bounds) c;
    BandBox own = *box;
    for (int j = 0; j < in->scenario_count; j += LANES)
        NAME(store)(log_multiplier + j, NAME(log)(NAME(load)(in->spot_multiplier + j)));
    for (int32_t i = 0; i < in->pair_count; i++) {
        int32_t e = in->expiry_of_pair[i];
        double forward = in->forward[e], root_years = __builtin_sqrt(in->years[e]), deltas[2];
        NAME(band_pair) pair = {in->strike[i],        scalar_log(forward / in->strike[i]), in->vol[i] * root_years,
                                root_years,           forward,
                                in->vol_multiplier + (int64_t)e * in->scenario_count};
        own.width_range = box->width_range * margrave_band_stretch(in->years[e]);
        NAME(bound_columns)(in, &own, log_multiplier, &pair, &c);
        NAME(bound_deltas)(&own, &pair, deltas);
        double scale = in->lot_coin * USD_ROW_SCALE;
        if (in->inverse) scale *= in->index_price / forward;
        for (int side = 0; side < 2; side++) {
            int64_t row = side ? in->put_row[i] : in->call_row[i];
            if (row < 0) continue;
            for (int numeraire = 0; numeraire < 2; numeraire++)
                for (int point = 0; point < 3; point++) {
                    double *to = out->rows[numeraire][point] + 2 * row * in->scenario_count;
                    NAME(bound_side)(in, &own, &c, side, point, numeraire, scale, pair.strike, to,
                                     to + in->scenario_count);
                }
            for (int point = 0; point < 3; point++) NAME(bound_mark)(in, &own, &c, side, point, scale, row, out);
            out->delta_low[row] = in->lot_coin * (deltas[0] - side);
            out->delta_high[row] = in->lot_coin * (deltas[1] - side);
            out->gross[row] = scale * (forward > pair.strike ? forward : pair.strike);
        }
    }
}

/* min over columns of v + dampener + coin x factor */
static double NAME(bound_least)(const double *v, const double *dampener, double coin, const double *factor,
                                int count) {
    VD least = NAME(splat)(__builtin_inf());
    for (int j = 0; j < count; j += LANES)
        least = NAME(min)(
            (NAME(load)(v + j) + NAME(load)(dampener + j)) + coin * NAME(load)(factor + j), least);
    return NAME(least_lane)(least);
}

/* Largest relative change of a total width by its expiry's stretch, under any of `classes` shocks of vol, over the
 * expiries [first, end). An expiry's numbers end at end_of[expiry]: unshocked widths, padded to a multiple of 8, and a
 * tail of 8: the root of the time, the multiplier of each class, and last the stretch. `inverse` holds one over the
 * anchor's numbers, and so the padding.
 *
 * A shocked width is max(width x multiplier, floor x root). Its ratio to the anchor's lies between that of the root and
 * that of width x multiplier, which is off one by at most d (1 + q) + q, the width's ratio being off by d and the
 * multiplier's by q. */
static double NAME(widths_change)(int first, int end, const int32_t *end_of, int classes, int floored,
                                  const double *now, const double *inverse) {
    VD most = NAME(splat)(0.0);
    double alone = 0.0;
    for (int expiry = first; expiry < end; expiry++) {
        int tail = end_of[expiry] - 8;
        double shock = 0.0, root = __builtin_fabs(now[tail] * inverse[tail] - 1.0);
        for (int k = tail + 1; k <= tail + classes; k++) {
            double change = __builtin_fabs(now[k] * inverse[k] - 1.0);
            if (change > shock) shock = change;
        }
        double inverse_stretch = inverse[tail + 7];
        if (floored && root * inverse_stretch > alone) alone = root * inverse_stretch;
        for (int i = expiry ? end_of[expiry - 1] : 0; i < tail; i += LANES) {
            VD change = NAME(abs)(NAME(load)(now + i) * NAME(load)(inverse + i) - 1.0);
            most = NAME(max)((change * (1.0 + shock) + shock) * inverse_stretch, most);
        }
    }
    double found = NAME(largest_lane)(most);
    return found > alone ? found : alone;
}

/* Which of BAND_BLOCK bands do not hold at a price and a change, a bit each. */
KERNEL_INLINE uint32_t NAME(bands_left)(float price, float change, const float *low, const float *high,
                                        const float *reach) {
#if VECTOR_BYTES == 64
    __m512 at = _mm512_set1_ps(price);
    uint32_t left = _mm512_cmp_ps_mask(at, _mm512_loadu_ps(low), _CMP_LT_OQ);
    left |= _mm512_cmp_ps_mask(at, _mm512_loadu_ps(high), _CMP_GT_OQ);
    return left | _mm512_cmp_ps_mask(_mm512_set1_ps(change), _mm512_loadu_ps(reach), _CMP_GT_OQ);
#else
    uint32_t left = 0;
#if VECTOR_BYTES == 32
    __m256 at = _mm256_set1_ps(price), moved = _mm256_set1_ps(change);
    for (int i = 0; i < BAND_BLOCK; i += 8) {
        __m256 out = _mm256_cmp_ps(at, _mm256_loadu_ps(low + i), _CMP_LT_OQ);
        out = _mm256_or_ps(out, _mm256_cmp_ps(at, _mm256_loadu_ps(high + i), _CMP_GT_OQ));
        out = _mm256_or_ps(out, _mm256_cmp_ps(moved, _mm256_loadu_ps(reach + i), _CMP_GT_OQ));
        left |= (uint32_t)_mm256_movemask_ps(out) << i;
    }
#else
    for (int i = 0; i < BAND_BLOCK; i++)
        left |= (uint32_t)((price < low[i]) | (price > high[i]) | (change > reach[i])) << i;
#endif
    return left;
#endif
}

static void NAME(block_marked)(const BandCell *cell, float price, float change, uint32_t block, uint64_t *left) {
    int64_t at = (int64_t)block * BAND_BLOCK;
    uint32_t found = NAME(bands_left)(price, change, cell->low + at, cell->high + at, cell->reach + at);
    for (; found; found &= found - 1) {
        uint32_t account = cell->account[at + __builtin_ctz(found)];
        left[account / 64] |= 1ULL << (account % 64);
    }
}

/* Sets the bit of every account of a cell whose band was left. Only blocks whose own band was left are looked
 * into, and a few are waited for at once. */
static void NAME(cell_scan)(const BandCell *cell, float price, float change, uint64_t *left) {
    uint32_t waiting[BAND_WAITING + BAND_BLOCK];
    int64_t blocks = (cell->count + BAND_BLOCK - 1) / BAND_BLOCK;
    int count = 0;
    for (int64_t first = 0; first < blocks; first += BAND_BLOCK) {
        uint32_t found = NAME(bands_left)(price, change, cell->block_low + first, cell->block_high + first,
                                          cell->block_reach + first);
        for (; found; found &= found - 1) {
            uint32_t block = (uint32_t)first + (uint32_t)__builtin_ctz(found);
            int64_t at = (int64_t)block * BAND_BLOCK;
            __builtin_prefetch(cell->low + at);
            __builtin_prefetch(cell->high + at);
            __builtin_prefetch(cell->reach + at);
            __builtin_prefetch(cell->account + at);
            waiting[count++] = block;
        }
        if (count >= BAND_WAITING) {
            for (int i = 0; i < count; i++) NAME(block_marked)(cell, price, change, waiting[i], left);
            count = 0;
        }
    }
    for (int i = 0; i < count; i++) NAME(block_marked)(cell, price, change, waiting[i], left);
}
