/* Template, included once per instruction set: vectors and the elementary functions of the pricing kernels.
 *
 * Only + - * /, comparisons and bit operations, each correctly rounded by IEEE 754 and in one fixed order per
 * lane, so every vector width gives the same bits. Expects NAME(x) and VECTOR_BYTES.
 */
typedef double NAME(vd) __attribute__((vector_size(VECTOR_BYTES)));
typedef int64_t NAME(vl) __attribute__((vector_size(VECTOR_BYTES)));
typedef uint64_t NAME(vu) __attribute__((vector_size(VECTOR_BYTES)));
typedef double NAME(vd_memory) __attribute__((vector_size(VECTOR_BYTES), aligned(8), may_alias));

#define VD NAME(vd)
#define VL NAME(vl)
#define VU NAME(vu)
#define LANES (VECTOR_BYTES / 8)

KERNEL_INLINE VD NAME(load)(const double *p) { return *(const NAME(vd_memory) *)p; }
KERNEL_INLINE void NAME(store)(double *p, VD x) { *(NAME(vd_memory) *)p = x; }
KERNEL_INLINE VD NAME(splat)(double x) { return x - (VD){0}; }

/* min and max return the second operand when either is NaN. */
#if VECTOR_BYTES == 64
KERNEL_INLINE VD NAME(min)(VD a, VD b) { return (VD)_mm512_min_pd((__m512d)a, (__m512d)b); }
KERNEL_INLINE VD NAME(max)(VD a, VD b) { return (VD)_mm512_max_pd((__m512d)a, (__m512d)b); }
KERNEL_INLINE VD NAME(where_negative)(VD x, VD a) {
    return (VD)_mm512_maskz_mov_pd(_mm512_cmp_pd_mask((__m512d)x, _mm512_setzero_pd(), _CMP_LT_OQ),
                                   (__m512d)a);
}
#else
#if VECTOR_BYTES == 32
KERNEL_INLINE VD NAME(min)(VD a, VD b) { return (VD)_mm256_min_pd((__m256d)a, (__m256d)b); }
KERNEL_INLINE VD NAME(max)(VD a, VD b) { return (VD)_mm256_max_pd((__m256d)a, (__m256d)b); }
#elif defined(MARGRAVE_X86)
KERNEL_INLINE VD NAME(min)(VD a, VD b) { return (VD)_mm_min_pd((__m128d)a, (__m128d)b); }
KERNEL_INLINE VD NAME(max)(VD a, VD b) { return (VD)_mm_max_pd((__m128d)a, (__m128d)b); }
#else
KERNEL_INLINE VD NAME(min)(VD a, VD b) {
    VL less = (VL)(a < b);
    return (VD)((less & (VL)a) | (~less & (VL)b));
}
KERNEL_INLINE VD NAME(max)(VD a, VD b) {
    VL more = (VL)(a > b);
    return (VD)((more & (VL)a) | (~more & (VL)b));
}
#endif
/* a where x < 0, else +0. */
KERNEL_INLINE VD NAME(where_negative)(VD x, VD a) { return (VD)((VL)(x < 0.0) & (VL)a); }
#endif

KERNEL_INLINE VD NAME(abs)(VD x) { return (VD)((VL)x & 0x7fffffffffffffffLL); }
/* Gives non-negative `magnitude` the sign bit of `sign`. */
KERNEL_INLINE VD NAME(with_sign)(VD magnitude, VD sign) {
    return (VD)((VU)magnitude | ((VU)sign & 0x8000000000000000ULL));
}
/* The larger of |x| and `most`, which is not negative. */
#if VECTOR_BYTES == 64
KERNEL_INLINE VD NAME(larger_size)(VD x, VD most) {
    return (VD)_mm512_range_pd((__m512d)x, (__m512d)most, 11); /* largest size, sign cleared */
}
#else
KERNEL_INLINE VD NAME(larger_size)(VD x, VD most) { return NAME(max)(NAME(abs)(x), most); }
#endif
/* Nearest integer, ties to even, for |x| < 2^51. */
KERNEL_INLINE VD NAME(round)(VD x) { return (x + ROUND_SHIFTER) - ROUND_SHIFTER; }

/* Horizontal extremes by halving: a loop over lanes would branch on the data. */
#if VECTOR_BYTES == 64
KERNEL_INLINE double NAME(largest_lane)(VD x) { return _mm512_reduce_max_pd((__m512d)x); }
KERNEL_INLINE double NAME(least_lane)(VD x) { return _mm512_reduce_min_pd((__m512d)x); }
#else
#if VECTOR_BYTES == 32
KERNEL_INLINE VD NAME(swap_halves)(VD x) { return (VD)_mm256_permute2f128_pd((__m256d)x, (__m256d)x, 1); }
#else
KERNEL_INLINE VD NAME(swap_halves)(VD x) { return x; }
#endif
KERNEL_INLINE double NAME(largest_lane)(VD x) {
    x = NAME(max)(x, NAME(swap_halves)(x));
    return x[0] > x[1] ? x[0] : x[1];
}
KERNEL_INLINE double NAME(least_lane)(VD x) {
    x = NAME(min)(x, NAME(swap_halves)(x));
    return x[0] < x[1] ? x[0] : x[1];
}
#endif

/* The coefficients of the inner loop, one whole vector each, behind a pointer the compiler cannot see
 * through: it would otherwise load and spill them all again for every pair. */
#if VECTOR_BYTES == 64
#define LANES_OF(c) {c, c, c, c, c, c, c, c}
#elif VECTOR_BYTES == 32
#define LANES_OF(c) {c, c, c, c}
#else
#define LANES_OF(c) {c, c}
#endif
typedef struct {
    VD c[11], p[9], q[10], density_rate;
} NAME(fits);
static const NAME(fits) NAME(fit_table) = {
    {LANES_OF(DENSITY_C0), LANES_OF(DENSITY_C1), LANES_OF(DENSITY_C2), LANES_OF(DENSITY_C3),
     LANES_OF(DENSITY_C4), LANES_OF(DENSITY_C5), LANES_OF(DENSITY_C6), LANES_OF(DENSITY_C7),
     LANES_OF(DENSITY_C8), LANES_OF(DENSITY_C9), LANES_OF(DENSITY_C10)},
    {LANES_OF(MILLS_P0), LANES_OF(MILLS_P1), LANES_OF(MILLS_P2), LANES_OF(MILLS_P3), LANES_OF(MILLS_P4),
     LANES_OF(MILLS_P5), LANES_OF(MILLS_P6), LANES_OF(MILLS_P7), LANES_OF(MILLS_P8)},
    {LANES_OF(1.0), LANES_OF(MILLS_Q1), LANES_OF(MILLS_Q2), LANES_OF(MILLS_Q3), LANES_OF(MILLS_Q4),
     LANES_OF(MILLS_Q5), LANES_OF(MILLS_Q6), LANES_OF(MILLS_Q7), LANES_OF(MILLS_Q8), LANES_OF(MILLS_Q9)},
    LANES_OF(DENSITY_RATE),
};
KERNEL_INLINE const NAME(fits) * NAME(opaque_fits)(void) {
    const NAME(fits) *fits = &NAME(fit_table);
    __asm__("" : "+r"(fits));
    return fits;
}

/* phi(z) from z^2, |z| <= MILLS_Z_MAX: 2^(k + r) with r in [-1/2, 1/2] exact, one near-minimax polynomial of
 * degree 10 (2e-16 relative before rounding), summed as a tree (Estrin) for short dependency chains. */
KERNEL_INLINE VD NAME(density)(const NAME(fits) *fits, VD z_squared) {
    const VD *c = fits->c;
    VD t = z_squared * fits->density_rate, shifted = t + ROUND_SHIFTER;
    VD r = t - (shifted - ROUND_SHIFTER);
    VD r2 = r * r, r4 = r2 * r2;
    VD p03 = (c[0] + c[1] * r) + (c[2] + c[3] * r) * r2;
    VD p47 = (c[4] + c[5] * r) + (c[6] + c[7] * r) * r2;
    VD p8 = (c[8] + c[9] * r) + c[10] * r2;
    VD mantissa = p03 + (p47 + p8 * r4) * r4;
    return (VD)((VU)mantissa + ((VU)shifted << 52));
}

/* k ln 2 + ln(1 + f) for 1 + f in [sqrt(1/2), sqrt 2): with s = f / (2 + f), ln(1 + f) = f - s (f - s^2
 * q(s^2)), q near-minimax of degree 7. */
KERNEL_INLINE VD NAME(log_parts)(VD k, VD f) {
    VD s = f / (2.0 + f), t = s * s;
    VD q = LOG_C7 * t + LOG_C6;
    q = q * t + LOG_C5;
    q = q * t + LOG_C4;
    q = q * t + LOG_C3;
    q = q * t + LOG_C2;
    q = q * t + LOG_C1;
    q = q * t + LOG_C0;
    VD low = k * LN2_LOW - s * (f - t * q);
    return k * LN2_HIGH + (f + low);
}

/* x = 2^exponent (1 + f), x normal and positive. */
KERNEL_INLINE VL NAME(exponent)(VD x) { return (VL)((VU)x - SQRT_HALF_BITS) >> 52; }
KERNEL_INLINE VD NAME(fraction)(VD x, VL exponent) { return (VD)((VU)x - ((VU)exponent << 52)) - 1.0; }
KERNEL_INLINE VD NAME(from_int)(VL k) { return (VD)(k + ROUND_SHIFTER_BITS) - ROUND_SHIFTER; }

KERNEL_INLINE VD NAME(log)(VD x) {
    VL exponent = NAME(exponent)(x);
    return NAME(log_parts)(NAME(from_int)(exponent), NAME(fraction)(x, exponent));
}

/* ln(a/b), the ratio clamped to normal numbers (0/0 counts as the least). Near a = b the difference a - b is
 * exact where the rounded ratio is not, and a short-dated option at the money needs every bit of it. */
KERNEL_INLINE VD NAME(log_ratio)(VD a, VD b) {
    VD ratio = NAME(min)(NAME(max)(a / b, NAME(splat)(1e-300)), NAME(splat)(1e300));
    VL exponent = NAME(exponent)(ratio), near = (VL)(exponent == 0);
    VD f = (VD)((near & (VL)((a - b) / b)) | (~near & (VL)NAME(fraction)(ratio, exponent)));
    return NAME(log_parts)(NAME(from_int)(exponent), f);
}

/* Mills ratio Y(z) = N(-z) / phi(z) as a quotient on [0, 39]: near-minimax, degree (8, 9), 3e-15 relative,
 * all coefficients positive, so there is no cancellation. The caller shares the division. */
KERNEL_INLINE void NAME(mills)(const NAME(fits) *fits, VD z, VD z2, VD *numerator, VD *denominator) {
    const VD *p = fits->p, *q = fits->q;
    VD z4 = z2 * z2, z8 = z4 * z4;
    VD n03 = (p[0] + p[1] * z) + (p[2] + p[3] * z) * z2;
    VD n47 = (p[4] + p[5] * z) + (p[6] + p[7] * z) * z2;
    VD d03 = (q[0] + q[1] * z) + (q[2] + q[3] * z) * z2;
    VD d47 = (q[4] + q[5] * z) + (q[6] + q[7] * z) * z2;
    *numerator = (n03 + n47 * z4) + p[8] * z8;
    *denominator = (d03 + d47 * z4) + (q[8] + q[9] * z) * z8;
}
