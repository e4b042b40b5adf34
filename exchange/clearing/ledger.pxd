from libc.stdint cimport int64_t, uint8_t, uint32_t

cdef enum SystemAccount:
    SYS_OUTSIDE = 0      # the counter-leg of deposits and withdrawals
    SYS_FEES = 1
    SYS_FUNDING = 2      # counter-leg of perpetual funding
    SYS_ROUNDING = 3     # dust, >= 0
    SYS_FUND = 4         # this venue's claim on the insurance fund
    SYS_CAPITAL = 5      # what the venue itself puts before the fund
    SYS_COUNT = 6


cdef class Ledger:
    cdef readonly int currencies
    cdef int64_t* cash               # [account][currency]
    cdef uint32_t accounts
    cdef uint32_t* touched           # [account] bit u: cash or positions changed since margin last certified a band
    cdef uint8_t* owing              # [account] currencies in debt
    cdef uint32_t* debtor            # accounts with any, in no order
    cdef uint32_t* debtor_place      # [account] where it stands among them
    cdef uint32_t debtor_count
    cdef uint8_t* touched_block      # [account / 64] any of them may be touched
    cdef int64_t* system             # [SystemAccount][currency]
    cdef int64_t* clearing           # [instrument slot]: counter-leg of realised P&L, premium, delivery
    cdef int64_t* total              # per currency, zero between commands
    cdef uint32_t instruments
    cdef int64_t limit_minor
    cdef int failed
    cdef int grow(self, uint32_t account_id) except -1
    cdef void owe(self, uint32_t account_id, int change) noexcept
    cdef void touch(self, uint32_t account_id) noexcept
    cdef int64_t balance(self, uint32_t account_id, int currency) noexcept
    cdef void post(self, uint32_t account_id, int currency, int64_t amount) noexcept
    cdef void post_system(self, int which, int currency, int64_t amount) noexcept
    cdef void post_clearing(self, uint32_t instrument, int currency, int64_t amount) noexcept
    cdef bint balanced(self) noexcept
