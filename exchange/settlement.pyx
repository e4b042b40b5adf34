"""Expiry: at or after 08:00 UTC of its day an instrument settles in one Tick, in canonical order.

Orders are cancelled (ascending id), positions are closed at one integer value per lot (ascending account), so the
instrument's clearing account ends at zero. The price is the mean index of the half hour before; a venue that was down
over that half hour waits for a fresh index first.
"""

from libc.stdint cimport int64_t, uint32_t

from exchange.clearing.account cimport Accounts
from exchange.clearing.fees cimport trade_fee
from exchange.clearing.position cimport Position, Positions
from exchange.event_buffer cimport EventBuffer
from exchange.liquidation.monitor cimport Monitor
from exchange.market.book cimport Books
from exchange.market.instrument cimport (
    KIND_OPTION, OPTION_CALL, STATE_FREE, STATE_SETTLED, Instrument, Instruments,
)
from exchange.market.order cimport Orders
from exchange.records cimport (
    EV_INSTRUMENT_SETTLED, EV_POSITION_SETTLED, R_COMBO_ENDED, R_INSTRUMENT_SETTLED, InstrumentEvent,
    PositionSettled,
)
from exchange.risk.exposure cimport Exposure
from exchange.risk.marks cimport Marks
from exchange.trading.lifecycle cimport Trading
from exchange.trading.triggers cimport Triggers
from exchange.wide cimport wide_mul


cdef class Settlement:
    """Settles what has expired."""

    cdef Accounts accounts
    cdef Instruments instruments
    cdef Orders orders
    cdef Books books
    cdef Positions positions
    cdef Exposure exposure
    cdef Marks marks
    cdef Monitor monitor
    cdef Trading trading
    cdef Triggers triggers
    cdef object buckets
    cdef EventBuffer events

    def __init__(self, Accounts accounts, Instruments instruments, Orders orders, Books books, Positions positions,
                 Exposure exposure, Marks marks, Monitor monitor, Trading trading, Triggers triggers,
                 buckets, EventBuffer events):
        self.accounts = accounts
        self.instruments = instruments
        self.orders = orders
        self.books = books
        self.positions = positions
        self.exposure = exposure
        self.marks = marks
        self.monitor = monitor
        self.trading = trading
        self.triggers = triggers
        self.buckets = buckets
        self.events = events

    def due(self, int64_t time_ns):
        """Slots that have expired, ascending instrument_id."""
        cdef uint32_t slot
        cdef Instrument* row
        found = []
        for slot in range(self.instruments.high):
            row = &self.instruments.at[slot]
            if row.state != STATE_FREE and row.leg_count == 0 and row.expiry_ns and row.expiry_ns <= time_ns:
                found.append((row.instrument_id, slot))
        return [slot for _, slot in sorted(found)]

    def tick(self, int64_t time_ns):
        """Settle everything due; returns how many instruments settled."""
        settled = 0
        for slot in self.due(time_ns):
            settled += self.settle(slot, time_ns)
        return settled

    def value_minor(self, uint32_t slot, price_e8):
        """Settlement value of one long lot, minor units: futures at the price, options their payoff (rounded down)."""
        cdef Instrument* row = &self.instruments.at[slot]
        price = int(price_e8)
        scale = int(row.lot_scale_minor)
        if row.kind != KIND_OPTION:
            if row.inverse:
                return -(scale * 10**8 // price)
            return scale * price // 10**8
        strike = int(row.strike_e8)
        payoff = max(0, price - strike) if row.option_type == OPTION_CALL else max(0, strike - price)
        return scale * payoff // (price if row.inverse else 10**8)

    def combos_of(self, leg):
        """Slots of the combos with this leg, ascending instrument_id."""
        return [slot for slot in self.instruments.combo_slots()
                if any([held == leg for held, _ in self.instruments.legs(slot)])]

    def idle_combos(self):
        """Slots of the combos without open orders, ascending instrument_id."""
        return [slot for slot in self.instruments.combo_slots()
                if self.books.at[<uint32_t>slot].order_count == 0]

    def end_combo(self, uint32_t slot, int reason):
        """Cancel a combo's orders and archive it."""
        cdef Instrument* row = &self.instruments.at[slot]
        cdef InstrumentEvent* ended
        for order_id in sorted(self.books.queue(slot, 0) + self.books.queue(slot, 1)):
            self.trading.withdraw(self.orders.find(order_id), reason, True)
        ended = <InstrumentEvent*>self.events.emit(EV_INSTRUMENT_SETTLED, 1, 0)
        ended.instrument = slot
        ended.previous_state = row.state
        ended.state = STATE_SETTLED
        ended.reason = reason
        ended.instrument_id = row.instrument_id
        self.books.close_book(slot)
        self.exposure.rows.delisted(slot)
        self.instruments.free_slot(slot)

    def settle(self, uint32_t slot, int64_t time_ns):
        """Settle one instrument; 0 when its price must wait for a fresh index."""
        cdef Instrument* row = &self.instruments.at[slot]
        cdef Position* position
        cdef PositionSettled* event
        cdef InstrumentEvent* ended
        cdef uint32_t account_id
        cdef int64_t held, cost, fee, realised, value
        cdef int chain = row.chain
        price = self.marks.settlement_price_e8(row.underlying, row.expiry_ns)
        if row.holders and not self.marks.covers(row.underlying, row.expiry_ns) and not self.marks.fresh(
                row.underlying, time_ns):
            return 0
        for combo in self.combos_of(slot):
            self.end_combo(combo, R_COMBO_ENDED)
        for order_id in sorted(self.books.queue(slot, 0) + self.books.queue(slot, 1)):
            self.trading.withdraw(self.orders.find(order_id), R_INSTRUMENT_SETTLED, True)
        self.triggers.settle(slot, R_INSTRUMENT_SETTLED)
        touched = []
        value = self.value_minor(slot, price) if price else 0
        for account_id in range(1, self.accounts.high):
            position = self.positions.find(account_id, slot)
            if position == NULL or position.quantity_lots == 0:
                continue
            held = position.quantity_lots
            cost = wide_mul(held, value, &self.exposure.failed)
            fee = trade_fee(row, cost, abs(held), row.delivery_ppm, price, &self.exposure.failed)
            realised = self.exposure.trade(account_id, slot, -held, -cost, fee)
            event = <PositionSettled*>self.events.emit(EV_POSITION_SETTLED, 1, account_id)
            event.instrument = slot
            event.quantity_lots = held
            event.payout_minor = cost
            event.realised_minor = realised
            event.settlement_price_e8 = price
            touched.append(account_id)
        if self.accounts.bucket_count:
            self.buckets.settled(slot)
        ended = <InstrumentEvent*>self.events.emit(EV_INSTRUMENT_SETTLED, 1, 0)
        ended.instrument = slot
        ended.previous_state = row.state
        ended.state = STATE_SETTLED
        ended.instrument_id = row.instrument_id
        ended.settlement_price_e8 = price
        self.books.close_book(slot)
        self.exposure.rows.delisted(slot)
        self.marks.delisted(slot)
        self.instruments.free_slot(slot)
        if row.kind == KIND_OPTION:
            self.exposure.rows.rebuild_pairs(chain)
        for account in touched:
            self.monitor.check(account)
        return 1
