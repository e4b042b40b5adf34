/* Template: Black-76 on vectors of lanes. Undiscounted, zero rate. Expects kernel_math.h.
 *
 * With x = ln(F/K), total width w = vol sqrt(T), a = |x| / w, d+ = a + w/2, d- = a - w/2, G = min(F, K) and
 * the Mills ratio Y: G phi(d-) = max(F, K) phi(d+) = F phi(d1), so one exponential serves a call, its put and
 * the Greeks: out-of-the-money side = [d- < 0] G + G phi(d-) (sign(d-) Y(|d-|) - Y(d+)), and the other side
 * follows by parity.
 */
typedef struct {
    VD d_minus, phi;                      /* d-, phi(d-) */
    VD signed_numerator_m, denominator_m; /* sign(d-) Y(|d-|) */
    VD numerator_p, denominator_p;        /* Y(d+) */
} NAME(black);

KERNEL_INLINE NAME(black) NAME(black_terms)(const NAME(fits) *fits, VD d_minus, VD d_plus) {
    NAME(black) b;
    /* Beyond 37 the density is below 1e-297: clamped, the exponential needs no other guard. */
    VD z_minus = NAME(min)(NAME(abs)(d_minus), NAME(splat)(MILLS_Z_MAX));
    VD z_plus = NAME(min)(d_plus, NAME(splat)(MILLS_Z_MAX));
    VD square_minus = z_minus * z_minus, square_plus = z_plus * z_plus, numerator_m;
    NAME(mills)(fits, z_minus, square_minus, &numerator_m, &b.denominator_m);
    NAME(mills)(fits, z_plus, square_plus, &b.numerator_p, &b.denominator_p);
    b.phi = NAME(density)(fits, square_minus);
    b.d_minus = d_minus;
    b.signed_numerator_m = NAME(with_sign)(numerator_m, d_minus);
    return b;
}

/* phi(d-) (sign(d-) Y(|d-|) - Y(d+)): the two Mills ratios over their common denominator. */
KERNEL_INLINE VD NAME(black_spread)(const NAME(black) *b) {
    VD difference = b->signed_numerator_m * b->denominator_p - b->numerator_p * b->denominator_m;
    return (b->phi * difference) * (1.0 / (b->denominator_m * b->denominator_p));
}

/* The out-of-the-money side, never negative; lesser = min(F, K). */
KERNEL_INLINE VD NAME(black_value)(VD lesser, VD d_minus, VD spread) {
    VD otm = lesser * spread + NAME(where_negative)(d_minus, lesser);
    return NAME(max)(otm, NAME(splat)(0.0));
}

/* N(-d-) */
KERNEL_INLINE VD NAME(tail_of_d_minus)(const NAME(black) *b) {
    VD far = b->phi * (b->signed_numerator_m / b->denominator_m);
    return NAME(where_negative)(b->d_minus, NAME(splat)(1.0)) + far;
}

/* N(d1) of the call: for F <= K it is N(-d-), else 1 - N(-d+) = 1 - G phi(d-) Y(d+) / F. */
KERNEL_INLINE VD NAME(call_delta)(const NAME(black) *b, VD x, VD lesser, VD forward) {
    VD out = NAME(tail_of_d_minus)(b), mills_plus = b->numerator_p / b->denominator_p;
    VD in = 1.0 - (lesser * b->phi) * mills_plus / NAME(max)(forward, NAME(splat)(1e-300));
    VL in_the_money = (VL)(x > 0.0);
    return (VD)((in_the_money & (VL)in) | (~in_the_money & (VL)out));
}

/* Price and Greeks of LANES options. call: 1.0 or 0.0 per lane. Inputs are finite and not negative.
 * Delta N(d1), put N(d1) - 1; gamma phi(d1) / (F w); vega F phi(d1) sqrt(T); theta
 * -F phi(d1) vol / (2 sqrt(T)); rho with the spot held, so that the rate moves the forward too: K T N(d2),
 * put -K T N(-d2). At w = 0 gamma is 0; theta is 0 at T = 0; delta at the money is then 1/2. */
KERNEL_INLINE void NAME(black76_lanes)(VD forward, VD strike, VD vol, VD years, VD root_years, VD call,
                                       VD *out) {
    VD x = NAME(log_ratio)(forward, strike);
    VD exact_width = vol * root_years;
    VD width = NAME(min)(NAME(max)(exact_width, NAME(splat)(WIDTH_MIN)), NAME(splat)(1e150));
    VD inverse_width = 1.0 / width;
    VD lesser = NAME(min)(forward, strike);
    VD a = NAME(abs)(x) * inverse_width, half = 0.5 * width;
    NAME(black) b = NAME(black_terms)(NAME(opaque_fits)(), a - half, a + half);
    VD otm = NAME(black_value)(lesser, b.d_minus, NAME(black_spread)(&b));
    VD zero = NAME(splat)(0.0), intrinsic = forward - strike;
    VL is_call = (VL)(call > 0.5), is_far = (VL)(x > 0.0);
    VD side = (VD)((is_call & (VL)intrinsic) | (~is_call & (VL)-intrinsic));
    VD density = lesser * b.phi;
    VD delta = NAME(call_delta)(&b, x, lesser, forward);
    VD itm_leg = strike * (1.0 - NAME(tail_of_d_minus)(&b));
    VD otm_leg = density * (b.numerator_p / b.denominator_p);
    VD strike_leg = (VD)((is_far & (VL)itm_leg) | (~is_far & (VL)otm_leg)); /* K N(d2) */
    VL has_width = (VL)(exact_width > 0.0) & (VL)(forward > 0.0), has_years = (VL)(years > 0.0);
    VD gamma = (density / NAME(max)(forward, NAME(splat)(1e-300))) * inverse_width
               / NAME(max)(forward, NAME(splat)(1e-300));
    VD theta = (-0.5 * density) * vol / NAME(max)(root_years, NAME(splat)(1e-160));
    out[0] = otm + NAME(max)(side, zero);
    out[1] = delta - (VD)(~is_call & (VL)NAME(splat)(1.0));
    out[2] = (VD)(has_width & (VL)gamma);
    out[3] = density * root_years;
    out[4] = (VD)(has_years & (VL)theta);
    out[5] = years * (strike_leg - (VD)(~is_call & (VL)strike));
}

/* n options, arrays in, `out_arrays` (1: price only, 6: all) arrays out; the tail is padded. */
static void NAME(black76_arrays)(int64_t n, const double *forward, const double *strike, const double *vol,
                                 const double *years, const double *call, double *const *out,
                                 int out_arrays) {
    for (int64_t start = 0; start < n; start += LANES) {
        int64_t lanes = n - start < LANES ? n - start : LANES;
        double packed[6][LANES];
        for (int64_t lane = 0; lane < LANES; lane++) {
            int64_t i = start + (lane < lanes ? lane : 0);
            packed[0][lane] = forward[i];
            packed[1][lane] = strike[i];
            packed[2][lane] = vol[i];
            packed[3][lane] = years[i];
            packed[4][lane] = __builtin_sqrt(years[i]);
            packed[5][lane] = call[i];
        }
        VD result[6];
        NAME(black76_lanes)(NAME(load)(packed[0]), NAME(load)(packed[1]), NAME(load)(packed[2]),
                            NAME(load)(packed[3]), NAME(load)(packed[4]), NAME(load)(packed[5]), result);
        for (int which = 0; which < out_arrays; which++)
            for (int64_t lane = 0; lane < lanes; lane++) out[which][start + lane] = result[which][lane];
    }
}
