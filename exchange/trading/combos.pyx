"""Fills of combos: a trade in a combo's book books its legs for both sides.

Nobody holds a position in a combo. Leg prices are the legs' marks, the difference to the combo's price on one leg
(`Instruments.leg_prices`); of the fees on bought legs and those on sold ones the smaller are waived (`combo_fees`).
"""

from exchange.clearing.fees cimport combo_fees
from exchange.clearing.position cimport Position
from exchange.market.instrument cimport MAX_LEGS, Instrument
from exchange.records cimport (
    EV_LEG_TRADE_EXECUTED, EV_TRADE_EXECUTED, R_BAND_PASSED, R_MAINTENANCE_WOULD_BREACH, R_NONE, TRADE_COMBO_LEG,
)
from exchange.risk.exposure cimport NO_ORDERS, Margin
from exchange.wide cimport size_of


cdef class Combos:
    """What stands before and follows from a fill in a combo's book."""

    def __cinit__(self, Instruments instruments, Orders orders, Books books, Positions positions,
                  Exposure exposure, Monitor monitor, EventBuffer events):
        self.instruments = instruments
        self.orders = orders
        self.books = books
        self.positions = positions
        self.exposure = exposure
        self.monitor = monitor
        self.events = events

    # ------------------------------------------------------------------ before the fill

    cdef bint bookable(self, Order* maker) noexcept:
        """Whether the legs can be booked at the order's price."""
        cdef int64_t prices[MAX_LEGS]
        return self.instruments.leg_prices(&self.instruments.at[maker.instrument], maker.price_units, prices)

    cdef int _legs(self, Order* maker, int64_t lots, LegShift* legs) noexcept:
        """What a fill of the maker does to its legs' positions; returns how many legs."""
        cdef Instrument* row = &self.instruments.at[maker.instrument]
        cdef int64_t prices[MAX_LEGS]
        cdef int64_t fees[MAX_LEGS]
        cdef int64_t signed, cost
        cdef Instrument* leg
        cdef Position* position
        cdef int i
        self.instruments.leg_prices(row, maker.price_units, prices)
        combo_fees(self.instruments, row, prices, lots, False, self.exposure.rows.index_e8[row.underlying], fees,
                   &self.exposure.failed)
        for i in range(row.leg_count):
            leg = &self.instruments.at[row.leg_slot[i]]
            signed = row.leg_ratio[i] * (lots if maker.side == 0 else -lots)
            cost = self.instruments.trade_cost(leg, prices[i], size_of(signed), &self.exposure.failed)
            position = self.positions.find(maker.account_id, row.leg_slot[i])
            legs[i].instrument = row.leg_slot[i]
            legs[i].held_lots = 0 if position == NULL else position.quantity_lots
            legs[i].lots = signed
            legs[i].value_minor = signed * leg.mark_minor - (cost if signed > 0 else -cost) - fees[i]
        return row.leg_count

    cdef int _shift(self, uint32_t account_id, LegShift* legs, int count) except -1:
        cdef int i
        for i in range(count):
            self.exposure.shift(account_id, legs[i].instrument, legs[i].held_lots, legs[i].lots, legs[i].value_minor)
        return 0

    cdef int _unshift(self, uint32_t account_id, LegShift* legs, int count) except -1:
        cdef int i
        for i in range(count):
            self.exposure.shift(account_id, legs[i].instrument, legs[i].held_lots + legs[i].lots, -legs[i].lots,
                                -legs[i].value_minor)
        return 0

    cdef bint _stands(self, Order* maker, LegShift* legs, int count) except -1:
        cdef int currency = self.instruments.at[maker.instrument].currency
        cdef Margin after, before
        self._shift(maker.account_id, legs, count)
        self.exposure.margin(maker.account_id, currency, NO_ORDERS, &after)
        self._unshift(maker.account_id, legs, count)
        if after.equity >= after.maintenance:
            return True
        self.exposure.margin(maker.account_id, currency, NO_ORDERS, &before)
        return after.maintenance < before.maintenance

    cdef int maker_reason(self, Order* maker, int64_t lots) except -1:
        """Why a maker cannot be filled: no leg can take its price, or it would not keep its maintenance margin and the
        fill does not lower that; R_NONE where it can."""
        cdef LegShift legs[MAX_LEGS]
        if not self.bookable(maker):
            return R_BAND_PASSED
        return R_NONE if self._stands(maker, legs, self._legs(maker, lots, legs)) else R_MAINTENANCE_WOULD_BREACH

    cdef bint dry_fill(self, Order* maker, int64_t lots, list applied, dict moved) except -1:
        """For fill-or-kill: whether the maker could be filled after what `moved` {(account, leg): lots} holds already.
        Then its figures are shifted, `moved` and `applied` [(account, instrument, held, lots, value)] added to."""
        cdef LegShift legs[MAX_LEGS]
        cdef int i, count
        if not self.bookable(maker):
            return False
        count = self._legs(maker, lots, legs)
        for i in range(count):
            legs[i].held_lots += moved.get((maker.account_id, legs[i].instrument), 0)
        if not self._stands(maker, legs, count):
            return False
        self._shift(maker.account_id, legs, count)
        for i in range(count):
            key = (maker.account_id, legs[i].instrument)
            moved[key] = moved.get(key, 0) + legs[i].lots
            applied.append((*key, legs[i].held_lots, legs[i].lots, legs[i].value_minor))
        return True

    # ------------------------------------------------------------------ the fill

    cdef int _orders_filled(self, uint32_t taker_slot, uint32_t maker_slot, int64_t lots) except -1:
        """Both orders lose `lots`; the maker leaves its book where nothing is left."""
        cdef Order* taker = &self.orders.at[taker_slot]
        cdef Order* maker = &self.orders.at[maker_slot]
        cdef Instrument* row = &self.instruments.at[taker.instrument]
        cdef bint maker_done = maker.remaining_lots == lots
        cdef int64_t paid = (maker.price_units - row.zero_units) * lots * max(row.unit_minor, 1)
        self.exposure.order_reduced(maker, lots, maker_done)
        self.exposure.order_reduced(taker, lots, False)
        taker.remaining_lots -= lots
        if maker_done:
            self.books.unlink(maker_slot)
        else:
            self.books.reduce(maker_slot, lots)
        self.orders.detail[maker_slot].filled_cost_minor += paid
        self.orders.detail[taker_slot].filled_cost_minor += paid
        self.orders.detail[maker_slot].updated_ns = self.events.time_ns
        self.orders.detail[taker_slot].updated_ns = self.events.time_ns
        return maker_done

    cdef int fill(self, uint32_t taker_slot, uint32_t maker_slot, int64_t lots, uint64_t trade_id) except -1:
        """One trade at the maker's (bookable) price. Trade ids from `trade_id` on: the combo's, then its legs'.

        Returns how many ids that took."""
        cdef Order* taker = &self.orders.at[taker_slot]
        cdef Order* maker = &self.orders.at[maker_slot]
        cdef Instrument* row = &self.instruments.at[taker.instrument]
        cdef uint32_t maker_account = maker.account_id
        cdef int64_t index = self.exposure.rows.index_e8[row.underlying]
        cdef int64_t price = maker.price_units
        cdef int64_t prices[MAX_LEGS]
        cdef int64_t taker_fees[MAX_LEGS]
        cdef int64_t maker_fees[MAX_LEGS]
        cdef int64_t taker_lots = lots if taker.side == 0 else -lots
        cdef bint maker_done
        cdef int i, count = row.leg_count
        self.instruments.leg_prices(row, price, prices)
        combo_fees(self.instruments, row, prices, lots, True, index, taker_fees, &self.exposure.failed)
        combo_fees(self.instruments, row, prices, lots, False, index, maker_fees, &self.exposure.failed)
        maker_done = self._orders_filled(taker_slot, maker_slot, lots)
        self.instruments.traded(
            row, price, lots, size_of(self.instruments.combo_cost(row, prices, lots, &self.exposure.failed)))
        self._event(EV_TRADE_EXECUTED, taker, maker, taker.instrument, trade_id, price, lots)
        for i in range(count):
            self._trade_leg(taker, maker, row.leg_slot[i], row.leg_ratio[i] * taker_lots, prices[i], taker_fees[i],
                            maker_fees[i], trade_id + 1 + i)
        if maker_done:
            self.orders.remove(maker_slot)
        self.monitor.check(maker_account)
        self.monitor.check(taker.account_id)
        return 1 + count

    cdef TradeExecuted* _event(self, int kind, Order* taker, Order* maker, uint32_t instrument, uint64_t trade_id,
                               int64_t price, int64_t lots) noexcept:
        """A trade of `instrument` with fees and realised P&L still zero."""
        cdef Instrument* row = &self.instruments.at[instrument]
        cdef TradeExecuted* event = <TradeExecuted*>self.events.emit(kind, 2, taker.account_id)
        event.trade_id = trade_id
        event.instrument = instrument
        event.maker_account_id = maker.account_id
        event.taker_order_id = taker.order_id
        event.maker_order_id = maker.order_id
        event.price_units = price
        event.quantity_lots = lots
        event.mark_price_e8 = row.mark_price_e8
        event.index_price_e8 = self.exposure.rows.index_e8[row.underlying]
        event.trade_seq = row.trade_seq
        event.side = taker.side
        event.tick_direction = row.tick_direction
        event.taker_flags = taker.flags
        event.maker_flags = maker.flags
        return event

    cdef int _trade_leg(self, Order* taker, Order* maker, uint32_t leg, int64_t signed, int64_t price,
                        int64_t taker_fee, int64_t maker_fee, uint64_t trade_id) except -1:
        """Book `signed` lots of a leg for the taker, the opposite for the maker: volume, but no last price."""
        cdef Instrument* row = &self.instruments.at[leg]
        cdef int64_t cost = self.instruments.trade_cost(row, price, size_of(signed), &self.exposure.failed)
        cdef int64_t maker_realised, taker_realised
        cdef TradeExecuted* event
        self.instruments.traded(row, 0, size_of(signed), size_of(cost))
        if signed < 0:
            cost = -cost
        maker_realised = self.exposure.trade(maker.account_id, leg, -signed, -cost, maker_fee)
        taker_realised = self.exposure.trade(taker.account_id, leg, signed, cost, taker_fee)
        event = self._event(EV_LEG_TRADE_EXECUTED, taker, maker, leg, trade_id, price, size_of(signed))
        event.side = 0 if signed > 0 else 1
        event.taker_fee_minor = taker_fee
        event.maker_fee_minor = maker_fee
        event.taker_realised_minor = taker_realised
        event.maker_realised_minor = maker_realised
        event.taker_flags |= TRADE_COMBO_LEG
        return 0
