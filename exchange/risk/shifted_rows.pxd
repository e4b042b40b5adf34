from libc.stdint cimport int32_t, int64_t

from exchange.risk.risk_rows cimport Fixing
from exchange.risk.settling_rows cimport SettlingRows
from margin_ext.kernels cimport ChainInput

cdef enum:
    SHIFTS = 8               # columns of a shifted row; those beyond the four are empty
    SHIFT_TILT = 0
    SHIFT_BEND = 1
    SHIFT_DOWN = 2
    SHIFT_UP = 3

ctypedef struct Shift:       # of one underlying
    bint skewed
    bint based
    double spot[SHIFTS]
    double weight[2][SHIFTS]         # of linear, of inverse contracts: takes the index back, the forward alone moves
    double cap_base
    double cap_slope
    double width
    double vol_base
    double vol_slope
    double least
    int64_t add_e9
    int64_t multiplier_e9


cdef class ShiftedRows(SettlingRows):
    cdef Shift* shift                # [underlying]
    cdef double* shifted_coin        # [slot][SHIFTS], 1e-10 coin per lot; NULL where no set asks for it
    cdef double* shifted_usd         # [slot][SHIFTS], 1e-4 USD per lot
    cdef double* unused              # [3][slot] marks, deltas and largest entries that repricing writes beside the rows
    cdef double* pair_room           # [2 + SHIFTS][slot] forward, years and vol multipliers of each pair
    cdef int32_t* pair_number
    cdef int64_t* basis_scale_e9    # [underlying][bucket]
    cdef int _skew(self, Shift* s, ChainInput* source, double* multiplier) noexcept
    cdef void _moved(self, Shift* s, Fixing* fixing) noexcept
    cdef int _shift_options(self, int chain, int64_t time_ns, int bucket) except -1
    cdef int _shift_future(self, int slot) except -1
