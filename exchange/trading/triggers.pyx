"""Stop, take and trailing orders: they wait outside the book, cost no margin, and are placed when their price is seen.

A trigger compares one price (index, mark or last trade) with its own: stop buys and take sells fire at or above it,
stop sells and take buys at or below it; a trailing stop's own price follows the best price seen at a fixed distance.
What fires joins a queue in ascending order id and is placed as an ordinary order with a new id, a bounded number at
once and the rest by following Ticks, so that one mark never stalls the venue.
"""

from collections import deque

from libc.stdint cimport int64_t, uint32_t, uint64_t
from libc.string cimport memcpy, memset

from exchange.event_buffer cimport EventBuffer
from exchange.market.instrument cimport STATE_CLOSE_ONLY, STATE_OPEN, Instrument, Instruments
from exchange.records cimport (
    EV_ORDER_CANCELLED, EV_ORDER_EDITED, EV_ORDER_REJECTED, EV_ORDER_TRIGGERED, EV_TRIGGER_PLACED, FLAG_LINKED,
    FLAG_POST_ONLY, FLAG_REDUCE_ONLY, FLAG_REJECT_POST_ONLY, R_BAD_ORDER_TYPE, R_BAD_TERMS, R_BAD_TRIGGER,
    R_EDIT_BELOW_FILLED, R_LABEL_TOO_LONG, R_NONE, R_TRIGGER_LIMIT, R_TRIGGER_PRICE_TOO_HIGH,
    R_TRIGGER_PRICE_TOO_LOW, R_VALID_UNTIL_PASSED, TIF_GTD, TYPE_LIMIT, TYPE_MARKET, TYPE_STOP_LIMIT,
    TYPE_STOP_MARKET, TYPE_TAKE_LIMIT, TYPE_TRAILING_STOP, EditOrder, OrderCancelled, OrderEdited, OrderRejected,
    OrderTerms, OrderTriggered, PlaceOrder, TriggerPlaced,
)
from exchange.risk.pretrade cimport Pretrade
from exchange.risk.risk_rows cimport RiskRows
from exchange.trading.lifecycle cimport BOTH_COUNT, LINK_BECAME, LINK_EDITED, LINK_ENDED, Trading
from exchange.views import TriggerView

cdef enum:
    SOURCE_INDEX = 0
    SOURCE_MARK = 1
    SOURCE_LAST = 2
    SOURCE_PRIMARY = 3          # a secondary order: links place it
    LABEL_MAX = 64
    PLACED_AT_ONCE = 64

_STOPS = (TYPE_STOP_LIMIT, TYPE_STOP_MARKET, TYPE_TRAILING_STOP)
_LIMITS = (TYPE_LIMIT, TYPE_STOP_LIMIT, TYPE_TAKE_LIMIT)


class Trigger:
    """One waiting order; prices in 1e-8 of the quote currency of what it watches."""

    __slots__ = (
        "order_id", "account_id", "instrument", "side", "order_type", "time_in_force", "flags", "price_units",
        "quantity_lots", "key_id", "source", "price_e8", "offset_e8", "created_ns", "updated_ns", "label", "fired",
        "linked_id", "next_source", "placed_lots", "both_count",
    )
    # linked_id: the other order of a one-cancels-other, or a secondary order's primary. A secondary order's
    # placed_lots are placed already; next_source is what it watches once placed, where it is a stop order itself.

    @property
    def rising(self):
        """Whether it fires at or above its price."""
        return (self.side == 0) == (self.order_type in _STOPS)

    def export(self):
        return [getattr(self, name) for name in self.__slots__]


cdef class Triggers:
    """All waiting orders of the venue."""

    def __init__(self, Instruments instruments, RiskRows rows, Pretrade pretrade, Trading trading,
                 EventBuffer events, config):
        self.instruments = instruments
        self.rows = rows
        self.pretrade = pretrade
        self.trading = trading
        self.events = events
        self.limit = config.limits.max_triggers_per_account
        self.by_id = {}
        self.by_account = {}
        self.by_instrument = {}
        self.seen_trades = {}
        self.fired = deque()
        self.held = {}

    # ------------------------------------------------------------------ commands

    cdef int64_t _value(self, uint32_t instrument, int source) noexcept:
        """The price a trigger watches (an option's mark may be 0), -1 where there is none yet."""
        cdef Instrument* row = &self.instruments.at[instrument]
        if source == SOURCE_INDEX:
            return self.rows.index_e8[row.underlying] or -1
        if source == SOURCE_MARK:
            return row.mark_price_e8 if row.marked else -1
        return row.last_price_units * row.price_unit_e8 if row.last_price_units else -1

    cdef int reason(self, const PlaceOrder* command, const OrderTerms* terms, int before) except -1:
        """Why the order cannot wait, R_NONE where it can; `before`: how many more of the account wait by then."""
        cdef int reason = self._form_reason(command, terms)
        cdef int64_t value
        cdef bint rising
        if reason:
            return reason
        value = self._value(command.instrument, terms.trigger_source)
        if value < 0:
            return R_BAD_TRIGGER
        if command.order_type == TYPE_TRAILING_STOP:
            if not 0 < terms.trigger_offset_e8 < value:
                return R_BAD_TRIGGER
        else:
            if not 0 < terms.trigger_price_e8 <= 10**17:
                return R_BAD_TRIGGER
            rising = (command.side == 0) == (command.order_type in _STOPS)
            if rising and value >= terms.trigger_price_e8:
                return R_TRIGGER_PRICE_TOO_LOW
            if not rising and value <= terms.trigger_price_e8:
                return R_TRIGGER_PRICE_TOO_HIGH
        if len(self.by_account.get(command.header.account_id, ())) + before >= self.limit:
            return R_TRIGGER_LIMIT
        return R_NONE

    cdef int _form_reason(self, const PlaceOrder* command, const OrderTerms* terms) except -1:
        """What is wrong with a waiting order whatever the prices."""
        cdef int reason
        if terms.advanced or terms.protection_group or terms.display_lots:
            return R_BAD_TERMS
        if command.side > 1 or terms.trigger_source > SOURCE_LAST or command.time_in_force > TIF_GTD:
            return R_BAD_TRIGGER
        if command.label_bytes > LABEL_MAX:
            return R_LABEL_TOO_LONG
        if command.valid_until_ns and self.events.time_ns > command.valid_until_ns:
            return R_VALID_UNTIL_PASSED
        # a limit price is judged against its band when the order is placed, by its form now
        reason = self.pretrade.static_reason(command.header.account_id, command.instrument, command.side,
                                             command.price_units, command.quantity_lots, True, self.events.time_ns)
        if reason:
            return reason
        if self.instruments.at[command.instrument].leg_count:
            return R_BAD_ORDER_TYPE
        if command.order_type in _LIMITS:
            reason = self.pretrade.form_reason(command.instrument, command.price_units)
            if reason:
                return reason
        return R_NONE

    cdef int secondary_reason(self, const PlaceOrder* command, const OrderTerms* terms, int before) except -1:
        """Why an order cannot wait for its primary; its prices are judged against the market when it is placed."""
        cdef int reason = self._form_reason(command, terms)
        if reason:
            return reason
        if command.order_type > TYPE_TRAILING_STOP:
            return R_BAD_ORDER_TYPE
        if command.order_type == TYPE_TRAILING_STOP:
            if not 0 < terms.trigger_offset_e8 <= 10**17:
                return R_BAD_TRIGGER
        elif command.order_type >= TYPE_STOP_LIMIT and not 0 < terms.trigger_price_e8 <= 10**17:
            return R_BAD_TRIGGER
        if len(self.by_account.get(command.header.account_id, ())) + before >= self.limit:
            return R_TRIGGER_LIMIT
        return R_NONE

    cdef int refuse(self, uint32_t account_id, uint32_t instrument, int reason, int side, int flags,
                     int64_t price_units, int64_t lots, uint64_t order_id) except -1:
        cdef OrderRejected* event = <OrderRejected*>self.events.emit(EV_ORDER_REJECTED, 1, account_id)
        event.instrument = instrument
        event.reason = reason
        event.side = side
        event.flags = flags
        event.price_units = price_units
        event.quantity_lots = lots
        event.order_id = order_id
        return 0

    cdef int place(self, const PlaceOrder* command, const OrderTerms* terms, const char* label) except -1:
        """Let an order wait; TRIGGER_PLACED or ORDER_REJECTED."""
        cdef int reason = self.reason(command, terms, 0)
        if reason:
            return self.refuse(command.header.account_id, command.instrument, reason, command.side, command.flags,
                               command.price_units, command.quantity_lots, 0)
        self.trading.next_order_id += 1
        return self.wait(command, terms, label, self.trading.next_order_id - 1, 0, 0)

    cdef int wait(self, const PlaceOrder* command, const OrderTerms* terms, const char* label, uint64_t order_id,
                  int link, uint64_t linked_id) except -1:
        """Let a checked order wait; `link` says how it is linked to another, 0: not."""
        cdef TriggerPlaced* event
        trigger = Trigger()
        trigger.order_id = order_id
        trigger.account_id = command.header.account_id
        trigger.instrument = command.instrument
        trigger.side = command.side
        trigger.order_type = command.order_type
        trigger.time_in_force = command.time_in_force
        trigger.flags = command.flags & (FLAG_POST_ONLY | FLAG_REJECT_POST_ONLY | FLAG_REDUCE_ONLY)
        if link:
            trigger.flags |= FLAG_LINKED
        trigger.price_units = command.price_units if command.order_type in _LIMITS else 0
        trigger.quantity_lots = command.quantity_lots
        trigger.key_id = command.key_id
        trigger.source = SOURCE_PRIMARY if link == SECONDARY else terms.trigger_source
        trigger.next_source = terms.trigger_source
        trigger.linked_id = linked_id
        trigger.placed_lots = 0
        trigger.both_count = link == LINKED_BOTH_COUNT
        stops = TYPE_STOP_LIMIT <= command.order_type < TYPE_TRAILING_STOP
        trigger.price_e8 = terms.trigger_price_e8 if stops else 0
        trigger.offset_e8 = 0
        if command.order_type == TYPE_TRAILING_STOP:
            trigger.offset_e8 = terms.trigger_offset_e8
            if link != SECONDARY:
                self._trail(trigger, self._value(command.instrument, terms.trigger_source), True)
        trigger.created_ns = self.events.time_ns
        trigger.updated_ns = self.events.time_ns
        trigger.label = label[:command.label_bytes]
        trigger.fired = False
        self.by_id[trigger.order_id] = trigger
        self.by_account.setdefault(trigger.account_id, {})[trigger.order_id] = trigger
        self.by_instrument.setdefault(trigger.instrument, {})[trigger.order_id] = trigger
        self.seen_trades.setdefault(trigger.instrument, self.instruments.at[command.instrument].trade_seq)
        event = <TriggerPlaced*>self.events.emit(EV_TRIGGER_PLACED, 2 + (command.label_bytes + 63) // 64,
                                                 command.header.account_id)
        event.order_id = trigger.order_id
        event.instrument = trigger.instrument
        event.side = trigger.side
        event.order_type = trigger.order_type
        event.time_in_force = trigger.time_in_force
        event.flags = trigger.flags
        event.price_units = trigger.price_units
        event.quantity_lots = trigger.quantity_lots
        event.key_id = trigger.key_id
        event.label_bytes = command.label_bytes
        event.trigger_price_e8 = trigger.price_e8
        event.trigger_offset_e8 = trigger.offset_e8
        event.trigger_source = trigger.source
        event.linked_order_id = linked_id
        memcpy(<char*>event + sizeof(TriggerPlaced), label, command.label_bytes)
        return 0

    cdef int edit(self, const EditOrder* command, const OrderTerms* terms) except -1:
        """New limit price, quantity, trigger price or distance of a waiting order; refusals change nothing."""
        trigger = self.by_id[command.order_id]
        cdef int reason = R_NONE
        cdef bint secondary = trigger.source == SOURCE_PRIMARY
        cdef int64_t value = 10**17 if secondary else self._value(trigger.instrument, trigger.source)
        cdef int64_t price = command.trigger_price_e8
        cdef int64_t offset = 0 if terms == NULL else terms.trigger_offset_e8
        reason = self.pretrade.static_reason(trigger.account_id, trigger.instrument, trigger.side,
                                             command.price_units, command.quantity_lots, True, self.events.time_ns)
        if reason == R_NONE and trigger.order_type in _LIMITS:
            reason = self.pretrade.form_reason(trigger.instrument, command.price_units)
        if reason == R_NONE and terms != NULL and (terms.advanced or terms.protection_group or terms.display_lots):
            reason = R_BAD_TERMS
        if reason == R_NONE and command.quantity_lots <= trigger.placed_lots:
            reason = R_EDIT_BELOW_FILLED
        if reason == R_NONE and offset and (trigger.order_type != TYPE_TRAILING_STOP or not 0 < offset < value):
            reason = R_BAD_TRIGGER
        if reason == R_NONE and price:
            if price < 0 or price > 10**17 or trigger.order_type == TYPE_TRAILING_STOP:
                reason = R_BAD_TRIGGER
            elif secondary:
                reason = R_NONE if trigger.order_type >= TYPE_STOP_LIMIT else R_BAD_TRIGGER
            elif trigger.rising and value >= price:
                reason = R_TRIGGER_PRICE_TOO_LOW
            elif not trigger.rising and value <= price:
                reason = R_TRIGGER_PRICE_TOO_HIGH
        if reason:
            return self.refuse(trigger.account_id, trigger.instrument, reason, trigger.side, 0, command.price_units,
                                command.quantity_lots, command.order_id)
        if trigger.order_type in _LIMITS:
            trigger.price_units = command.price_units
        trigger.quantity_lots = command.quantity_lots
        if price:
            trigger.price_e8 = price
        if offset:
            trigger.offset_e8 = offset
            if not secondary:
                self._trail(trigger, value, True)
        if trigger.fired and (price or offset):      # it stood in the queue and waits again
            trigger.fired = False
            self.fired = deque(entry for entry in self.fired if entry[0] != trigger.order_id)
        trigger.flags &= FLAG_LINKED
        trigger.flags |= command.flags & (FLAG_POST_ONLY | FLAG_REJECT_POST_ONLY | FLAG_REDUCE_ONLY)
        trigger.updated_ns = self.events.time_ns
        if trigger.flags & FLAG_LINKED:
            self.trading.note(trigger.order_id, LINK_EDITED, trigger.quantity_lots)
        return self._say_edited(trigger)

    cdef int _say_edited(self, trigger) except -1:
        cdef OrderEdited* event = <OrderEdited*>self.events.emit(EV_ORDER_EDITED, 2, trigger.account_id)
        cdef OrderTerms* terms = <OrderTerms*>(<char*>event + sizeof(OrderEdited))
        event.order_id = trigger.order_id
        event.instrument = trigger.instrument
        event.side = trigger.side
        event.flags = trigger.flags & 0xFF
        event.kept_priority = 1
        event.price_units = trigger.price_units
        event.quantity_lots = trigger.quantity_lots
        event.remaining_lots = trigger.quantity_lots - trigger.placed_lots
        event.terms_slots = 1
        terms.trigger_price_e8 = trigger.price_e8
        terms.trigger_offset_e8 = trigger.offset_e8
        terms.trigger_source = trigger.source
        terms.linked_order_id = trigger.linked_id
        return 0

    cdef int shrink(self, trigger, int64_t lots) except -1:
        """Leave a linked order that waits fewer lots."""
        trigger.quantity_lots = lots
        trigger.updated_ns = self.events.time_ns
        return self._say_edited(trigger)

    cdef int withdraw(self, uint64_t order_id, int reason) except -1:
        """End a waiting order."""
        trigger = self._forget(order_id)
        cdef OrderCancelled* event = <OrderCancelled*>self.events.emit(EV_ORDER_CANCELLED, 1, trigger.account_id)
        event.order_id = order_id
        event.instrument = trigger.instrument
        event.reason = reason
        event.side = trigger.side
        event.flags = trigger.flags & 0xFF
        event.price_units = trigger.price_units
        event.remaining_lots = trigger.quantity_lots - trigger.placed_lots
        event.quantity_lots = trigger.quantity_lots
        if trigger.flags & FLAG_LINKED:
            self.trading.note(order_id, LINK_ENDED, 0)
        return 0

    def owner_of(self, order_id):
        """Account of a waiting order, -1 when there is none (a hostile command's account may be 0)."""
        trigger = self.by_id.get(order_id)
        return -1 if trigger is None else trigger.account_id

    def of_account(self, account_id):
        """Waiting orders of an account, ascending id."""
        return list(self.by_account.get(account_id, {}).values())

    def cancel(self, order_id, int reason):
        self.withdraw(order_id, reason)

    def settle(self, instrument, int reason):
        """Cancel what waits on an instrument that ends, ascending id."""
        for order_id in list(self.by_instrument.get(instrument, ())):
            self.withdraw(order_id, reason)
        self.seen_trades.pop(instrument, None)
        self.held.pop(instrument, None)

    def end_of_day(self, int reason):
        """Cancel good-til-day orders, ascending id."""
        for order_id in [t.order_id for t in self.by_id.values() if t.time_in_force == TIF_GTD]:
            self.withdraw(order_id, reason)

    def _forget(self, order_id):
        trigger = self.by_id.pop(order_id)
        for index, key in ((self.by_account, trigger.account_id), (self.by_instrument, trigger.instrument)):
            del index[key][order_id]
            if not index[key]:
                del index[key]
        return trigger

    # ------------------------------------------------------------------ firing

    def _trail(self, trigger, value, new=False):
        """Move a trailing stop's price with the best value seen: sells trail the high, buys the low."""
        if trigger.side == 1:
            wanted = value - trigger.offset_e8
            if new or wanted > trigger.price_e8:
                trigger.price_e8 = wanted
        else:
            wanted = value + trigger.offset_e8
            if new or wanted < trigger.price_e8:
                trigger.price_e8 = wanted

    def _look(self, instrument, sources):
        """What fires on an instrument, as (order id, value seen); while it does not trade, none does."""
        cdef bint trades = self._trades(instrument)
        found = []
        for trigger in self.by_instrument[instrument].values():
            if trigger.fired or trigger.source not in sources:
                continue
            value = self._value(instrument, trigger.source)
            if trigger.order_type == TYPE_TRAILING_STOP:
                self._trail(trigger, value)
            if (value >= trigger.price_e8) if trigger.rising else (value <= trigger.price_e8):
                if not trades:
                    self.held[instrument] = True
                    continue
                trigger.fired = True
                found.append((trigger.order_id, value))
        return found

    cdef bint _trades(self, uint32_t instrument) noexcept:
        cdef int state = self.instruments.at[instrument].state
        return (state == STATE_OPEN or state == STATE_CLOSE_ONLY) and self.pretrade.live(instrument)

    def _queue(self, found):
        """Queue what fired, ascending id whatever the instrument, and begin to place it."""
        if found:
            self.fired.extend(sorted(found))
            self.drain()

    def on_marks(self, int underlying):
        """Index and mark prices of an underlying have moved."""
        if not self.by_id:
            return
        found = []
        for instrument in self.by_instrument:
            if self.instruments.at[<uint32_t>instrument].underlying == underlying:
                found += self._look(instrument, (SOURCE_INDEX, SOURCE_MARK))
        self._queue(found)

    def on_trades(self):
        """Something may have traded, or an instrument trades again: look at those whose last price is watched."""
        if not self.by_id:
            return
        found = []
        for instrument in sorted(self.held):
            if self._trades(instrument):
                del self.held[instrument]
                if instrument in self.by_instrument:
                    found += self._look(instrument, (SOURCE_INDEX, SOURCE_MARK, SOURCE_LAST))
        for instrument in self.by_instrument:
            seq = self.instruments.at[<uint32_t>instrument].trade_seq
            if seq != self.seen_trades.get(instrument):
                self.seen_trades[instrument] = seq
                found += self._look(instrument, (SOURCE_LAST,))
        self._queue(found)

    def drain(self):
        """Place what has fired, a bounded number at once."""
        cdef int left = PLACED_AT_ONCE
        while self.fired and left:
            order_id, value = self.fired.popleft()
            trigger = self.by_id.get(order_id)
            if trigger is None or not trigger.fired:
                continue
            if not self._trades(trigger.instrument):     # it was halted while this stood in the queue
                trigger.fired = False
                self.held[trigger.instrument] = True
                continue
            if trigger.flags & FLAG_LINKED and trigger.linked_id in self.trading.noted:
                self.trading.links.before_fill(order_id)
                if order_id not in self.by_id:
                    continue
            self._fire(self._forget(order_id), value)
            left -= 1

    cdef int announce(self, trigger, uint64_t order_id, int64_t value) except -1:
        """Say that an order was triggered and what id it has from now on."""
        cdef OrderTriggered* event = <OrderTriggered*>self.events.emit(EV_ORDER_TRIGGERED, 1, trigger.account_id)
        event.order_id = order_id
        event.trigger_order_id = trigger.order_id
        event.instrument = trigger.instrument
        event.side = trigger.side
        event.order_type = trigger.order_type
        event.trigger_source = trigger.source
        event.trigger_price_e8 = trigger.price_e8
        event.value_e8 = value
        return 0

    cdef void command_of(self, trigger, PlaceOrder* order) except *:
        """The command that places what waited, but for its type."""
        memset(order, 0, sizeof(PlaceOrder))
        order.header.account_id = trigger.account_id
        order.instrument = trigger.instrument
        order.side = trigger.side
        order.time_in_force = trigger.time_in_force
        order.flags = trigger.flags & 0xFF
        order.price_units = trigger.price_units
        order.quantity_lots = trigger.quantity_lots
        order.key_id = trigger.key_id
        order.label_bytes = len(trigger.label)

    cdef int _fire(self, trigger, int64_t value) except -1:
        """Say that an order was triggered and place it."""
        cdef PlaceOrder order
        cdef OrderTerms terms
        cdef uint64_t announced = self.trading.next_order_id
        cdef int special = 0
        self.announce(trigger, announced, value)
        self.command_of(trigger, &order)
        order.order_type = TYPE_LIMIT if trigger.order_type in _LIMITS else TYPE_MARKET
        if trigger.flags & FLAG_LINKED:
            special = FLAG_LINKED | (BOTH_COUNT if trigger.both_count else 0)
            memset(&terms, 0, sizeof(OrderTerms))
            terms.linked_order_id = trigger.linked_id
            self.relink(trigger.linked_id, announced)
            self.trading.note(trigger.order_id, LINK_BECAME, announced)
        self.trading.enter(&order, &terms if special else NULL, <bytes>trigger.label, special)
        if self.trading.next_order_id == announced:
            # the id was announced: where placing was refused nobody else gets it
            self.trading.next_order_id = announced + 1
            if special:
                self.trading.note(announced, LINK_ENDED, 0)
        return 0

    cdef int relink(self, uint64_t order_id, uint64_t linked_id) except -1:
        """Tell an order, in a book or waiting, which order it is linked to."""
        cdef uint32_t slot = self.trading.orders.find(order_id) if order_id else 0
        if slot:
            self.trading.orders.detail[slot].linked_order_id = linked_id
        elif order_id in self.by_id:
            self.by_id[order_id].linked_id = linked_id
        return 0

    cdef int release(self, order_id, uint64_t new_id, int64_t lots) except -1:
        """Say that `lots` of a secondary order are placed under a new id; it waits on for the rest, if any."""
        trigger = self.by_id[order_id]
        trigger.placed_lots += lots
        trigger.updated_ns = self.events.time_ns
        self.announce(trigger, new_id, lots)
        if trigger.placed_lots == trigger.quantity_lots:
            self._forget(order_id)
        return 0

    # ------------------------------------------------------------------ reads

    def view(self, trigger):
        return TriggerView(
            order_id=trigger.order_id, account_id=trigger.account_id, instrument=trigger.instrument,
            side=trigger.side, order_type=trigger.order_type, time_in_force=trigger.time_in_force,
            flags=trigger.flags, price_units=trigger.price_units, quantity_lots=trigger.quantity_lots,
            trigger_source=trigger.source, trigger_price_e8=trigger.price_e8, trigger_offset_e8=trigger.offset_e8,
            created_ns=trigger.created_ns, updated_ns=trigger.updated_ns,
            label=trigger.label.decode("utf-8", "replace"), placed_lots=trigger.placed_lots,
            next_source=trigger.next_source,
            primary_order_id=trigger.linked_id if trigger.source == SOURCE_PRIMARY else 0,
            linked_order_id=0 if trigger.source == SOURCE_PRIMARY else trigger.linked_id,
        )

    def views(self, account_id, instrument=-1):
        """Waiting orders of an account, of one instrument slot where given."""
        return [self.view(t) for t in self.of_account(account_id) if instrument < 0 or t.instrument == instrument]

    def find(self, order_id):
        """View of a waiting order, None when there is none."""
        trigger = self.by_id.get(order_id)
        return None if trigger is None else self.view(trigger)

    def export(self):
        """Canonical state."""
        return [
            [trigger.export() for trigger in self.by_id.values()],
            sorted(self.seen_trades.items()),
            list(self.fired),
            sorted(self.held),
        ]
