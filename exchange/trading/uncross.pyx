"""States of an instrument, and the uncrossing that ends an auction.

In an auction limit orders gather without matching and the book may cross. When the instrument opens, one price is found
at which most lots cross, and all trades happen there.
"""

from libc.stdint cimport int64_t, uint32_t

from exchange.clearing.account cimport Accounts
from exchange.event_buffer cimport EventBuffer
from exchange.market.book cimport Books
from exchange.market.instrument cimport (
    STATE_AUCTION, STATE_CLOSE_ONLY, STATE_FREE, STATE_HALTED, STATE_OPEN, Instrument, Instruments,
)
from exchange.market.instrument import STATES
from exchange.market.order cimport Order, Orders
from exchange.reasons import Reason
from exchange.records cimport (
    EV_AUCTION_UNCROSSED, EV_INSTRUMENT_STATE_CHANGED, FLAG_ICEBERG, FLAG_LINKED, R_KILL_SWITCH,
    R_MAINTENANCE_WOULD_BREACH, R_REDUCE_ONLY_POSITION_GONE, R_SELF_TRADE, AuctionUncrossed, InstrumentEvent,
)
from exchange.risk.mark_stages cimport MarkStages
from exchange.risk.switches cimport Switches
from exchange.trading.lifecycle cimport Trading

LAST_NS = 1 << 62


cdef class Uncross:
    """Changes states; keeps which auctions end by themselves."""

    cdef Accounts accounts
    cdef Instruments instruments
    cdef Books books
    cdef Orders orders
    cdef Switches switches
    cdef MarkStages stages
    cdef Trading trading
    cdef EventBuffer events
    cdef dict timed                      # slot -> instrument_id of auctions with an end
    cdef dict seen                       # slot -> what discover() said, by what it depends on

    def __init__(self, Accounts accounts, Instruments instruments, Books books, Orders orders, Switches switches,
                 MarkStages stages, Trading trading, EventBuffer events):
        self.accounts = accounts
        self.instruments = instruments
        self.books = books
        self.orders = orders
        self.switches = switches
        self.stages = stages
        self.trading = trading
        self.events = events
        self.timed = {}
        self.seen = {}

    # ------------------------------------------------------------------ states

    def set_state(self, payload):
        """(reason, slot) of SET_INSTRUMENT_STATE."""
        slot = self.instruments.slot(payload.name)
        if slot < 0:
            return Reason.UNKNOWN_INSTRUMENT, 0
        state = STATES.index(payload.state)
        if not 0 <= payload.until_ns < LAST_NS or (payload.until_ns and state != STATE_AUCTION):
            return Reason.BAD_PAYLOAD, 0
        if self.instruments.spec(slot).legs and state not in (STATE_OPEN, STATE_HALTED):
            return Reason.BAD_PAYLOAD, 0
        if state == STATE_OPEN or state == STATE_CLOSE_ONLY:
            reason = self._held_back(slot)
            if reason:
                return reason, 0
        self._change(slot, state, payload.until_ns)
        return Reason.NONE, slot

    def _held_back(self, uint32_t slot):
        """Why the instrument cannot open now: its book is crossed and may not trade; NONE where it can."""
        cdef Instrument* row = &self.instruments.at[slot]
        if not self.crossed(slot):
            return Reason.NONE
        if self.switches.venue or self.switches.underlying[row.underlying]:
            return Reason.TRADING_STOPPED
        if not self.stages.live(row.underlying):
            return Reason.MARK_STALE
        if row.expiry_ns and self.events.time_ns >= row.expiry_ns:
            return Reason.INSTRUMENT_EXPIRED
        return Reason.NONE

    def _change(self, uint32_t slot, int state, int64_t until_ns):
        """Enter a state; what may trade from now on is uncrossed."""
        cdef Instrument* row = &self.instruments.at[slot]
        cdef InstrumentEvent* event = <InstrumentEvent*>self.events.emit(EV_INSTRUMENT_STATE_CHANGED, 1, 0)
        event.instrument = slot
        event.previous_state = row.state
        event.state = state
        event.instrument_id = row.instrument_id
        row.state = state
        row.auction_until_ns = until_ns
        self.timed.pop(slot, None)
        self.seen.pop(slot, None)
        if until_ns:
            self.timed[slot] = row.instrument_id
        if state == STATE_OPEN or state == STATE_CLOSE_ONLY:
            self.uncross(slot)

    def pause(self, int underlying, int64_t until_ns):
        """A circuit breaker: what is open on the underlying goes into an auction until then, ascending slot; auctions
        that would end before it go on as long. Combos wait for their legs."""
        cdef uint32_t slot
        cdef Instrument* row
        for slot in range(self.instruments.high):
            row = &self.instruments.at[slot]
            if (row.state == STATE_FREE or row.underlying != underlying or row.leg_count
                    or (row.expiry_ns and self.events.time_ns >= row.expiry_ns)):
                continue
            if row.state == STATE_OPEN or (row.state == STATE_AUCTION and 0 < row.auction_until_ns < until_ns):
                self._change(slot, STATE_AUCTION, until_ns)

    def resume(self, int underlying, int64_t until_ns):
        """End a circuit breaker's pause by hand: its auctions uncross with the next TICK; how many there are."""
        cdef uint32_t slot
        cdef Instrument* row
        count = 0
        for slot in range(self.instruments.high):
            row = &self.instruments.at[slot]
            if row.state == STATE_AUCTION and row.underlying == underlying and row.auction_until_ns == until_ns:
                row.auction_until_ns = self.events.time_ns
                self.seen.pop(slot, None)
                count += 1
        return count

    def tick(self):
        """Open what has been in an auction for long enough, ascending instrument_id."""
        if not self.timed:
            return
        for instrument_id, slot in sorted([(number, slot) for slot, number in self.timed.items()]):
            row = &self.instruments.at[<uint32_t>slot]
            if row.instrument_id != instrument_id or row.state != STATE_AUCTION:
                del self.timed[slot]
            elif row.auction_until_ns <= self.events.time_ns and not self._held_back(slot):
                self._change(slot, STATE_OPEN, 0)

    # ------------------------------------------------------------------ the price

    def crossed(self, uint32_t slot):
        """Whether the best bid is at or above the best ask."""
        cdef int64_t bid = self.books.at[slot].side[0].best
        cdef int64_t ask = self.books.at[slot].side[1].best
        return bid >= 0 and ask >= 0 and bid >= ask

    cdef list _levels(self, uint32_t slot, int side):
        """[(price, lots with the hidden ones)] of a side's levels that the other side's best price reaches."""
        cdef int64_t price = self.books.at[slot].side[side].best
        cdef int64_t last = self.books.at[slot].side[side ^ 1].best
        cdef int64_t lots
        cdef uint32_t number
        cdef Order* order
        found = []
        while price >= 0 and (price >= last if side == 0 else price <= last):
            lots = 0
            number = self.books.level(slot, side, price).head
            while number:
                order = &self.orders.at[number]
                lots += order.remaining_lots
                if order.flags & FLAG_ICEBERG:
                    lots += self.orders.detail[number].hidden_lots
                number = order.next
            found.append((price, lots))
            price = self.books.next_price(slot, side, price)
        return found

    def discover(self, uint32_t slot):
        """(price_units, lots, surplus_lots) of the price at which most lots cross; None where the book is not crossed.

        Of several prices the one with the smallest surplus; of those the highest where all have buyers left, the lowest
        where all have sellers left, else the nearest to the mark, then the lower."""
        cdef Instrument* row = &self.instruments.at[slot]
        if not self.crossed(slot):
            return None
        buys = dict(self._levels(slot, 0))
        sells = dict(self._levels(slot, 1))
        demand = sum(buys.values())
        supply = most = 0
        found = []
        for price in sorted([*buys, *[price for price in sells if price not in buys]]):
            supply += sells.get(price, 0)
            lots = min(demand, supply)
            if lots > most:
                most = lots
                found = []
            if lots == most:
                found.append((price, demand - supply))
            demand -= buys.get(price, 0)
        least = min([abs(surplus) for _, surplus in found])
        found = [(price, surplus) for price, surplus in found if abs(surplus) == least]
        signs = {(surplus > 0) - (surplus < 0) for _, surplus in found}
        if signs == {1}:
            price, surplus = found[len(found) - 1]
        elif signs == {-1}:
            price, surplus = found[0]
        else:
            unit, mark = int(row.price_unit_e8), int(row.mark_price_e8)
            _, price, surplus = min([(abs(price * unit - mark), price, surplus) for price, surplus in found])
        return price, most, surplus

    def indicative(self, uint32_t slot):
        """As discover(), worked out again only when the book or the mark has changed."""
        key = (self.books.at[slot].change_id, self.instruments.at[slot].mark_price_e8)
        known = self.seen.get(slot)
        if known is None or known[0] != key:
            known = self.seen[slot] = (key, self.discover(slot))
        return known[1]

    # ------------------------------------------------------------------ the trades

    def uncross(self, uint32_t slot):
        """Trade what crosses, at one price; again at a new one where cancelled orders leave the book crossed."""
        while True:
            found = self.discover(slot)
            if found is None:
                return
            price, lots, surplus = found
            self._trade(slot, price, lots, surplus)

    cdef int _pair(self, uint32_t maker_slot, uint32_t taker_slot, int64_t price, int64_t* lots) except -1:
        """Lots that the pair may trade; 0 where one of them had to be cancelled instead."""
        cdef Order* maker = &self.orders.at[maker_slot]
        cdef Order* taker = &self.orders.at[taker_slot]
        cdef int underlying = self.instruments.at[maker.instrument].underlying
        cdef int64_t bound
        lots[0] = 0
        if self.switches.count:
            if self.switches.stopped(maker.account_id, underlying):
                return self.trading.withdraw(maker_slot, R_KILL_SWITCH, True)
            if self.switches.stopped(taker.account_id, underlying):
                return self.trading.withdraw(taker_slot, R_KILL_SWITCH, True)
        if self.trading._same_trader(maker, taker):
            return self.trading.withdraw(taker_slot, R_SELF_TRADE, True)
        if maker.flags & FLAG_LINKED and self.trading.links_first(maker_slot):
            return 0
        if taker.flags & FLAG_LINKED and self.trading.links_first(taker_slot):
            return 0
        bound = self.trading._maker_lots(maker, taker.remaining_lots)
        if bound == 0:
            return self.trading.withdraw(maker_slot, R_REDUCE_ONLY_POSITION_GONE, True)
        bound = self.trading._maker_lots(taker, bound)
        if bound == 0:
            return self.trading.withdraw(taker_slot, R_REDUCE_ONLY_POSITION_GONE, True)
        if not self.trading._filled_stands(maker, bound, price):
            return self.trading.withdraw(maker_slot, R_MAINTENANCE_WOULD_BREACH, True)
        if not self.trading._filled_stands(taker, bound, price):
            return self.trading.withdraw(taker_slot, R_MAINTENANCE_WOULD_BREACH, True)
        lots[0] = bound
        return 0

    cdef int _trade(self, uint32_t slot, int64_t price, crossing, surplus) except -1:
        """All trades at one price, best price then time on each side; the later order of a pair is the taker."""
        cdef uint32_t bid, ask, maker, taker
        cdef int64_t lots = 0
        cdef bint announced = False
        cdef AuctionUncrossed* event
        while True:
            bid = self.books.best_order(slot, 0)
            ask = self.books.best_order(slot, 1)
            if (bid == 0 or ask == 0 or self.orders.at[bid].price_units < price
                    or self.orders.at[ask].price_units > price):
                return 0
            maker, taker = (bid, ask) if self.orders.at[bid].order_id < self.orders.at[ask].order_id else (ask, bid)
            self._pair(maker, taker, price, &lots)
            if lots == 0:
                continue
            if not announced:
                announced = True
                event = <AuctionUncrossed*>self.events.emit(EV_AUCTION_UNCROSSED, 1, 0)
                event.instrument = slot
                event.price_units = price
                event.quantity_lots = crossing
                event.surplus_lots = surplus
            self.trading._fill(taker, maker, lots, price, self.instruments.at[slot].maker_ppm, True)
