/* Template: one chain or one future repriced over the scenario columns into integer risk rows.
 *
 * No logarithm, square root or scenario division per price: ln(F_s/K) = ln(F/K) + ln(1 + m_j), and widths and
 * their inverses are products of per-pair and per-column numbers. Expects black76.h.
 */
typedef struct {
    KERNEL_ALIGNED double log_multiplier[MARGRAVE_MAX_SCENARIOS];
    KERNEL_ALIGNED double coin_scale[MARGRAVE_MAX_SCENARIOS];
    KERNEL_ALIGNED double usd_scale[MARGRAVE_MAX_SCENARIOS];
    /* of the current expiry */
    KERNEL_ALIGNED double forward[MARGRAVE_MAX_SCENARIOS];
    KERNEL_ALIGNED double inverse_forward[MARGRAVE_MAX_SCENARIOS];
    KERNEL_ALIGNED double forward_row[MARGRAVE_MAX_SCENARIOS]; /* linear: call row minus put row */
    KERNEL_ALIGNED double vol_multiplier[MARGRAVE_MAX_SCENARIOS];
    KERNEL_ALIGNED double inverse_vol_multiplier[MARGRAVE_MAX_SCENARIOS];
    KERNEL_ALIGNED double half_width_floor[MARGRAVE_MAX_SCENARIOS];
    KERNEL_ALIGNED double inverse_width_floor[MARGRAVE_MAX_SCENARIOS];
    /* of the current pair */
    KERNEL_ALIGNED double d_minus[MARGRAVE_MAX_SCENARIOS];
    KERNEL_ALIGNED double d_plus[MARGRAVE_MAX_SCENARIOS];
    KERNEL_ALIGNED double spread[MARGRAVE_MAX_SCENARIOS];
    KERNEL_ALIGNED double spare[4][MARGRAVE_MAX_SCENARIOS]; /* rows of unlisted sides */
} NAME(columns);

/* LANES pairs at the unshocked point. */
typedef struct {
    double strike[LANES], forward[LANES], log_ratio[LANES], width[LANES], inverse_width[LANES];
    double value[LANES], put_value[LANES], strike_ratio[LANES], delta[LANES];
} NAME(base_point);

static void NAME(fill_columns)(const ChainInput *in, NAME(columns) *c) {
    for (int j = 0; j < in->scenario_count; j += LANES) {
        VD multiplier = NAME(load)(in->spot_multiplier + j);
        VD weight = in->weight ? NAME(load)(in->weight + j) : NAME(splat)(1.0);
        NAME(store)(c->log_multiplier + j, NAME(log)(multiplier));
        VD coin = weight * (in->lot_coin * COIN_ROW_SCALE);
        NAME(store)(c->coin_scale + j, in->coin_factor ? coin * NAME(load)(in->coin_factor + j) : coin);
        VD usd = weight * (in->lot_coin * USD_ROW_SCALE);
        NAME(store)(c->usd_scale + j, in->inverse ? usd * (in->index_price * multiplier) : usd);
    }
}

static void NAME(fill_expiry)(const ChainInput *in, int32_t expiry, NAME(columns) *c) {
    double forward = in->forward[expiry], root_years = __builtin_sqrt(in->years[expiry]);
    const double *vol_multiplier = in->vol_multiplier + (int64_t)expiry * in->scenario_count;
    for (int j = 0; j < in->scenario_count; j += LANES) {
        VD shocked = forward * NAME(load)(in->spot_multiplier + j);
        VD multiplier = NAME(load)(vol_multiplier + j);
        VD floor = in->vol_floor ? NAME(load)(in->vol_floor + j) : NAME(splat)(0.0);
        floor = NAME(max)(floor * root_years, NAME(splat)(WIDTH_MIN));
        NAME(store)(c->forward + j, shocked);
        NAME(store)(c->inverse_forward + j, 1.0 / shocked);
        NAME(store)(c->forward_row + j, NAME(round)((shocked - forward) * NAME(load)(c->usd_scale + j)));
        NAME(store)(c->vol_multiplier + j, multiplier);
        NAME(store)(c->inverse_vol_multiplier + j, 1.0 / multiplier);
        NAME(store)(c->half_width_floor + j, 0.5 * floor);
        NAME(store)(c->inverse_width_floor + j, 1.0 / floor);
    }
}

/* Base values with exactly the arithmetic of a column, so that an unshocked column is exactly zero. */
static void NAME(fill_base)(const ChainInput *in, int32_t start, NAME(base_point) *base) {
    double vol[LANES], root_years[LANES], root = 0.0;
    int32_t known = -1;
    for (int32_t lane = 0; lane < LANES; lane++) {
        int32_t pair = start + lane < in->pair_count ? start + lane : start;
        int32_t expiry = in->expiry_of_pair[pair];
        base->strike[lane] = in->strike[pair];
        base->forward[lane] = in->forward[expiry];
        vol[lane] = in->vol[pair];
        if (expiry != known) root = __builtin_sqrt(in->years[expiry]);
        known = expiry;
        root_years[lane] = root;
    }
    VD forward = NAME(load)(base->forward), strike = NAME(load)(base->strike);
    VD x = NAME(log_ratio)(forward, strike);
    VD width = NAME(load)(vol) * NAME(load)(root_years), inverse_width = 1.0 / width;
    VD strike_ratio = strike * (1.0 / forward);
    NAME(store)(base->log_ratio, x);
    NAME(store)(base->width, width);
    NAME(store)(base->inverse_width, inverse_width);
    NAME(store)(base->strike_ratio, strike_ratio);
    VD unit = in->inverse ? NAME(splat)(1.0) : forward, paid = in->inverse ? strike_ratio : strike;
    VD lesser = NAME(min)(unit, paid), zero = NAME(splat)(0.0);
    VD a = NAME(abs)(x) * NAME(min)(inverse_width, NAME(splat)(1.0 / WIDTH_MIN));
    VD half = 0.5 * NAME(max)(width, NAME(splat)(WIDTH_MIN));
    NAME(black) b = NAME(black_terms)(NAME(opaque_fits)(), a - half, a + half);
    VD otm = NAME(black_value)(lesser, b.d_minus, NAME(black_spread)(&b));
    NAME(store)(base->value, otm + NAME(max)(unit - paid, zero));
    NAME(store)(base->put_value, otm + NAME(max)(paid - unit, zero));
    NAME(store)(base->delta, NAME(call_delta)(&b, x, lesser, unit));
}

/* Both rows of one pair; `inverse` is a constant at each call. Gives the largest |entry| of call and put.
 * Three short passes, because one long chain per column would leave the machine waiting: several columns are
 * then in flight. */
KERNEL_INLINE void NAME(reprice_pair)(const int inverse, int count, NAME(columns) *c,
                                      const NAME(base_point) *base, int lane, double *const *rows,
                                      double *largest) {
    VD log_ratio = NAME(splat)(base->log_ratio[lane]), strike = NAME(splat)(base->strike[lane]);
    VD half_width0 = NAME(splat)(0.5 * base->width[lane]), inverse_width0 = NAME(splat)(base->inverse_width[lane]);
    VD value0 = NAME(splat)(base->value[lane]);
    VD strike_ratio0 = NAME(splat)(base->strike_ratio[lane]), zero = NAME(splat)(0.0);
    const NAME(fits) *fits = NAME(opaque_fits)();
    for (int j = 0; j < count; j += LANES) {
        VD distance = NAME(abs)(log_ratio + NAME(load)(c->log_multiplier + j));
        VD half = NAME(max)(half_width0 * NAME(load)(c->vol_multiplier + j), NAME(load)(c->half_width_floor + j));
        VD inverse_width = NAME(min)(inverse_width0 * NAME(load)(c->inverse_vol_multiplier + j),
                                     NAME(load)(c->inverse_width_floor + j));
        VD a = distance * inverse_width;
        NAME(store)(c->d_minus + j, a - half);
        NAME(store)(c->d_plus + j, a + half);
    }
    for (int j = 0; j < count; j += LANES) {
        NAME(black) b = NAME(black_terms)(fits, NAME(load)(c->d_minus + j), NAME(load)(c->d_plus + j));
        NAME(store)(c->spread + j, NAME(black_spread)(&b));
    }
    VD call_max = zero, put_max = zero;
    for (int j = 0; j < count; j += LANES) {
        VD unit = inverse ? NAME(splat)(1.0) : NAME(load)(c->forward + j);
        VD paid = inverse ? strike * NAME(load)(c->inverse_forward + j) : strike;
        VD otm =
            NAME(black_value)(NAME(min)(unit, paid), NAME(load)(c->d_minus + j), NAME(load)(c->spread + j));
        VD change = (otm + NAME(max)(unit - paid, zero)) - value0;
        VD scale = NAME(load)(c->usd_scale + j), parity = strike_ratio0 - paid;
        VD call = NAME(round)(change * scale);
        VD put = call - (inverse ? NAME(round)(parity * scale) : NAME(load)(c->forward_row + j));
        NAME(store)(rows[0] + j, call);
        NAME(store)(rows[1] + j, put);
        call_max = NAME(larger_size)(call, call_max);
        put_max = NAME(larger_size)(put, put_max);
        if (inverse) {
            scale = NAME(load)(c->coin_scale + j);
            call = NAME(round)(change * scale);
            put = call - NAME(round)(parity * scale);
            NAME(store)(rows[2] + j, call);
            NAME(store)(rows[3] + j, put);
            call_max = NAME(larger_size)(call, call_max);
            put_max = NAME(larger_size)(put, put_max);
        }
    }
    largest[0] = NAME(largest_lane)(call_max);
    largest[1] = NAME(largest_lane)(put_max);
}

static void NAME(reprice_chain)(const ChainInput *in, const ChainOutput *out) {
    NAME(columns) columns;
    NAME(base_point) base;
    int count = in->scenario_count, inverse = in->inverse != 0;
    int32_t current_expiry = -1;
    NAME(fill_columns)(in, &columns);
    for (int32_t pair = 0; pair < in->pair_count; pair++) {
        int lane = pair % LANES;
        if (lane == 0) NAME(fill_base)(in, pair, &base);
        if (in->expiry_of_pair[pair] != current_expiry) {
            current_expiry = in->expiry_of_pair[pair];
            NAME(fill_expiry)(in, current_expiry, &columns);
        }
        double *rows[4], largest[2];
        int32_t row_of_side[2] = {in->call_row[pair], in->put_row[pair]};
        for (int side = 0; side < 2; side++) {
            int64_t at = (int64_t)row_of_side[side] * count;
            rows[side] = at >= 0 ? out->rows_usd + at : columns.spare[side];
            rows[2 + side] = at >= 0 && inverse ? out->rows_coin + at : columns.spare[2 + side];
        }
        if (count == 40 && inverse) NAME(reprice_pair)(1, 40, &columns, &base, lane, rows, largest);
        else if (count == 40) NAME(reprice_pair)(0, 40, &columns, &base, lane, rows, largest);
        else if (inverse) NAME(reprice_pair)(1, count, &columns, &base, lane, rows, largest);
        else NAME(reprice_pair)(0, count, &columns, &base, lane, rows, largest);
        for (int side = 0; side < 2; side++) {
            int32_t row = row_of_side[side];
            if (row < 0) continue;
            out->mark[row] = side ? base.put_value[lane] : base.value[lane];
            out->delta[row] = side ? base.delta[lane] - 1.0 : base.delta[lane];
            out->row_max[row] = largest[side];
        }
    }
}

/* Marks alone, [P] calls and puts, by the arithmetic of reprice_chain to the last bit. */
static void NAME(chain_marks)(const ChainInput *in, double *call, double *put) {
    NAME(base_point) base;
    for (int32_t start = 0; start < in->pair_count; start += LANES) {
        int32_t lanes = in->pair_count - start < LANES ? in->pair_count - start : LANES;
        NAME(fill_base)(in, start, &base);
        for (int32_t lane = 0; lane < lanes; lane++) {
            call[start + lane] = base.value[lane];
            put[start + lane] = base.put_value[lane];
        }
    }
}

/* A future: coin P&L lot_usd (1/F - 1/(F (1 + m))) inverse, USD P&L lot_coin F m linear. The coin P&L of a
 * column is valued at that column's own (never clamped) coin price. */
static void NAME(future_row)(const FutureInput *in, FutureOutput *out) {
    VD largest = NAME(splat)(0.0);
    for (int j = 0; j < in->scenario_count; j += LANES) {
        VD spot = NAME(load)(in->spot_multiplier + j), multiplier = spot;
        VD weight = in->weight ? NAME(load)(in->weight + j) : NAME(splat)(1.0);
        if (in->clamp_mode == 1 && in->future_move_clamp) {
            VD clamp = NAME(load)(in->future_move_clamp + j);
            VL clamped = (VL)(clamp > 0.0);
            VD bounded = NAME(max)(NAME(min)(multiplier, 1.0 + clamp), 1.0 - clamp);
            multiplier = (VD)((clamped & (VL)bounded) | (~clamped & (VL)multiplier));
        }
        VD usd;
        if (in->inverse) {
            VD change = (in->lot_usd / in->forward) * (1.0 - 1.0 / multiplier);
            VD scale = weight * COIN_ROW_SCALE;
            if (in->coin_factor) scale *= NAME(load)(in->coin_factor + j);
            VD coin = NAME(round)(change * scale);
            usd = NAME(round)(change * ((weight * USD_ROW_SCALE) * (in->index_price * spot)));
            NAME(store)(out->row_coin + j, coin);
            largest = NAME(max)(NAME(abs)(coin), largest);
        } else {
            usd = NAME(round)((in->forward * multiplier - in->forward)
                              * (weight * (in->lot_coin * USD_ROW_SCALE)));
        }
        NAME(store)(out->row_usd + j, usd);
        largest = NAME(max)(NAME(abs)(usd), largest);
    }
    out->delta_coin = in->inverse ? in->lot_usd / in->forward : in->lot_coin;
    out->row_max = NAME(largest_lane)(largest);
}
