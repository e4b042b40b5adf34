/* All templates for one instruction set, and its table. Expects KERNEL_ISA and VECTOR_BYTES; see dispatch.h.
 */
#include "kernel_math.h"
#include "black76.h"
#include "risk_rows.h"
#include "portfolio.h"
#include "safe_bands.h"

#define KERNEL_STRING_(x) #x
#define KERNEL_STRING(x) KERNEL_STRING_(x)
static const KernelTable NAME(table) = {
    KERNEL_STRING(KERNEL_ISA),
    NAME(reprice_chain),
    NAME(chain_marks),
    NAME(future_row),
    NAME(black76_arrays),
    NAME(row_axpy),
    NAME(row_axpy_min),
    NAME(rows_sum),
    NAME(open_axpy),
    NAME(worst_loss),
    NAME(worst_loss_with),
    NAME(accounts_worst_loss),
    NAME(bound_chain),
    NAME(bound_least),
    NAME(widths_change),
    NAME(cell_scan),
};

#undef KERNEL_STRING_
#undef KERNEL_STRING
#undef VD
#undef VL
#undef VU
#undef LANES
#undef LANES_OF
#undef EACH_1
#undef EACH_2
#undef EACH_4
#undef EACH_5
#undef EACH_8
#undef EACH_10
#undef EACH_WIDE
#undef EACH_NARROW
#undef WIDE_COLUMNS
#undef DECLARE_SUM
#undef ADD_ROW
#undef STORE_SUM
#undef SUM_BLOCK
