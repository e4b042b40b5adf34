"""Option orders whose price follows the market: a USD value over the index, or an implied vol.

What lives stands in `Trading.advanced`, ascending id; `risk/price_bands` makes its price, `Trading.reprice` sets it.
Each update of marks makes all of the underlying's due again, those still due from before first, so that none waits
for ever; a bounded number is worked at once and the rest by following Ticks.
"""

from collections import deque

from libc.stdint cimport int64_t, uint32_t

from exchange.records cimport R_INSTRUMENT_SETTLED

cdef enum:
    PRICES_AT_ONCE = 64         # new prices a command
    LOOKS_AT_ONCE = 1024        # orders a command, priced anew or not

cdef int64_t NEVER = <int64_t>1 << 62


cdef class AdvancedOrders:
    """Keeps live advanced orders at their prices and ends them in time."""

    def __init__(self, Orders orders, Pretrade pretrade, Trading trading):
        self.orders = orders
        self.pretrade = pretrade
        self.trading = trading
        self.due = [deque() for _ in trading.advanced]

    def on_marks(self, int underlying):
        """Marks of an underlying have moved: all its advanced orders are due."""
        live = self.trading.advanced[underlying]
        due = self.due[underlying]
        if not live:
            due.clear()
            return
        waiting = set(due)
        due.extend([order_id for order_id in live if order_id not in waiting])
        self._drain(due, PRICES_AT_ONCE)

    def tick(self, int64_t time_ns):
        """End what is near its expiry, then go on with what is due; underlyings in their order share the bound."""
        cdef int left = PRICES_AT_ONCE
        self._end(time_ns)
        for due in self.due:
            if due:
                left = self._drain(due, left)

    cdef int _drain(self, due, int left) except -1:
        """Price what is due from the front; returns how many new prices may still follow."""
        cdef int looks = LOOKS_AT_ONCE
        cdef uint32_t slot
        while due and left and looks:
            slot = self.orders.find(due.popleft())
            looks -= 1
            if slot:
                left -= self.trading.reprice(slot)
        return left

    cdef int _end(self, int64_t time_ns) except -1:
        """Cancel what is within 15 minutes of its expiry, ascending id."""
        cdef uint32_t slot
        cdef int64_t end
        if time_ns < self.trading.advanced_end_ns:
            return 0
        self.trading.advanced_end_ns = NEVER
        for live in self.trading.advanced:
            for order_id in list(live):
                slot = self.orders.find(order_id)
                end = self.pretrade.advanced_end_ns(self.orders.at[slot].instrument)
                if time_ns >= end:
                    self.trading.withdraw(slot, R_INSTRUMENT_SETTLED, True)
                else:
                    self.trading.advanced_end_ns = min(self.trading.advanced_end_ns, end)
        return 0

    def live(self):
        """Order ids by underlying."""
        return [list(live) for live in self.trading.advanced]

    def export(self):
        """Canonical state: what is due; what lives shows in the orders."""
        return [list(due) for due in self.due]
