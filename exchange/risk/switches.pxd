from libc.stdint cimport uint8_t, uint32_t

from exchange.clearing.account cimport Accounts

cdef enum Scope:
    SCOPE_VENUE = 0
    SCOPE_UNDERLYING = 1
    SCOPE_OWNER = 2
    SCOPE_ACCOUNT = 3


cdef class Switches:
    cdef Accounts accounts
    cdef int underlyings
    cdef readonly uint32_t count         # switches that are on: 0 is all there is to ask on the common path
    cdef bint venue
    cdef uint8_t* underlying
    cdef set owners
    cdef int _mark(self, uint32_t account_id, int bit, bint on) except -1

    cdef inline bint stopped(self, uint32_t account_id, int underlying) noexcept:
        """Whether a switch keeps an account from trading what is on an underlying."""
        return self.venue or self.underlying[underlying] or self.accounts.at[account_id].stopped

    cdef inline bint account_stopped(self, uint32_t account_id) noexcept:
        """Whether a switch keeps an account from trading anything."""
        return self.venue or self.accounts.at[account_id].stopped
