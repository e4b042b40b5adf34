"""The life of an order inside the engine: place, execute fill by fill, cancel, edit.

Between two fills stand the self-trade rule (cancel maker, by owner), reduce-only, and the maintenance check of the
maker; maker and taker are re-margined on each fill.
"""

from libc.stdlib cimport qsort
from libc.string cimport memcmp, memcpy

from exchange.clearing.fees cimport trade_fee
from exchange.clearing.position cimport Position
from exchange.trading.entry cimport SPECIAL
from exchange.market.instrument cimport NO_SLOT, STATE_AUCTION
from exchange.market.order cimport OrderDetail
from exchange.records cimport (
    EV_COMMAND_DONE, EV_COMMAND_REJECTED, EV_ORDER_ACCEPTED, EV_ORDER_CANCELLED, EV_ORDER_EDITED, EV_ORDER_REJECTED,
    EV_ORDER_REPLENISHED, EV_PROTECTION_TRIGGERED, EV_TRADE_EXECUTED, FLAG_ADVANCED, FLAG_ICEBERG, FLAG_LINKED,
    FLAG_POST_ONLY, FLAG_PRICE_ADJUSTED, FLAG_QUOTE, FLAG_REDUCE_ONLY, FLAG_REJECT_POST_ONLY, FLAG_RISK_REDUCING,
    FLAG_UNIQUE_LABEL, R_AUCTION_ONLY, R_BAND_PASSED, R_BOOK_FULL, R_DUPLICATE_LABEL, R_EDIT_BELOW_FILLED,
    R_FILL_OR_KILL_UNFILLABLE, R_IMMEDIATE_OR_CANCEL, R_KILL_SWITCH, R_MAINTENANCE_WOULD_BREACH, R_MARKET_REMAINDER,
    R_NONE, R_NOT_OWNER_OF_ORDER, R_NO_LIQUIDITY, R_POST_ONLY_WOULD_CROSS, R_PROTECTION_TRIGGERED,
    R_QUANTITY_NOT_POSITIVE, R_QUANTITY_TOO_LARGE, R_QUOTE_NOT_EDITABLE, R_REDUCE_ONLY_POSITION_GONE,
    R_REDUCE_ONLY_WOULD_INCREASE, R_SELF_TRADE, R_UNKNOWN_ORDER, TIF_FOK, TIF_GTC, TIF_GTD, TRADE_UNCROSSED,
    TYPE_MARKET, TYPE_MARKET_LIMIT, CancelAll, CancelOrder, CommandEvent, EditOrder, OrderAccepted, OrderCancelled,
    OrderEdited, OrderRejected, OrderReplenished, OrderTerms, PlaceOrder, TradeExecuted,
)
from exchange.wide cimport size_of

cdef enum:
    REDUCED = 0          # what a fill makes of a resting order
    FILLED = 1
    REPLENISHED = 2
    ANY_CURRENCY = 0xFFFF
    ANY_BYTE = 0xFF
    LASTING = SPECIAL | FLAG_QUOTE | FLAG_RISK_REDUCING     # flags that an edit leaves
    WATCHED = FLAG_ADVANCED | FLAG_LINKED                     # somebody keeps a record of these while they live

cdef int64_t NEVER = <int64_t>1 << 62


cdef int _ascending(const void* a, const void* b) noexcept nogil:
    cdef uint32_t left = (<const uint32_t*>a)[0]
    cdef uint32_t right = (<const uint32_t*>b)[0]
    return (left > right) - (left < right)


cdef class Trading(DryRun):
    """Order commands over the core's rooms."""

    def __cinit__(self, *rooms):
        self.monitor = rooms[8]
        self.next_order_id = 1
        self.next_trade_id = 1
        self.noted = {}
        self.became = {}
        self.advanced = [{} for _ in range(self.exposure.rows.underlying_count)]
        self.advanced_end_ns = NEVER

    # ------------------------------------------------------------------ place

    cdef int _reject(self, const PlaceOrder* command, int reason, uint64_t order_id) except -1:
        cdef OrderRejected* event = <OrderRejected*>self.events.emit(EV_ORDER_REJECTED, 1, command.header.account_id)
        event.instrument = command.instrument
        event.reason = reason
        event.side = command.side
        event.flags = command.flags
        event.price_units = command.price_units
        event.quantity_lots = command.quantity_lots
        event.order_id = order_id
        return 0

    cdef int place(self, const PlaceOrder* command, const OrderTerms* terms, const char* label) except -1:
        """A new order; `terms` is NULL where it has only the common ones."""
        return self.enter(command, terms, label, 0)

    cdef int enter(self, const PlaceOrder* command, const OrderTerms* terms, const char* label, int special) except -1:
        """A new order with `special` flags that a record of PLACE_ORDER cannot carry."""
        cdef uint32_t slot = self.prepare(command, terms, label, special, self.next_order_id)
        if slot == 0:
            return 0
        self.next_order_id += 1
        return self.begin(slot, label, command.label_bytes)

    cdef int begin(self, uint32_t slot, const char* label, int label_bytes) except -1:
        """Accept a prepared order and let it trade."""
        self.accept(slot, label, label_bytes)
        return self.settle(slot)

    cdef int _shaped(self, const PlaceOrder* command, const OrderTerms* terms, const char* label, int64_t* price,
                     int64_t* lots, int* flags) except -1:
        """Price, quantity and flags that an order has as the market and the position are; or why it is refused."""
        cdef Instrument* row
        cdef bint market = command.order_type == TYPE_MARKET or command.order_type == TYPE_MARKET_LIMIT
        cdef int reason = self._entry_reason(command, terms, market, flags[0], price)
        if reason:
            return reason
        row = &self.instruments.at[command.instrument]
        if market:
            price[0] = self._market_price(row, command.instrument, command.side, command.order_type)
            if price[0] == 0:
                return R_NO_LIQUIDITY
        if flags[0] & (FLAG_REDUCE_ONLY | FLAG_POST_ONLY) or self.pretrade.closes_only(command.instrument):
            reason = self._fit(command, price, lots, flags)
            if reason:
                return reason
        if flags[0] & FLAG_UNIQUE_LABEL and command.label_bytes:
            if self._label_in_use(command.header.account_id, label, command.label_bytes):
                return R_DUPLICATE_LABEL
        return self.pretrade.limit_reason(command.header.account_id, command.instrument, command.side, lots[0], True)

    cdef uint32_t prepare(self, const PlaceOrder* command, const OrderTerms* terms, const char* label, int special,
                          uint64_t order_id) except? 0:
        """Slot of a new order that passed every check and is counted as open; 0 where it was refused (and said so)."""
        cdef uint32_t account_id = command.header.account_id
        cdef int64_t lots = command.quantity_lots
        cdef int64_t price = command.price_units
        cdef int flags = command.flags & (FLAG_POST_ONLY | FLAG_REJECT_POST_ONLY | FLAG_REDUCE_ONLY | FLAG_UNIQUE_LABEL)
        cdef int reason = self._shaped(command, terms, label, &price, &lots, &flags)
        cdef uint32_t slot = 0
        cdef Order* order
        if reason == R_NONE:
            slot = self.orders.add(order_id, account_id)
            reason = R_NONE if slot else R_BOOK_FULL
        if reason:
            self._reject(command, reason, order_id if special & ANNOUNCED else 0)
            return 0
        order = &self.orders.at[slot]
        order.price_units = price
        order.remaining_lots = lots
        order.instrument = command.instrument
        order.owner_id = self.accounts.at[account_id].owner_id
        order.side = command.side
        order.order_type = command.order_type
        order.time_in_force = command.time_in_force
        order.flags = <uint16_t>(flags | special)
        self.orders.detail[slot].key_id = command.key_id
        if terms != NULL:
            self._take_terms(slot, terms)
            if special & FLAG_LINKED:
                self.orders.detail[slot].linked_order_id = terms.linked_order_id
                self.orders.detail[slot].both_count = 1 if special & BOTH_COUNT else 0
        self.exposure.order_added(order)
        reason = self.pretrade.fund(order)
        if reason == R_NONE and command.time_in_force == TIF_FOK and not self._fillable(order):
            reason = R_FILL_OR_KILL_UNFILLABLE
            self.exposure.order_reduced(order, order.remaining_lots, True)
        if self.pretrade.collateral.taken_minor:
            self._drawn(order, slot, reason)
        if reason:
            self.orders.remove(slot)
            self._reject(command, reason, order_id if special & ANNOUNCED else 0)
            return 0
        return slot

    cdef int _drawn(self, Order* order, uint32_t slot, int reason) except -1:
        """Tell what an isolated position's order drew from the holder; where it is refused, that goes back unsaid."""
        cdef int currency = self.instruments.at[order.instrument].currency
        cdef uint32_t account_id = order.account_id
        if reason:
            return self.pretrade.collateral.undo(account_id, currency)
        self.pretrade.collateral.told(account_id, currency, order.order_id)
        self.monitor.check(account_id)
        self.monitor.check(self.accounts.at[account_id].holder)
        return 0

    cdef int unprepare(self, uint32_t slot) except -1:
        """Take back a prepared order that was not accepted, and what it drew with it."""
        cdef Order* order = &self.orders.at[slot]
        cdef uint32_t account_id = order.account_id
        cdef uint64_t order_id = order.order_id
        cdef int currency = self.instruments.at[order.instrument].currency
        self.exposure.order_reduced(order, order.remaining_lots, True)
        self.orders.remove(slot)
        if self.pretrade.collateral.drawn and (amount := self.pretrade.collateral.returned(order_id)):
            self.pretrade.collateral.give_back(account_id, currency, amount)
            self.monitor.check(account_id)
            self.monitor.check(self.accounts.at[account_id].holder)
        return 0

    cdef int accept(self, uint32_t slot, const char* label, int label_bytes) except -1:
        """Write down an order's particulars and say that it was accepted."""
        cdef Order* order = &self.orders.at[slot]
        cdef OrderDetail* detail = &self.orders.detail[slot]
        cdef OrderAccepted* event
        cdef int special = 1 if order.flags & SPECIAL else 0
        detail.quantity_lots = order.remaining_lots + detail.hidden_lots
        detail.created_ns = self.events.time_ns
        detail.updated_ns = self.events.time_ns
        detail.label_bytes = label_bytes
        memcpy(detail.label, label, label_bytes)
        event = <OrderAccepted*>self.events.emit(EV_ORDER_ACCEPTED, 1 + special + (label_bytes + 63) // 64,
                                                 order.account_id)
        event.order_id = order.order_id
        event.instrument = order.instrument
        event.side = order.side
        event.order_type = order.order_type
        event.time_in_force = order.time_in_force
        event.terms_slots = special
        event.price_units = order.price_units
        event.quantity_lots = detail.quantity_lots
        event.key_id = detail.key_id
        event.label_bytes = label_bytes
        event.flags = order.flags
        if special:
            self._write_terms(slot, <OrderTerms*>(<char*>event + sizeof(OrderAccepted)))
            self._opened(order)
            if order.flags & FLAG_LINKED:
                self.note(order.order_id, LINK_EDITED, detail.quantity_lots)
        memcpy(<char*>event + sizeof(OrderAccepted) + special * sizeof(OrderTerms), label, label_bytes)
        return 0

    cdef int settle(self, uint32_t slot) except -1:
        """Execute an order that is counted as open, then rest or end it."""
        cdef Order* order
        cdef int reason = self.execute(slot)
        order = &self.orders.at[slot]
        if order.remaining_lots == 0:
            self.exposure.order_reduced(order, 0, True)
            if order.flags & WATCHED:
                self._closed(order)
            self.orders.remove(slot)
            return 0
        if reason:
            return self.withdraw(slot, reason, False)
        if order.order_type != TYPE_MARKET and (order.time_in_force == TIF_GTC or order.time_in_force == TIF_GTD):
            if order.time_in_force == TIF_GTD:
                self.day_orders += 1
            if order.flags & FLAG_REDUCE_ONLY:
                self.positions.reducing[order.account_id] = 1
            if order.flags & FLAG_ICEBERG:
                self._show_tranche(slot)
            return self.books.rest(slot)
        return self.withdraw(
            slot, R_MARKET_REMAINDER if order.order_type == TYPE_MARKET else R_IMMEDIATE_OR_CANCEL, False
        )

    cdef void _show_tranche(self, uint32_t slot) noexcept:
        """Divide what is left of an iceberg that is in no book anew into a shown tranche and the hidden rest."""
        cdef Order* order = &self.orders.at[slot]
        cdef OrderDetail* detail = &self.orders.detail[slot]
        cdef int64_t whole = order.remaining_lots + detail.hidden_lots
        order.remaining_lots = min(detail.display_lots, whole)
        detail.hidden_lots = whole - order.remaining_lots

    cdef int _replenish(self, uint32_t slot) except -1:
        """Put an iceberg's next tranche last at its price."""
        cdef Order* order = &self.orders.at[slot]
        cdef OrderReplenished* event
        self.books.rest(slot)
        event = <OrderReplenished*>self.events.emit(EV_ORDER_REPLENISHED, 1, order.account_id)
        event.order_id = order.order_id
        event.instrument = order.instrument
        event.side = order.side
        event.price_units = order.price_units
        event.shown_lots = order.remaining_lots
        event.remaining_lots = self.orders.whole_lots(order)
        return 0

    # ------------------------------------------------------------------ matching

    cdef int execute(self, uint32_t slot) except -1:
        """Match an order against the book until it is filled or no longer crosses; R_SELF_TRADE where the taker must
        stop before its own order, R_PROTECTION_TRIGGERED where its group stops it, else R_NONE."""
        cdef Order* taker = &self.orders.at[slot]
        cdef Order* maker
        cdef Instrument* row = &self.instruments.at[taker.instrument]
        cdef bint stops = self.pretrade.switches.count
        cdef uint32_t best
        cdef int64_t lots
        cdef int reason
        if row.state == STATE_AUCTION:
            return R_NONE
        while taker.remaining_lots and self._crosses(taker):
            best = self.books.best_order(taker.instrument, taker.side ^ 1)
            maker = &self.orders.at[best]
            if stops:
                if self.pretrade.switches.stopped(taker.account_id, row.underlying):
                    return R_KILL_SWITCH
                if self.pretrade.switches.stopped(maker.account_id, row.underlying):
                    self.withdraw(best, R_KILL_SWITCH, True)
                    continue
            if self._same_trader(maker, taker):
                if self.accounts.at[taker.account_id].reject_taker:
                    return R_SELF_TRADE
                self.withdraw(best, R_SELF_TRADE, True)
                continue
            if maker.flags & FLAG_LINKED and self.links_first(best):
                continue
            lots = self._maker_lots(maker, taker.remaining_lots)
            if lots == 0:
                self.withdraw(best, R_REDUCE_ONLY_POSITION_GONE, True)
                continue
            if row.leg_count:
                reason = self.combos.maker_reason(maker, lots)
                if reason:
                    self.withdraw(best, reason, True)
                elif self._fill_combo(slot, best, lots):
                    return R_PROTECTION_TRIGGERED
                continue
            if not self._filled_stands(maker, lots, maker.price_units):
                self.withdraw(best, R_MAINTENANCE_WOULD_BREACH, True)
                continue
            if self._fill(slot, best, lots, maker.price_units, row.taker_ppm, False):
                return R_PROTECTION_TRIGGERED
        return 0

    cdef bint _fill_combo(self, uint32_t taker_slot, uint32_t maker_slot, int64_t lots) except -1:
        """A trade of a combo with its legs; protection counts the combo. Whether the taker's group stops it."""
        cdef Order* maker = &self.orders.at[maker_slot]
        cdef Order* taker = &self.orders.at[taker_slot]
        cdef uint32_t maker_account = maker.account_id
        cdef int maker_group = maker.protection_group
        cdef int64_t signed = signed_of(taker, lots)
        self.next_trade_id += self.combos.fill(taker_slot, maker_slot, lots, self.next_trade_id)
        if maker_group:
            self._protect(maker_account, maker_group, taker.instrument, -signed, 0)
        if taker.protection_group:
            return self._protect(taker.account_id, taker.protection_group, taker.instrument, signed, taker_slot)
        return False

    cdef bint _filled_stands(self, Order* order, int64_t lots, int64_t price) except -1:
        """Whether an order's account keeps its maintenance margin after a fill at a price, at the maker's rate."""
        cdef Instrument* row = &self.instruments.at[order.instrument]
        cdef int64_t cost = self.instruments.trade_cost(row, price, lots, &self.failed)
        cdef int64_t index = self.exposure.rows.index_e8[row.underlying]
        cdef int64_t fee = trade_fee(row, cost, lots, row.maker_ppm, index, &self.failed)
        cdef Position* position = self.positions.find(order.account_id, order.instrument)
        return self._maker_stands(order, position.quantity_lots, lots, cost, fee)

    cdef int _after(self, uint32_t slot, int64_t lots) noexcept:
        """What a fill makes of an order that rests."""
        if self.orders.at[slot].remaining_lots != lots:
            return REDUCED
        return REPLENISHED if self.orders.detail[slot].hidden_lots else FILLED

    cdef int _conclude(self, uint32_t slot, int after) except -1:
        """Once its trade is told, an order that was filled goes and an iceberg shows its next tranche."""
        if after == FILLED:
            if self.orders.at[slot].flags & WATCHED:
                self._closed(&self.orders.at[slot])
            self.orders.remove(slot)
        elif after == REPLENISHED:
            self._replenish(slot)
        return 0

    cdef void _take_off(self, uint32_t slot, int64_t lots, int64_t cost, bint rests, int after) noexcept:
        """A fill's share of an order; one that rests and shows nothing any more leaves its book."""
        cdef Order* order = &self.orders.at[slot]
        cdef OrderDetail* detail = &self.orders.detail[slot]
        self.exposure.order_reduced(order, lots, after == FILLED)
        if not rests:
            order.remaining_lots -= lots
        elif after == REDUCED:
            self.books.reduce(slot, lots)
        else:
            self.books.unlink(slot)
            if after == REPLENISHED:
                order.remaining_lots = 0
                self._show_tranche(slot)
        detail.filled_cost_minor += cost
        detail.updated_ns = self.events.time_ns
        if order.flags & FLAG_LINKED:
            self.note(order.order_id, LINK_FILLED, lots)

    cdef int _fill(self, uint32_t taker_slot, uint32_t maker_slot, int64_t lots, int64_t price, int64_t taker_ppm,
                   bint uncrossing) except -1:
        """One trade: orders, positions, ledger, exposure, event, margin levels, protection; 1 where a taker must stop.

        The maker rests and is removed when filled; so is the taker in an uncrossing. Else the caller has the taker."""
        cdef Order* taker = &self.orders.at[taker_slot]
        cdef Order* maker = &self.orders.at[maker_slot]
        cdef Instrument* row = &self.instruments.at[taker.instrument]
        cdef int64_t cost = self.instruments.trade_cost(row, price, lots, &self.failed)
        cdef int64_t index = self.exposure.rows.index_e8[row.underlying]
        cdef int64_t taker_fee = trade_fee(row, cost, lots, taker_ppm, index, &self.failed)
        cdef int64_t maker_fee = trade_fee(row, cost, lots, row.maker_ppm, index, &self.failed)
        cdef int taker_sign = 1 if taker.side == 0 else -1
        cdef uint32_t maker_account = maker.account_id
        cdef uint32_t taker_account = taker.account_id
        cdef int taker_after = self._after(taker_slot, lots) if uncrossing else REDUCED
        cdef int maker_after = self._after(maker_slot, lots)
        cdef uint32_t instrument = taker.instrument
        cdef int maker_group = maker.protection_group
        cdef int taker_group = taker.protection_group
        cdef int64_t taker_realised, maker_realised
        cdef TradeExecuted* event
        self._take_off(maker_slot, lots, cost, True, maker_after)
        self._take_off(taker_slot, lots, cost, uncrossing, taker_after)
        maker_realised = self.exposure.trade(maker_account, taker.instrument, -taker_sign * lots, -taker_sign * cost,
                                             maker_fee)
        taker_realised = self.exposure.trade(taker.account_id, taker.instrument, taker_sign * lots, taker_sign * cost,
                                             taker_fee)
        self.instruments.traded(row, price, lots, size_of(cost))
        event = <TradeExecuted*>self.events.emit(EV_TRADE_EXECUTED, 2, taker.account_id)
        event.trade_id = self.next_trade_id
        event.instrument = taker.instrument
        event.maker_account_id = maker_account
        event.taker_order_id = taker.order_id
        event.maker_order_id = maker.order_id
        event.price_units = price
        event.quantity_lots = lots
        event.taker_fee_minor = taker_fee
        event.maker_fee_minor = maker_fee
        event.taker_realised_minor = taker_realised
        event.maker_realised_minor = maker_realised
        event.mark_price_e8 = row.mark_price_e8
        event.index_price_e8 = index
        event.trade_seq = row.trade_seq
        event.side = taker.side
        event.tick_direction = row.tick_direction
        event.taker_flags = taker.flags
        event.maker_flags = maker.flags
        if uncrossing:
            event.maker_flags |= TRADE_UNCROSSED
        self.next_trade_id += 1
        self._conclude(maker_slot, maker_after)
        self._conclude(taker_slot, taker_after)
        self.pretrade.collateral.note(maker_account)
        self.pretrade.collateral.note(taker_account)
        self.monitor.check(maker_account)
        self.monitor.check(taker_account)
        if maker_group:
            self._protect(maker_account, maker_group, instrument, -taker_sign * lots, 0)
        if taker_group:
            return self._protect(taker_account, taker_group, instrument, taker_sign * lots,
                                 0 if uncrossing else taker_slot) and not uncrossing
        return 0

    # ------------------------------------------------------------------ linked orders

    cdef int note(self, uint64_t order_id, int what, int64_t number) except -1:
        """Keep what became of a linked order until links take it in."""
        self.note_count += 1
        self.noted.setdefault(order_id, []).append((self.note_count, order_id, what, number))
        if what == LINK_BECAME:
            self.became[number] = order_id
        return 0

    cdef list take_notes(self):
        """All that was noted, in the order in which it happened, as (place, order id, what, number)."""
        found = sorted([note for notes in self.noted.values() for note in notes])
        self.noted = {}
        self.became = {}
        return found

    cdef bint links_first(self, uint32_t slot) except -1:
        """A linked order is about to trade: whether what its other order did in this command has changed it."""
        if self.orders.detail[slot].linked_order_id not in self.noted:
            return False
        return self.links.before_fill(self.orders.at[slot].order_id)

    # ------------------------------------------------------------------ market-maker protection

    cdef bint _protect(self, uint32_t account_id, int number, uint32_t instrument, int64_t signed,
                       uint32_t taker_slot) except -1:
        """Count a fill of an order of a group; whether that triggered the group. `taker_slot`: see _trigger_group."""
        cdef Group* group = self.protection.find(account_id, self.instruments.at[instrument].underlying, number)
        cdef int cause = self.protection.add_fill(group, instrument, signed)
        if cause == 0:
            return False
        self._trigger_group(account_id, group, cause, taker_slot)
        return True

    cdef int _trigger_group(self, uint32_t account_id, Group* group, int cause, uint32_t taker_slot) except -1:
        """Freeze a group and cancel its resting orders; a taker of the group is left to its caller, but counted."""
        cdef uint32_t count = self.count_group(account_id, group, taker_slot)
        if taker_slot and self.orders.at[taker_slot].remaining_lots:
            count += 1
        self.protection.trigger(group)
        self.protection.emit(EV_PROTECTION_TRIGGERED, account_id, group, cause, count)
        self.protection.clear(group)
        self.cancel_group(account_id, group, R_PROTECTION_TRIGGERED, taker_slot)
        return 0

    cdef bint in_group(self, uint32_t slot, Group* group) noexcept:
        """Whether an order of the group's account belongs to it."""
        cdef Order* order = &self.orders.at[slot]
        return (order.protection_group == group.number
                and self.instruments.at[order.instrument].underlying == group.underlying)

    cdef uint32_t count_group(self, uint32_t account_id, Group* group, uint32_t but) noexcept:
        """How many of the account's orders belong to the group, `but` not counted."""
        cdef uint32_t slot = self.orders.account_head[account_id]
        cdef uint32_t count = 0
        while slot:
            if slot != but and self.in_group(slot, group):
                count += 1
            slot = self.orders.at[slot].account_next
        return count

    cdef int cancel_group(self, uint32_t account_id, Group* group, int reason, uint32_t but) except -1:
        """Cancel the group's resting orders, ascending id, `but` the one in a slot."""
        cdef uint32_t slot = self.orders.account_head[account_id]
        cdef uint32_t following
        while slot:
            following = self.orders.at[slot].account_next
            if slot != but and self.in_group(slot, group):
                self.withdraw(slot, reason, True)
            slot = following
        return 0

    # ------------------------------------------------------------------ end and change

    cdef int withdraw(self, uint32_t slot, int reason, bint resting) except -1:
        """End a live order with its remainder unfilled."""
        cdef Order* order = &self.orders.at[slot]
        cdef OrderCancelled* event
        cdef int64_t whole = self.orders.whole_lots(order)
        self.exposure.order_reduced(order, whole, True)
        if resting:
            self.books.unlink(slot)
        event = <OrderCancelled*>self.events.emit(EV_ORDER_CANCELLED, 1, order.account_id)
        event.order_id = order.order_id
        event.instrument = order.instrument
        event.reason = reason
        event.side = order.side
        event.flags = order.flags
        event.price_units = order.price_units
        event.remaining_lots = whole
        event.quantity_lots = self.orders.detail[slot].quantity_lots
        if order.flags & WATCHED:
            self._closed(order)
            if order.flags & FLAG_LINKED:
                self.note(order.order_id, LINK_ENDED, 0)
        self.pretrade.collateral.note(order.account_id)
        self.orders.remove(slot)
        return 0

    cdef int _opened(self, Order* order) except -1:
        """An order with special terms was accepted."""
        cdef Instrument* row = &self.instruments.at[order.instrument]
        if order.flags & FLAG_ADVANCED:
            self.advanced[row.underlying][order.order_id] = None
            self.advanced_end_ns = min(self.advanced_end_ns, self.pretrade.advanced_end_ns(order.instrument))
        return 0

    cdef int _closed(self, Order* order) except -1:
        """A watched order has ended and is about to leave the pool."""
        if order.flags & FLAG_ADVANCED:
            del self.advanced[self.instruments.at[order.instrument].underlying][order.order_id]
        return 0

    cdef int cancel(self, const CancelOrder* command) except -1:
        cdef uint32_t slot = self.orders.find(command.order_id)
        cdef CommandEvent* event
        cdef int reason = R_NONE
        if slot == 0:
            reason = R_UNKNOWN_ORDER
        elif self.orders.at[slot].account_id != command.header.account_id:
            reason = R_NOT_OWNER_OF_ORDER
        if reason == R_NONE:
            return self.withdraw(slot, command.reason, True)
        event = <CommandEvent*>self.events.emit(EV_COMMAND_REJECTED, 1, command.header.account_id)
        event.command_kind = command.header.kind
        event.reason = reason
        event.order_id = command.order_id
        return 0

    cdef int cancel_all(self, const CancelAll* command, const char* label, uint32_t count) except -1:
        """Cancel an account's orders that match every given filter, ascending id; `count` are cancelled already."""
        cdef uint32_t account_id = command.header.account_id
        cdef CommandEvent* event
        count += self.cancel_matching(account_id, command, label)
        event = <CommandEvent*>self.events.emit(EV_COMMAND_DONE, 1, account_id)
        event.command_kind = command.header.kind
        event.count = count
        return 0

    cdef int cancel_matching(self, uint32_t account_id, const CancelAll* command, const char* label) except -1:
        """Cancel an account's live orders that match a command's filters; how many."""
        cdef uint32_t slot, following
        cdef Order* order
        cdef OrderDetail* detail
        cdef Instrument* row
        cdef int count = 0
        slot = self.orders.account_head[account_id] if self.accounts.exists(account_id) else 0
        while slot:
            order = &self.orders.at[slot]
            detail = &self.orders.detail[slot]
            following = order.account_next
            row = &self.instruments.at[order.instrument]
            if ((command.instrument == NO_SLOT or command.instrument == order.instrument)
                    and (command.currency == ANY_CURRENCY or command.currency == row.currency)
                    and (command.instrument_kind == ANY_BYTE or command.instrument_kind == row.kind)
                    and (command.order_type == ANY_BYTE or command.order_type == order.order_type)
                    and (command.label_bytes == 0 or (detail.label_bytes == command.label_bytes
                         and memcmp(detail.label, label, command.label_bytes) == 0))):
                self.withdraw(slot, command.reason, True)
                count += 1
            slot = following
        return count

    cdef int _reject_edit(self, const EditOrder* command, uint32_t slot, int reason) except -1:
        cdef OrderRejected* event = <OrderRejected*>self.events.emit(EV_ORDER_REJECTED, 1, command.header.account_id)
        event.instrument = self.orders.at[slot].instrument if slot else NO_SLOT
        event.reason = reason
        event.side = self.orders.at[slot].side if slot else 0
        event.price_units = command.price_units
        event.quantity_lots = command.quantity_lots
        event.order_id = command.order_id
        return 0

    cdef int _apply_edit(self, uint32_t slot, int64_t price, int64_t remaining, int flags, bint kept) except -1:
        """Give an order its new terms; where they are not funded nothing changes and the reason comes back.

        An order that loses its place leaves the book, counted as open: the caller executes it.
        """
        cdef Order* order = &self.orders.at[slot]
        cdef OrderDetail* detail = &self.orders.detail[slot]
        cdef Order trial, was
        cdef int64_t whole = self.orders.whole_lots(order)
        cdef int64_t hidden
        cdef int reason
        self.exposure.refresh_orders(order.account_id, self.instruments.at[order.instrument].chain)
        if kept:
            if remaining < whole:
                self.exposure.order_reduced(order, whole - remaining, False)
                hidden = min(detail.hidden_lots, whole - remaining)
                detail.hidden_lots -= hidden
                if whole - remaining > hidden:
                    self.books.reduce(slot, whole - remaining - hidden)
            order.flags = flags | (order.flags & LASTING)
            if flags & FLAG_REDUCE_ONLY:
                self.positions.reducing[order.account_id] = 1
            return R_NONE
        # The trial stands in the order's own slot while it is funded: figures may be made anew from the pool then.
        was = order[0]
        self.exposure.order_reduced(order, whole, True)
        order.price_units = price
        order.remaining_lots = remaining
        order.flags = flags | (was.flags & (SPECIAL | FLAG_QUOTE))
        hidden = detail.hidden_lots
        detail.hidden_lots = 0
        reason = self.pretrade.limit_reason(order.account_id, order.instrument, order.side, remaining, False)
        if reason == R_NONE:
            self.exposure.order_added(order)
            reason = self.pretrade.fund(order)
        trial = order[0]
        order[0] = was
        detail.hidden_lots = hidden
        if reason:
            self.exposure.order_added(order)
            return reason
        if self.pretrade.collateral.taken_minor:
            self._drawn(order, 0, R_NONE)
        self.books.unlink(slot)
        order.price_units = price
        order.remaining_lots = remaining
        order.flags = trial.flags
        detail.hidden_lots = 0
        return R_NONE

    cdef int _say_edited(self, uint32_t slot, bint kept, bint labelled) except -1:
        """ORDER_EDITED as the order now is, with its label in a slot of its own where that is new."""
        cdef Order* order = &self.orders.at[slot]
        cdef OrderDetail* detail = &self.orders.detail[slot]
        cdef int special = 1 if order.flags & SPECIAL else 0
        cdef OrderEdited* event = <OrderEdited*>self.events.emit(EV_ORDER_EDITED, 1 + special + labelled,
                                                                 order.account_id)
        event.order_id = order.order_id
        event.instrument = order.instrument
        event.side = order.side
        event.flags = order.flags
        event.kept_priority = kept
        event.terms_slots = special
        event.price_units = order.price_units
        event.quantity_lots = detail.quantity_lots
        event.remaining_lots = self.orders.whole_lots(order)
        self.pretrade.collateral.note(order.account_id)
        if special:
            self._write_terms(slot, <OrderTerms*>(<char*>event + sizeof(OrderEdited)))
        if labelled:
            memcpy(<char*>event + sizeof(OrderEdited) + special * sizeof(OrderTerms), detail.label, detail.label_bytes)
        return 0

    cdef int shrink(self, uint32_t slot, int64_t remaining, bint resting) except -1:
        """Leave an order fewer lots, its place kept and hidden ones first, whatever the state of the instrument: links
        do so, and positions that shrink."""
        cdef Order* order = &self.orders.at[slot]
        cdef OrderDetail* detail = &self.orders.detail[slot]
        cdef int64_t less = self.orders.whole_lots(order) - remaining
        cdef int64_t hidden = min(detail.hidden_lots, less) if order.flags & FLAG_ICEBERG else 0
        self.exposure.order_reduced(order, less, False)
        detail.hidden_lots -= hidden
        if not resting:
            order.remaining_lots -= less
        elif less > hidden:
            self.books.reduce(slot, less - hidden)
        detail.quantity_lots -= less
        detail.updated_ns = self.events.time_ns
        return self._say_edited(slot, True, False)

    cdef int cut_reducing(self) except -1:
        """Cut resting reduce-only orders to what is left of their positions, or end them: account by account, ascending
        order id."""
        cdef uint32_t i, count = self.positions.shrank_count
        self.positions.shrank_count = 0
        if count > 1:
            qsort(self.positions.shrank, count, sizeof(uint32_t), &_ascending)
        for i in range(count):
            if i == 0 or self.positions.shrank[i] != self.positions.shrank[i - 1]:
                self._cut_account(self.positions.shrank[i])
        return 0

    cdef int _cut_account(self, uint32_t account_id) except -1:
        cdef uint32_t following, slot = self.orders.account_head[account_id]
        cdef Order* order
        cdef int64_t lots
        cdef bint found = False
        while slot:
            order = &self.orders.at[slot]
            following = order.account_next
            if order.flags & FLAG_REDUCE_ONLY:
                found = True
                lots = self.pretrade.reducible(account_id, order.instrument, order.side)
                if lots == 0:
                    self.withdraw(slot, R_REDUCE_ONLY_POSITION_GONE, True)
                elif lots < self.orders.whole_lots(order):
                    self.shrink(slot, lots, True)
            slot = following
        self.positions.reducing[account_id] = found
        return 0

    cdef int reprice(self, uint32_t slot) except -1:
        """Give a resting advanced order the price that its terms mean now; it may trade. Whether anything changed.

        What cannot have its new price ends; in a halt, or while the marks are old, it keeps the one it has."""
        cdef Order* order = &self.orders.at[slot]
        cdef OrderDetail* detail = &self.orders.detail[slot]
        cdef int reason
        cdef int64_t price = self.pretrade.advanced_price(order.instrument, order.side, detail.advanced,
                                                          detail.advanced_value_e8)
        if price == 0 or price == order.price_units or not self.pretrade.live(order.instrument):
            return 0
        reason = self.pretrade.static_reason(order.account_id, order.instrument, order.side, price,
                                             detail.quantity_lots, False, self.events.time_ns)
        if reason == R_QUANTITY_TOO_LARGE:
            self.withdraw(slot, R_BAND_PASSED, True)
            return 1
        if reason:
            return 0
        reason = self.change(slot, price, order.remaining_lots, detail.quantity_lots, order.flags, NULL, 0)
        if reason == R_REDUCE_ONLY_WOULD_INCREASE:
            reason = R_REDUCE_ONLY_POSITION_GONE
        if reason:
            self.withdraw(slot, reason, True)
        return 1

    cdef int edit(self, const EditOrder* command, const OrderTerms* terms) except -1:
        """New price and total quantity; priority stays when only the quantity shrinks. Refused edits change nothing.

        `terms` is NULL where the command has none."""
        cdef uint32_t slot = self.orders.find(command.order_id)
        cdef Order* order
        cdef OrderDetail* detail
        cdef int64_t remaining, display, value_e8, price = command.price_units
        cdef int reason
        if slot == 0:
            return self._reject_edit(command, 0, R_UNKNOWN_ORDER)
        order = &self.orders.at[slot]
        if order.account_id != command.header.account_id:
            return self._reject_edit(command, 0, R_NOT_OWNER_OF_ORDER)
        if order.flags & FLAG_QUOTE:
            return self._reject_edit(command, slot, R_QUOTE_NOT_EDITABLE)
        detail = &self.orders.detail[slot]
        remaining = command.quantity_lots - (detail.quantity_lots - self.orders.whole_lots(order))
        if command.quantity_lots <= 0:
            return self._reject_edit(command, slot, R_QUANTITY_NOT_POSITIVE)
        if remaining <= 0:
            return self._reject_edit(command, slot, R_EDIT_BELOW_FILLED)
        display = detail.display_lots
        value_e8 = detail.advanced_value_e8
        if order.flags & SPECIAL or terms != NULL:
            reason = self._edit_terms_reason(command, terms, slot)
            if reason:
                return self._reject_edit(command, slot, reason)
            if terms != NULL and terms.display_lots:
                detail.display_lots = terms.display_lots
            if order.flags & FLAG_ADVANCED:
                reason = self._advanced_price(order.account_id, order.instrument, order.side, command.quantity_lots,
                                              terms, &price)
                if reason:
                    return self._reject_edit(command, slot, reason)
                detail.advanced_value_e8 = terms.advanced_value_e8
        reason = self.change(slot, price, remaining, command.quantity_lots, command.flags, NULL, 0)
        if reason == R_NONE:
            return 0
        detail.display_lots = display
        detail.advanced_value_e8 = value_e8
        return self._reject_edit(command, slot, reason)

    cdef int change(self, uint32_t slot, int64_t wanted_units, int64_t remaining, int64_t sized_lots,
                    int wanted_flags, const char* label, int label_bytes) except -1:
        """Give an order a new price, remainder and flags, and match it where it lost its place.

        `sized_lots` is the quantity that the size limits are held against; `label` NULL leaves it, else the event
        carries it in a slot of its own. R_NONE, or the reason to refuse: then nothing has changed."""
        cdef Order* order = &self.orders.at[slot]
        cdef OrderDetail* detail = &self.orders.detail[slot]
        cdef int64_t whole = self.orders.whole_lots(order)
        cdef int64_t filled = detail.quantity_lots - whole
        cdef int64_t price = wanted_units
        cdef int flags = wanted_flags & (FLAG_POST_ONLY | FLAG_REJECT_POST_ONLY | FLAG_REDUCE_ONLY)
        cdef int kept
        cdef int reason = self.pretrade.static_reason(order.account_id, order.instrument, order.side, price, sized_lots,
                                                      False, self.events.time_ns)
        if reason:
            return reason
        if flags & FLAG_POST_ONLY and self.instruments.at[order.instrument].state == STATE_AUCTION:
            return R_AUCTION_ONLY
        if self.pretrade.closes_only(order.instrument):
            flags |= FLAG_REDUCE_ONLY
        if flags & FLAG_REDUCE_ONLY:
            remaining = min(remaining, self.pretrade.reducible(order.account_id, order.instrument, order.side))
            if remaining == 0:
                return R_REDUCE_ONLY_WOULD_INCREASE
        if flags & FLAG_POST_ONLY:
            price = self._post_only_price(order.instrument, order.side, price)
            if price != wanted_units:
                if flags & FLAG_REJECT_POST_ONLY or price <= 0:
                    return R_POST_ONLY_WOULD_CROSS
                flags |= FLAG_PRICE_ADJUSTED
        kept = price == order.price_units and remaining <= whole
        reason = self._apply_edit(slot, price, remaining, flags, kept)
        if reason:
            return reason
        detail.quantity_lots = filled + remaining
        detail.updated_ns = self.events.time_ns
        if label != NULL:
            detail.label_bytes = label_bytes
            memcpy(detail.label, label, label_bytes)
        self._say_edited(slot, kept, label != NULL)
        if order.flags & FLAG_LINKED:
            self.note(order.order_id, LINK_EDITED, detail.quantity_lots)
        if kept:
            return 0
        return self.settle(slot)
