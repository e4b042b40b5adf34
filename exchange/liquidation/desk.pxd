from libc.stdint cimport int64_t, uint32_t

from exchange.clearing.account cimport Accounts
from exchange.clearing.ledger cimport Ledger
from exchange.clearing.position cimport Positions
from exchange.event_buffer cimport EventBuffer
from exchange.liquidation.monitor cimport Monitor
from exchange.market.instrument cimport Instruments
from exchange.risk.collateral cimport Collateral
from exchange.risk.exposure cimport Exposure
from exchange.risk.marks cimport Marks
from exchange.risk.switches cimport Switches


cdef class Desk:
    cdef Accounts accounts
    cdef Ledger ledger
    cdef Instruments instruments
    cdef Positions positions
    cdef Exposure exposure
    cdef Marks marks
    cdef Switches switches
    cdef readonly Monitor monitor
    cdef EventBuffer events
    cdef Collateral collateral
    cdef object cancel_orders
    cdef list currency_names
    cdef list underlying_names
    cdef object stress
    cdef int _shift_all(self, uint32_t account_id, list legs, int sign) except -1
    cdef int _suppose(self, uint32_t account_id, list legs, dict payments, int sign) except -1
