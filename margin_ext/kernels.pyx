"""Vector kernels behind plain C calls; the instruction set is chosen once, at import.

MARGRAVE_ISA=avx512|avx2|base forces a path (results are the same bits on all of them).
"""

import os

cdef extern from "margin_ext/dispatch.h" nogil:
    ctypedef struct KernelTable:
        const char* name
        void (*black76_arrays)(int64_t, const double*, const double*, const double*, const double*,
                               const double*,
                               double**, int) noexcept nogil
        void (*row_axpy)(double*, const double*, double, int) noexcept nogil
        double (*row_axpy_min)(double*, const double*, double, int) noexcept nogil
        void (*rows_sum)(double*, const double*, const int32_t*, const double*, int64_t, int) noexcept nogil
        void (*open_axpy)(double*, const double*, double, double, int) noexcept nogil
        double (*worst_loss)(const double*, const double*, const double*, int) noexcept nogil
        double (*worst_loss_with)(const double*, const double*, const double*, double, double, double,
                                  const double*, int) noexcept nogil
        void (*accounts_worst_loss)(int64_t, const int64_t*, const uint16_t*, const int32_t*, const double*,
                                    const double*, int, double*) noexcept nogil
        double (*bound_least)(const double*, const double*, double, const double*, int) noexcept nogil
        double (*widths_change)(int, int, const int32_t*, int, int, const double*, const double*) noexcept nogil
        void (*cell_scan)(const BandCell*, float, float, uint64_t*) noexcept nogil

    const KernelTable* kernel_table
    int kernel_select(const char* wanted) noexcept
    int32_t checked_reprice_chain(const ChainInput* in_, const ChainOutput* out_) noexcept
    int32_t checked_chain_marks(const ChainInput* in_, double* call, double* put) noexcept
    int32_t checked_future_row(const FutureInput* in_, FutureOutput* out_) noexcept
    int32_t checked_bound_chain(const ChainInput* in_, const BandBox* box, const BandTables* out_) noexcept
    void scalar_black76(double forward, double strike, double vol, double years, int is_call,
                        Greeks* out_) noexcept
    double scalar_exp(double x) noexcept
    double scalar_log(double x) noexcept
    double scalar_pow(double x, double y) noexcept
    double scalar_sqrt "__builtin_sqrt" (double x) noexcept


cdef int32_t reprice_chain(const ChainInput* in_, const ChainOutput* out_) noexcept nogil:
    return checked_reprice_chain(in_, out_)


cdef int32_t chain_marks(const ChainInput* in_, double* call, double* put) noexcept nogil:
    return checked_chain_marks(in_, call, put)


cdef int32_t future_row(const FutureInput* in_, FutureOutput* out_) noexcept nogil:
    return checked_future_row(in_, out_)


cdef void black76(double forward, double strike, double vol, double years, bint is_call,
                  Greeks* out_) noexcept nogil:
    scalar_black76(forward, strike, vol, years, is_call, out_)


cdef void black76_arrays(int64_t n, const double* forward, const double* strike, const double* vol,
                         const double* years, const double* is_call, double** out_,
                         int out_count) noexcept nogil:
    kernel_table.black76_arrays(n, forward, strike, vol, years, is_call, out_, out_count)


cdef void row_axpy(double* v, const double* row, double lots, int scenario_count) noexcept nogil:
    kernel_table.row_axpy(v, row, lots, scenario_count)


cdef double row_axpy_min(double* v, const double* row, double lots, int scenario_count) noexcept nogil:
    return kernel_table.row_axpy_min(v, row, lots, scenario_count)


cdef void rows_sum(double* v, const double* rows, const int32_t* row_index, const double* lots, int64_t n,
                   int scenario_count) noexcept nogil:
    kernel_table.rows_sum(v, rows, row_index, lots, n, scenario_count)


cdef void open_axpy(double* o, const double* row, double buy_lots, double sell_lots,
                    int scenario_count) noexcept nogil:
    kernel_table.open_axpy(o, row, buy_lots, sell_lots, scenario_count)


cdef double worst_loss(const double* v, const double* o, const double* dampener,
                       int scenario_count) noexcept nogil:
    return kernel_table.worst_loss(v, o, dampener, scenario_count)


cdef double worst_loss_with(const double* v, const double* o, const double* row, double position_lots,
                            double buy_lots, double sell_lots, const double* dampener,
                            int scenario_count) noexcept nogil:
    return kernel_table.worst_loss_with(v, o, row, position_lots, buy_lots, sell_lots, dampener,
                                        scenario_count)


cdef void accounts_worst_loss(int64_t account_count, const int64_t* start, const uint16_t* row_index,
                              const int32_t* lots, const double* rows, const double* dampener,
                              int scenario_count, double* out_) noexcept nogil:
    kernel_table.accounts_worst_loss(account_count, start, row_index, lots, rows, dampener, scenario_count,
                                     out_)


cdef int32_t bound_chain(const ChainInput* in_, const BandBox* box, const BandTables* out_) noexcept nogil:
    return checked_bound_chain(in_, box, out_)


cdef double bound_least(const double* v, const double* dampener, double coin, const double* factor,
                        int scenario_count) noexcept nogil:
    return kernel_table.bound_least(v, dampener, coin, factor, scenario_count)


cdef double widths_change(int first, int end, const int32_t* end_of, int classes, bint floored, const double* now,
                          const double* inverse) noexcept nogil:
    return kernel_table.widths_change(first, end, end_of, classes, floored, now, inverse)


cdef void cell_scan(const BandCell* cell, float price, float change, uint64_t* left) noexcept nogil:
    kernel_table.cell_scan(cell, price, change, left)


cdef double k_exp(double x) noexcept nogil:
    return scalar_exp(x)


cdef double k_log(double x) noexcept nogil:
    return scalar_log(x)


cdef double k_pow(double x, double y) noexcept nogil:
    return scalar_pow(x, y)


cdef double k_sqrt(double x) noexcept nogil:
    return scalar_sqrt(x)


def instruction_set() -> str:
    """Name of the kernels in use: "avx512", "avx2" or "base"."""
    return kernel_table.name.decode()


def _select(wanted):
    if kernel_select(wanted.encode()) != 0:
        raise ImportError(f"MARGRAVE_ISA={wanted}: no such kernels on this machine (avx512, avx2 or base)")


_select(os.environ.get("MARGRAVE_ISA", ""))


def exp(double x) -> float:
    """e**x without libm: the same bits on every machine. Relative error below 1e-15."""
    return scalar_exp(x)


def log(double x) -> float:
    """Natural logarithm without libm; -inf at 0, NaN below. Relative error below 1e-15."""
    return scalar_log(x)


def power(double x, double y) -> float:
    """x**y for x >= 0 without libm; relative error below 2**-52 * (2 + |y ln x|). NaN for x < 0, y != 0."""
    return scalar_pow(x, y)
