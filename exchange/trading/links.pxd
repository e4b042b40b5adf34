from libc.stdint cimport int64_t, uint32_t, uint64_t

from exchange.event_buffer cimport EventBuffer
from exchange.market.instrument cimport Instruments
from exchange.market.order cimport Orders
from exchange.records cimport OrderTerms, PlaceOrder
from exchange.trading.lifecycle cimport Trading
from exchange.trading.triggers cimport Triggers


cdef class Wanted:                   # an order to place
    cdef PlaceOrder command
    cdef OrderTerms terms
    cdef bytes label
    cdef uint32_t slot               # once it is prepared


cdef class Links:
    cdef Instruments instruments
    cdef Orders orders
    cdef Trading trading
    cdef Triggers triggers
    cdef EventBuffer events
    cdef readonly dict groups        # number -> Group
    cdef dict by_order               # live order id -> Group
    cdef dict dirty                  # numbers of groups that something happened to
    cdef list queue                  # the same as a heap
    cdef readonly bint heard         # whether notes were taken in before the end of the command
    cdef readonly int left           # orders that may still be placed or cancelled in this command
    cdef bint _alive(self, uint64_t order_id) except -1
    cdef Wanted _wanted(self, uint32_t account_id, object order, object payload)
    cdef Wanted _due(self, object trigger, int64_t lots)
    cdef int _refuse(self, Wanted wanted, int reason, uint64_t order_id) except -1
    cdef int _prepare(self, list both, uint64_t first_id, int condition, int flags) except -2
    cdef bint _is_combo(self, uint32_t instrument) noexcept
    cdef int _accept(self, Wanted wanted, uint64_t order_id, int condition) except -1
    cdef int _say_linked(self, object group) except -1
    cdef int _pair(self, list both, uint64_t first_id, int condition) except -1
    cdef int _absorb(self) except -1
    cdef int _take_in(self, list notes) except -1
    cdef _exclusive(self, uint64_t order_id)
    cdef int _touch(self, object group) except -1
    cdef bint _act(self, object group) except -1
    cdef bint _one_cancels_other(self, object group, bint rests) except -1
    cdef int _bound(self, object group, int i, bint rests) except -1
    cdef int _withdraw(self, uint64_t order_id, int reason, bint rests) except -1
    cdef bint _triggers_other(self, object group) except -1
    cdef bint _place_due(self, object group, list parts) except -1
    cdef int _dissolve(self, object group) except -1
    cdef void begin(self) noexcept
    cdef bint work(self) except -1
