from libc.stdint cimport int32_t, int64_t, uint16_t, uint32_t

from exchange.clearing.account cimport Accounts
from exchange.clearing.ledger cimport Ledger
from exchange.clearing.position cimport Positions
from exchange.market.instrument cimport Instruments
from exchange.risk.charges cimport Charges
from exchange.risk.formulas cimport Formulas
from exchange.risk.risk_rows cimport RiskRows
from margin_ext.safe_bands cimport BandLeg

cdef enum:
    MAX_LEGS = 16
    MAX_BAND_UNDERLYINGS = 32
    MAX_BAND_CURRENCIES = 16

ctypedef struct Requirement:     # one requirement of the account being certified: legs [first, last)
    int first
    int last
    bint cross                   # haircuts and surcharges count
    double cash                  # what no mark can move, 1e-4 USD

ctypedef struct FormulaLeg:      # bounds of a leg under formula margin at the three points, 1e-4 USD
    double least[MAX_BAND_CURRENCIES][3]     # what it adds to the margin balance, by currency
    double most[MAX_BAND_CURRENCIES][3]
    double need_least[3]         # maintenance margin
    double need_most[3]
    double slack


cdef class BandTerms:
    cdef Accounts accounts
    cdef Ledger ledger
    cdef Instruments instruments
    cdef Positions positions
    cdef RiskRows rows
    cdef Charges charges
    cdef Formulas formulas
    cdef readonly list index                 # BandIndex by underlying, None until used
    cdef list thresholds                     # shares of the maintenance margin: warnings, descending, then 1
    cdef int currencies
    cdef int underlyings                     # for what is freed when `rows` may be gone
    cdef int* currency_underlying
    cdef double* coin_scale
    cdef int64_t* minor_per_unit
    cdef double outermost                    # the first threshold
    cdef bint* plain                         # [currency] no haircut, no surcharge
    cdef double* keep                        # [currency] share of a positive value that counts, and of a debt
    cdef double* debt
    # the account being certified
    cdef bint formula
    cdef BandLeg leg[MAX_LEGS]
    cdef int leg_underlying[MAX_LEGS]
    cdef int leg_currency[MAX_LEGS]          # -1: all
    cdef int leg_group[MAX_LEGS]
    cdef double leg_short_coins[MAX_LEGS]    # options sold beyond those bought per strike and expiry
    cdef int leg_count
    cdef FormulaLeg bound[MAX_LEGS]
    cdef Requirement requirement[MAX_BAND_CURRENCIES]
    cdef int requirement_count
    cdef double cash[MAX_BAND_CURRENCIES][MAX_BAND_CURRENCIES]     # by requirement of a formula account and currency
    cdef double leg_coin[MAX_LEGS][MAX_BAND_CURRENCIES]      # of such a leg, 1e-4 USD per USD of the index
    cdef int32_t* row
    cdef double* lots
    cdef uint16_t* bucket
    cdef uint32_t room
    cdef double most_charges(self, int level, int i) noexcept
    cdef int short_coins(self, uint32_t account_id, int i) except -1
    cdef void _formula_leg(self, int level, int i) noexcept
    cdef void _formula_option(self, int level, int i, int32_t slot, double lots) noexcept
    cdef void _formula_future(self, int level, int i, int32_t slot, double lots) noexcept
    cdef double formula_least(self, int level, int r, double* least) noexcept
    cdef void formula_warned(self, int level, double next_, double last, double* above, double* below) noexcept
