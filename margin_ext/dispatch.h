/* The kernels for every instruction set of this machine's family, in one translation unit, and the choice
 * between them.
 *
 * The templates are included once per vector width; contraction is off, and only sums of integers are fused (exact
 * either way, portfolio.h), so all widths give the same bits. Only margin_ext/kernels.pyx includes this file; other modules cimport from there.
 */
#ifndef MARGRAVE_DISPATCH_H
#define MARGRAVE_DISPATCH_H

#if defined(__FAST_MATH__)
#error "the kernels must not be built with fast-math: results would differ between machines"
#endif
#if defined(__FLT_EVAL_METHOD__) && __FLT_EVAL_METHOD__ != 0
#error "the kernels need doubles evaluated as doubles"
#endif
#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "the kernels are written for little-endian machines"
#endif

#include <stdlib.h>
#include <string.h>

#include "kernel_types.h"
#include "kernel_constants.h"
#include "scalar_math.h"

#if defined(__clang__)
#pragma STDC FP_CONTRACT OFF
#endif

#define KERNEL_INLINE static inline __attribute__((always_inline))
#define KERNEL_ALIGNED __attribute__((aligned(64)))
#define KERNEL_JOIN_(a, b) a##_##b
#define KERNEL_JOIN(a, b) KERNEL_JOIN_(a, b)
#define NAME(x) KERNEL_JOIN(KERNEL_ISA, x)

typedef struct {
    const char *name;
    void (*reprice_chain)(const ChainInput *, const ChainOutput *);
    void (*chain_marks)(const ChainInput *, double *, double *);
    void (*future_row)(const FutureInput *, FutureOutput *);
    void (*black76_arrays)(int64_t, const double *, const double *, const double *, const double *,
                           const double *, double *const *, int);
    void (*row_axpy)(double *, const double *, double, int);
    double (*row_axpy_min)(double *, const double *, double, int);
    void (*rows_sum)(double *, const double *, const int32_t *, const double *, int64_t, int);
    void (*open_axpy)(double *, const double *, double, double, int);
    double (*worst_loss)(const double *, const double *, const double *, int);
    double (*worst_loss_with)(const double *, const double *, const double *, double, double, double,
                              const double *, int);
    void (*accounts_worst_loss)(int64_t, const int64_t *, const uint16_t *, const int32_t *, const double *,
                                const double *, int, double *);
    void (*bound_chain)(const ChainInput *, const BandBox *, const BandTables *);
    double (*bound_least)(const double *, const double *, double, const double *, int);
    double (*widths_change)(int, int, const int32_t *, int, int, const double *, const double *);
    void (*cell_scan)(const BandCell *, float, float, uint64_t *);
} KernelTable;

#if defined(__x86_64__)
#define MARGRAVE_X86 1
#include <immintrin.h>

#define KERNEL_ISA avx512
#define VECTOR_BYTES 64
#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx512f,avx512dq,avx512vl,avx512bw"))),                  \
                             apply_to = function)
#else
#pragma GCC push_options
#pragma GCC target("avx512f,avx512dq,avx512vl,avx512bw,prefer-vector-width=512")
#endif
#include "kernel_template.h"
#if defined(__clang__)
#pragma clang attribute pop
#else
#pragma GCC pop_options
#endif
#undef KERNEL_ISA
#undef VECTOR_BYTES

#define KERNEL_ISA avx2
#define VECTOR_BYTES 32
#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx2"))), apply_to = function)
#else
#pragma GCC push_options
#pragma GCC target("avx2")
#endif
#include "kernel_template.h"
#if defined(__clang__)
#pragma clang attribute pop
#else
#pragma GCC pop_options
#endif
#undef KERNEL_ISA
#undef VECTOR_BYTES
#endif

#define KERNEL_ISA base
#define VECTOR_BYTES 16
#include "kernel_template.h"
#undef KERNEL_ISA
#undef VECTOR_BYTES

static const KernelTable *kernel_table = &base_table;

/* Picks the widest kernels this machine runs, or the one `wanted` names. Returns 0, or -1 if it cannot be
 * had. */
static int kernel_select(const char *wanted) {
    const KernelTable *found = &base_table;
    int any = wanted == NULL || wanted[0] == 0;
#if defined(MARGRAVE_X86)
    __builtin_cpu_init();
    int has_avx2 = __builtin_cpu_supports("avx2");
    int has_avx512 = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq")
                     && __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512bw");
    if (has_avx512 && (any || strcmp(wanted, "avx512") == 0)) found = &avx512_table;
    else if (has_avx2 && (any || strcmp(wanted, "avx2") == 0)) found = &avx2_table;
#endif
    if (!any && strcmp(wanted, found->name) != 0) return -1;
    kernel_table = found;
    return 0;
}

static inline int is_positive(double x) { return x > 0.0 && x < __builtin_inf(); }
static inline int is_not_negative(double x) { return x >= 0.0 && x < __builtin_inf(); }

static int32_t columns_fault(int32_t count, const double *spot_multiplier, const double *weight,
                             const double *coin_factor) {
    if (count <= 0 || count > MARGRAVE_MAX_SCENARIOS || count % 8) return KERNEL_BAD_COUNT;
    for (int32_t j = 0; j < count; j++) {
        if (!is_positive(spot_multiplier[j])) return KERNEL_BAD_FORWARD;
        if (weight && !is_not_negative(weight[j])) return KERNEL_BAD_WEIGHT;
        if (coin_factor && !is_not_negative(coin_factor[j])) return KERNEL_BAD_WEIGHT;
    }
    return KERNEL_OK;
}

/* What marks are made of: counts, expiries and pairs. */
static int32_t pairs_fault(const ChainInput *in) {
    if (in->pair_count < 0 || in->expiry_count < 0) return KERNEL_BAD_COUNT;
    for (int32_t e = 0; e < in->expiry_count; e++) {
        if (!is_positive(in->forward[e])) return KERNEL_BAD_FORWARD;
        if (!is_not_negative(in->years[e])) return KERNEL_BAD_YEARS;
    }
    for (int32_t i = 0; i < in->pair_count; i++) {
        if (in->expiry_of_pair[i] < 0 || in->expiry_of_pair[i] >= in->expiry_count) return KERNEL_BAD_EXPIRY;
        if (!is_positive(in->strike[i])) return KERNEL_BAD_STRIKE;
        if (!is_not_negative(in->vol[i])) return KERNEL_BAD_VOL;
    }
    return KERNEL_OK;
}

static int32_t chain_fault(const ChainInput *in) {
    if (in->pair_count < 0 || in->expiry_count < 0) return KERNEL_BAD_COUNT;
    int32_t fault = columns_fault(in->scenario_count, in->spot_multiplier, in->weight, in->coin_factor);
    if (fault) return fault;
    if (!is_positive(in->lot_coin) || (in->inverse && !is_positive(in->index_price)))
        return KERNEL_BAD_FORWARD;
    fault = pairs_fault(in);
    if (fault) return fault;
    for (int64_t k = 0; k < (int64_t)in->expiry_count * in->scenario_count; k++)
        if (!is_not_negative(in->vol_multiplier[k])) return KERNEL_BAD_VOL;
    for (int32_t j = 0; in->vol_floor && j < in->scenario_count; j++)
        if (!is_not_negative(in->vol_floor[j])) return KERNEL_BAD_VOL;
    return KERNEL_OK;
}

static int32_t future_fault(const FutureInput *in) {
    int32_t fault = columns_fault(in->scenario_count, in->spot_multiplier, in->weight, in->coin_factor);
    if (fault) return fault;
    if (in->clamp_mode != 0 && in->clamp_mode != 1) return KERNEL_BAD_COUNT;
    if (!is_positive(in->forward) || !is_positive(in->inverse ? in->lot_usd : in->lot_coin))
        return KERNEL_BAD_FORWARD;
    if (in->inverse && !is_positive(in->index_price)) return KERNEL_BAD_FORWARD;
    for (int32_t j = 0; in->future_move_clamp && j < in->scenario_count; j++)
        if (!(in->future_move_clamp[j] >= 0.0 && in->future_move_clamp[j] < 1.0)) return KERNEL_BAD_WEIGHT;
    return KERNEL_OK;
}

static int32_t checked_reprice_chain(const ChainInput *in, const ChainOutput *out) {
    int32_t fault = chain_fault(in);
    if (fault == KERNEL_OK) kernel_table->reprice_chain(in, out);
    return fault;
}

static int32_t checked_chain_marks(const ChainInput *in, double *call, double *put) {
    int32_t fault = pairs_fault(in);
    if (fault == KERNEL_OK) kernel_table->chain_marks(in, call, put);
    return fault;
}

static int32_t checked_future_row(const FutureInput *in, FutureOutput *out) {
    int32_t fault = future_fault(in);
    if (fault == KERNEL_OK) kernel_table->future_row(in, out);
    return fault;
}

static int32_t checked_bound_chain(const ChainInput *in, const BandBox *box, const BandTables *out) {
    int32_t fault = chain_fault(in);
    if (fault) return fault;
    if (!(box->price_range > 0.0 && box->price_range < 0.5) || !(box->width_range > 0.0 && box->width_range < 1.0)
        || !(box->basis_range > 0.0 && box->basis_range < 0.5) || box->base_column < 0
        || box->base_column >= in->scenario_count || in->spot_multiplier[box->base_column] != 1.0)
        return KERNEL_BAD_COUNT;
    kernel_table->bound_chain(in, box, out);
    return KERNEL_OK;
}

/* All NaN where an input is negative or not finite. */
static void scalar_black76(double forward, double strike, double vol, double years, int is_call,
                           Greeks *greeks) {
    double call = is_call ? 1.0 : 0.0, nan = __builtin_nan("");
    double *out[6] = {&greeks->price, &greeks->delta, &greeks->gamma,
                      &greeks->vega,  &greeks->theta, &greeks->rho};
    if (is_not_negative(forward) && is_not_negative(strike) && is_not_negative(vol)
        && is_not_negative(years)) {
        base_black76_arrays(1, &forward, &strike, &vol, &years, &call, out, 6);
        return;
    }
    for (int which = 0; which < 6; which++) *out[which] = nan;
}

#endif
