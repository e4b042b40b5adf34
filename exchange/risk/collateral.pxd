from libc.stdint cimport int64_t, uint32_t, uint64_t

from exchange.clearing.account cimport Accounts
from exchange.clearing.ledger cimport Ledger
from exchange.event_buffer cimport EventBuffer
from exchange.risk.exposure cimport Exposure


cdef class Collateral:
    cdef Accounts accounts
    cdef Ledger ledger
    cdef Exposure exposure
    cdef EventBuffer events
    cdef int64_t limit_minor
    cdef int64_t taken_minor         # by the last cover(), not yet told
    cdef readonly list noted         # buckets to look at when the command ends
    cdef dict drawn                  # {pool slot of an order: what it drew in this command}
    cdef bint can_give(self, uint32_t holder, int currency, int64_t amount) except -1
    cdef bint cover(self, uint32_t bucket, int currency, int64_t missing) except -1
    cdef int undo(self, uint32_t bucket, int currency) except -1
    cdef int told(self, uint32_t bucket, int currency, uint64_t order_id) except -1
    cdef int give_back(self, uint32_t bucket, int currency, int64_t amount) except -1
    cdef int move(self, uint32_t bucket, int currency, int64_t amount) except -1
    cdef int balance_changed(self, uint32_t account_id, int currency, uint32_t instrument, int64_t amount,
                             uint32_t other) except -1

    cdef inline int note(self, uint32_t account_id) except -1:
        """An order of the account ended or traded."""
        if self.accounts.at[account_id].holder and not self.accounts.at[account_id].noted:
            self.accounts.at[account_id].noted = 1
            self.noted.append(account_id)
        return 0
