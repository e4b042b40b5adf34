/* Template: sums and worst cases of risk rows. Every number is an integer-valued double below 2^53, so each
 * sum is exact and the order of additions cannot matter. S is a multiple of 8. Expects kernel_math.h.
 */

/* sum + a b of integer-valued numbers: product and sum are exact below 2^53, so that the fused operation gives the
 * same bits. The only place where one is used. */
#if VECTOR_BYTES == 64
KERNEL_INLINE VD NAME(add_product)(VD sum, VD a, VD b) {
    return (VD)_mm512_fmadd_pd((__m512d)a, (__m512d)b, (__m512d)sum);
}
#else
KERNEL_INLINE VD NAME(add_product)(VD sum, VD a, VD b) { return sum + a * b; }
#endif

KERNEL_INLINE void NAME(axpy_columns)(double *v, const double *row, double lots, int count) {
    for (int j = 0; j < count; j += LANES) {
        VD updated = NAME(add_product)(NAME(load)(v + j), NAME(load)(row + j), NAME(splat)(lots));
        NAME(store)(v + j, updated);
    }
}

/* The usual grid has 40 columns: a loop of known length has no branches. */
static void NAME(row_axpy)(double *v, const double *row, double lots, int count) {
    if (count == 40) NAME(axpy_columns)(v, row, lots, 40);
    else NAME(axpy_columns)(v, row, lots, count);
}

static double NAME(row_axpy_min)(double *v, const double *row, double lots, int count) {
    VD least = NAME(splat)(__builtin_inf());
    for (int j = 0; j < count; j += LANES) {
        VD updated = NAME(add_product)(NAME(load)(v + j), NAME(load)(row + j), NAME(splat)(lots));
        NAME(store)(v + j, updated);
        least = NAME(min)(updated, least);
    }
    return NAME(least_lane)(least);
}

/* Accumulators as named variables: an array of them would be left in memory. */
#define EACH_1(M) M(0)
#define EACH_2(M) EACH_1(M) M(1)
#define EACH_4(M) EACH_2(M) M(2) M(3)
#define EACH_5(M) EACH_4(M) M(4)
#define EACH_8(M) EACH_5(M) M(5) M(6) M(7)
#define EACH_10(M) EACH_8(M) M(8) M(9)
#if VECTOR_BYTES == 64
#define EACH_WIDE EACH_5
#define EACH_NARROW EACH_1
#define WIDE_COLUMNS 40
#elif VECTOR_BYTES == 32
#define EACH_WIDE EACH_10
#define EACH_NARROW EACH_2
#define WIDE_COLUMNS 40
#else
#define EACH_WIDE EACH_8
#define EACH_NARROW EACH_4
#define WIDE_COLUMNS 16
#endif
#define DECLARE_SUM(i) VD sum##i = {0};
#define ADD_ROW(i) sum##i = NAME(add_product)(sum##i, NAME(load)(row + i * LANES), amount);
#define STORE_SUM(i) NAME(store)(v + i * LANES, sum##i);

#define SUM_BLOCK(title, EACH, INDEX, LOTS)                                                                  \
    KERNEL_INLINE void NAME(title)(double *v, const double *rows, const INDEX *row_index, const LOTS *lots,  \
                                   int64_t n, int64_t stride) {                                              \
        EACH(DECLARE_SUM)                                                                                    \
        for (int64_t i = 0; i < n; i++) {                                                                    \
            const double *row = rows + row_index[i] * stride;                                                \
            VD amount = NAME(splat)((double)lots[i]);                                                        \
            EACH(ADD_ROW)                                                                                    \
        }                                                                                                    \
        EACH(STORE_SUM)                                                                                      \
    }
SUM_BLOCK(sum_wide, EACH_WIDE, int32_t, double)
SUM_BLOCK(sum_narrow, EACH_NARROW, int32_t, double)
/* half the memory to stream, for whole populations */
SUM_BLOCK(packed_wide, EACH_WIDE, uint16_t, int32_t)
SUM_BLOCK(packed_narrow, EACH_NARROW, uint16_t, int32_t)

static void NAME(rows_sum)(double *v, const double *rows, const int32_t *row_index, const double *lots,
                           int64_t n, int count) {
    int j = 0;
    for (; j + WIDE_COLUMNS <= count; j += WIDE_COLUMNS)
        NAME(sum_wide)(v + j, rows + j, row_index, lots, n, count);
    for (; j < count; j += 8) NAME(sum_narrow)(v + j, rows + j, row_index, lots, n, count);
}

static void NAME(open_axpy)(double *o, const double *row, double buy_lots, double sell_lots, int count) {
    VD zero = NAME(splat)(0.0);
    for (int j = 0; j < count; j += LANES) {
        VD r = NAME(load)(row + j);
        VD hurt = buy_lots * NAME(min)(r, zero) + sell_lots * NAME(min)(zero - r, zero);
        NAME(store)(o + j, NAME(load)(o + j) + hurt);
    }
}

/* loss - min(max(loss, 0), dampener) is loss - dampener where that is positive; the outer max with 0 does the
 * rest. */
KERNEL_INLINE double NAME(worst_of_columns)(const double *v, const double *o, const double *dampener, int count) {
    VD least = NAME(splat)(0.0);
    for (int j = 0; j < count; j += LANES) {
        VD kept = NAME(load)(v + j);
        if (o) kept += NAME(load)(o + j);
        if (dampener) kept += NAME(load)(dampener + j);
        least = NAME(min)(kept, least);
    }
    return 0.0 - NAME(least_lane)(least);
}

static double NAME(worst_loss)(const double *v, const double *o, const double *dampener, int count) {
    if (count != 40) return NAME(worst_of_columns)(v, o, dampener, count);
    if (o) return NAME(worst_of_columns)(v, o, dampener, 40);
    return dampener ? NAME(worst_of_columns)(v, 0, dampener, 40) : NAME(worst_of_columns)(v, 0, 0, 40);
}

static double NAME(worst_loss_with)(const double *v, const double *o, const double *row, double position_lots,
                                    double buy_lots, double sell_lots, const double *dampener, int count) {
    VD zero = NAME(splat)(0.0), worst = zero;
    for (int j = 0; j < count; j += LANES) {
        VD r = NAME(load)(row + j);
        VD kept = NAME(load)(v + j) + (o ? NAME(load)(o + j) : zero);
        kept += position_lots * r;
        kept += buy_lots * NAME(min)(r, zero) + sell_lots * NAME(min)(zero - r, zero);
        if (dampener) kept += NAME(load)(dampener + j);
        worst = NAME(max)(zero - kept, worst);
    }
    return NAME(largest_lane)(worst) + 0.0;
}

#if VECTOR_BYTES >= 32
/* An account's sums stay in registers until its worst loss is taken: the way through memory takes a fifth of
 * the time of 20 positions (AVX2), a tenth (AVX-512). */
#define KEEP_SUM(i) least = NAME(min)(sum##i + NAME(load)(dampener + i * LANES), least);
KERNEL_INLINE double NAME(packed_worst)(const uint16_t *row_index, const int32_t *lots, int64_t n,
                                        const double *rows, const double *dampener) {
    VD least = NAME(splat)(0.0);
    EACH_WIDE(DECLARE_SUM)
    for (int64_t i = 0; i < n; i++) {
        const double *row = rows + (int64_t)row_index[i] * WIDE_COLUMNS;
        VD amount = NAME(splat)((double)lots[i]);
        EACH_WIDE(ADD_ROW)
    }
    EACH_WIDE(KEEP_SUM)
    return 0.0 - NAME(least_lane)(least);
}
#undef KEEP_SUM
#endif

/* Worst loss of every account from its positions alone: account a holds positions [start[a], start[a + 1]).
 */
static void NAME(accounts_worst_loss)(int64_t accounts, const int64_t *start, const uint16_t *row_index,
                                      const int32_t *lots, const double *rows, const double *dampener,
                                      int count, double *out) {
    KERNEL_ALIGNED double v[MARGRAVE_MAX_SCENARIOS];
#if VECTOR_BYTES >= 32
    KERNEL_ALIGNED static const double undamped[WIDE_COLUMNS];
    if (count == WIDE_COLUMNS) {
        for (int64_t a = 0; a < accounts; a++)
            out[a] = NAME(packed_worst)(row_index + start[a], lots + start[a], start[a + 1] - start[a], rows,
                                        dampener ? dampener : undamped);
        return;
    }
#endif
    for (int64_t a = 0; a < accounts; a++) {
        int64_t first = start[a], n = start[a + 1] - first;
        int j = 0;
        for (; j + WIDE_COLUMNS <= count; j += WIDE_COLUMNS)
            NAME(packed_wide)(v + j, rows + j, row_index + first, lots + first, n, count);
        for (; j < count; j += 8)
            NAME(packed_narrow)(v + j, rows + j, row_index + first, lots + first, n, count);
        out[a] = NAME(worst_loss)(v, 0, dampener, count);
    }
}
