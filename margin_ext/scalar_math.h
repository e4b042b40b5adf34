/* Scalar exp, log and pow over the whole double range, built from IEEE basic operations alone (no libm).
 * Relative errors: exp and log below 1e-15; pow below 2^-52 (2 + |y ln x|).
 */
#ifndef MARGRAVE_SCALAR_MATH_H
#define MARGRAVE_SCALAR_MATH_H

#include <stdint.h>
#include <string.h>

#include "kernel_constants.h"

static inline uint64_t scalar_bits(double x) {
    uint64_t bits;
    memcpy(&bits, &x, 8);
    return bits;
}

static inline double scalar_from_bits(uint64_t bits) {
    double x;
    memcpy(&x, &bits, 8);
    return x;
}

static double scalar_exp(double x) {
    if (x != x) return x;
    if (x > 709.782712893384) return __builtin_inf();
    if (x < -745.2) return 0.0;
    double shifted = x * LOG2_E + ROUND_SHIFTER, k = shifted - ROUND_SHIFTER;
    double r = (x - k * LN2_HIGH) - k * LN2_LOW, r2 = r * r, r4 = r2 * r2;
    double p03 = (EXP_C0 + EXP_C1 * r) + (EXP_C2 + EXP_C3 * r) * r2;
    double p47 = (EXP_C4 + EXP_C5 * r) + (EXP_C6 + EXP_C7 * r) * r2;
    double p = p03 + (p47 + (EXP_C8 + EXP_C9 * r) * r4) * r4;
    double mantissa = (p * r2 + r) + 1.0;
    /* Two steps reach both ends: 2^1024 is no double, and results below 2^-1022 must round once. */
    int64_t whole = (int64_t)k, half = whole / 2;
    return (mantissa * scalar_from_bits((uint64_t)(1023 + half) << 52))
           * scalar_from_bits((uint64_t)(1023 + whole - half) << 52);
}

static double scalar_log(double x) {
    if (x != x || x == __builtin_inf()) return x;
    if (x < 0.0) return __builtin_nan("");
    if (x == 0.0) return -__builtin_inf();
    double k = 0.0;
    if (x < 0x1p-1022) {
        x *= 0x1p54;
        k = -54.0;
    }
    uint64_t bits = scalar_bits(x);
    int64_t exponent = (int64_t)(bits - SQRT_HALF_BITS) >> 52;
    double f = scalar_from_bits(bits - ((uint64_t)exponent << 52)) - 1.0;
    k += (double)exponent;
    double s = f / (2.0 + f), t = s * s;
    double q = ((LOG_C7 * t + LOG_C6) * t + LOG_C5) * t + LOG_C4;
    q = (((q * t + LOG_C3) * t + LOG_C2) * t + LOG_C1) * t + LOG_C0;
    return k * LN2_HIGH + (f + (k * LN2_LOW - s * (f - t * q)));
}

/* x >= 0; a negative x gives NaN whatever y is, except y = 0. */
static double scalar_pow(double x, double y) {
    if (y == 0.0 || x == 1.0) return 1.0;
    if (x == 0.0) return y > 0.0 ? 0.0 : y < 0.0 ? __builtin_inf() : y;
    return scalar_exp(y * scalar_log(x));
}

#endif
