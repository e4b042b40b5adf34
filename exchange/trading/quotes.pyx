"""Mass quotes, their cancellation, and the settings of protection groups. Rules: docs/orders.md.

A quote is an ordinary order of the pool with the flags QUOTE and PROTECTED; what counts its fills stands in
`exchange/risk/protection`, what cancels a triggered group in `exchange/trading`.
"""

from libc.string cimport memcmp, memcpy, memset

from exchange.clearing.account cimport is_cross
from exchange.events import ProtectionCause
from exchange.market.instrument cimport KIND_OPTION, NO_SLOT, Instrument
from exchange.market.order cimport OrderDetail
from exchange.reasons import Reason
from exchange.records cimport (
    EV_COMMAND_DONE, EV_COMMAND_REJECTED, EV_ORDER_REJECTED, EV_PROTECTION_CHANGED, FLAG_POST_ONLY, FLAG_QUOTE,
    FLAG_REJECT_POST_ONLY, R_ACCOUNT_IN_LIQUIDATION, R_BAD_PAYLOAD, R_LIMIT_REACHED, R_NONE, R_PROTECTION_CHANGED,
    R_QUANTITY_NOT_POSITIVE, R_QUANTITY_TOO_LARGE, R_QUOTES_FROZEN, R_TRADING_STOPPED, R_UNKNOWN_ACCOUNT,
    R_UNKNOWN_GROUP, R_UNKNOWN_INSTRUMENT, R_USER_REQUEST, R_VALID_UNTIL_PASSED, SLOT_BYTES, CommandEvent,
    OrderRejected, OrderTerms, PlaceOrder,
)

cdef enum:
    ID_BYTES = 24
    LABEL_BYTES = 64
    ANY_CURRENCY = 0xFFFF
    ANY_KIND = 0xFF
    ANY_GROUP = 0xFFFF
    SAME_LOTS = -1
    BID = 1
    ASK = 2

cdef int64_t FREEZE_NS = 1_000_000_000
LARGEST_FIGURE = 10**18
NAME_BYTES = 64


cdef inline int _length(const char* text, int room) noexcept:
    """Bytes before the first zero."""
    cdef int n = 0
    while n < room and text[n]:
        n += 1
    return n


cdef class Quotes:
    """Commands of market makers over the trading room."""

    def __cinit__(self, Accounts accounts, Instruments instruments, Orders orders, Exposure exposure,
                  Pretrade pretrade, Protection protection, Trading trading, EventBuffer events, config):
        self.accounts = accounts
        self.instruments = instruments
        self.orders = orders
        self.exposure = exposure
        self.pretrade = pretrade
        self.protection = protection
        self.trading = trading
        self.events = events
        self.max_quotes = config.limits.max_quotes_per_command
        self.ids = {}
        self.underlying_names = [underlying.name for underlying in config.underlyings]

    # ------------------------------------------------------------------ standing quotes

    cdef object _key(self, uint32_t account_id, uint32_t instrument, int side, int number):
        cdef uint64_t where = <uint64_t>instrument << 17 | <uint64_t>side << 16 | <uint64_t>number
        return (account_id, where)

    cdef uint32_t _standing(self, uint32_t account_id, uint32_t instrument, int side, int number) except? 0:
        """Pool slot of the account's quote there, 0 where none stands."""
        order_id = self.ids.get(self._key(account_id, instrument, side, number))
        return 0 if order_id is None else self.orders.find(order_id)

    def standing(self, uint32_t account_id, uint32_t instrument, int side, int number):
        """Id of the quote of a side of an instrument in a group, 0 where none stands."""
        cdef uint32_t slot = self._standing(account_id, instrument, side, number)
        return self.orders.at[slot].order_id if slot else 0

    # ------------------------------------------------------------------ MASS_QUOTE

    cdef int _underlying(self, const QuoteEntry* entries, int count) noexcept:
        """The one underlying of the entries' instruments; -1 where none is listed, -2 where they have several."""
        cdef int i, found = -1, underlying
        for i in range(count):
            if not self.instruments.is_live(entries[i].instrument):
                continue
            underlying = self.instruments.at[entries[i].instrument].underlying
            if found >= 0 and underlying != found:
                return -2
            found = underlying
        return found

    cdef int _command_reason(self, const MassQuote* command, const QuoteEntry* entries, Py_ssize_t tail) except -1:
        """Why the whole command is refused, R_NONE where it is not."""
        cdef uint32_t account_id = command.header.account_id
        cdef int underlying
        cdef Group* group
        if command.quote_count == 0 or <Py_ssize_t>command.quote_count * SLOT_BYTES > tail:
            return R_BAD_PAYLOAD
        if command.quote_count > self.max_quotes:
            return R_LIMIT_REACHED
        if not self.accounts.exists(account_id):
            return R_UNKNOWN_ACCOUNT
        if self.accounts.at[account_id].in_liquidation:
            return R_ACCOUNT_IN_LIQUIDATION
        if command.valid_until_ns and self.events.time_ns > command.valid_until_ns:
            return R_VALID_UNTIL_PASSED
        underlying = self._underlying(entries, command.quote_count)
        if underlying == -1:
            return R_UNKNOWN_INSTRUMENT
        group = self.protection.find(account_id, underlying, command.protection_group) if underlying >= 0 else NULL
        if group == NULL:
            return R_UNKNOWN_GROUP
        if self.pretrade.switches.count and self.pretrade.switches.stopped(account_id, underlying):
            return R_TRADING_STOPPED
        if self.protection.quotes_frozen(account_id) or self.protection.frozen(group):
            return R_QUOTES_FROZEN
        return R_NONE

    cdef int mass_quote(self, const MassQuote* command, Py_ssize_t tail) except -1:
        """Each side of each entry by itself, in order; COMMAND_DONE counts the sides applied."""
        cdef const QuoteEntry* entries = <const QuoteEntry*>(<const char*>command + SLOT_BYTES)
        cdef int reason = self._command_reason(command, entries, tail)
        cdef uint32_t applied = 0
        cdef int i
        if reason:
            return self._reject(&command.header, reason)
        for i in range(command.quote_count):
            applied += self._entry(command, &entries[i])
        return self._done(&command.header, applied)

    cdef int _entry(self, const MassQuote* command, const QuoteEntry* entry) except -1:
        """Bid, then ask; the ask first where the new bid would meet the standing ask that it replaces."""
        cdef uint32_t ask
        if entry.sides & BID and entry.sides & ASK:
            ask = self._standing(command.header.account_id, entry.instrument, 1, command.protection_group)
            if ask and entry.bid_price_units >= self.orders.at[ask].price_units:
                return self._side(command, entry, 1) + self._side(command, entry, 0)
            return self._side(command, entry, 0) + self._side(command, entry, 1)
        if entry.sides & BID:
            return self._side(command, entry, 0)
        return self._side(command, entry, 1) if entry.sides & ASK else 0

    cdef int _side_reason(self, uint32_t account_id, uint32_t instrument, int number, int64_t lots) except -1:
        """What a quote must pass beyond an order's checks; a fill of this very command may have frozen the group."""
        cdef Instrument* row
        cdef Group* group
        if not self.instruments.is_live(instrument):
            return R_UNKNOWN_INSTRUMENT
        if lots <= 0:
            return R_QUANTITY_NOT_POSITIVE
        row = &self.instruments.at[instrument]
        group = self.protection.find(account_id, row.underlying, number)
        if self.protection.frozen(group):
            return R_QUOTES_FROZEN
        if group.max_quote_e8 and row.marked and self.protection.coins_e8(row, lots) > group.max_quote_e8:
            return R_QUANTITY_TOO_LARGE
        return R_NONE

    cdef int _side(self, const MassQuote* command, const QuoteEntry* entry, int side) except -1:
        """One side of an entry; 1 where it was applied."""
        cdef uint32_t account_id = command.header.account_id
        cdef int64_t price = entry.ask_price_units if side else entry.bid_price_units
        cdef int64_t lots = entry.ask_lots if side else entry.bid_lots
        cdef int flags = (entry.ask_flags if side else entry.bid_flags) & (FLAG_POST_ONLY | FLAG_REJECT_POST_ONLY)
        cdef uint32_t slot = self._standing(account_id, entry.instrument, side, command.protection_group)
        cdef int reason
        if lots == 0:
            if slot:
                self.trading.withdraw(slot, R_USER_REQUEST, True)
            return 1 if slot else 0
        if slot and price == 0:
            price = self.orders.at[slot].price_units
        if slot and lots == SAME_LOTS:
            lots = self.orders.at[slot].remaining_lots
        reason = self._side_reason(account_id, entry.instrument, command.protection_group, lots)
        if reason:
            self._refuse(account_id, entry.instrument, side, reason, flags, price, lots,
                         self.orders.at[slot].order_id if slot else 0)
            return 0
        if slot:
            return self._replace(command, entry, side, slot, price, lots, flags)
        return self._place(command, entry, side, price, lots, flags)

    cdef int _label(self, const MassQuote* command, const QuoteEntry* entry, char* label) noexcept:
        """Quote id, a zero byte, quote set; returns the length."""
        cdef int size = _length(<const char*>command.quote_id, ID_BYTES)
        cdef int more = _length(<const char*>entry.quote_set, ID_BYTES)
        memcpy(label, command.quote_id, size)
        label[size] = 0
        memcpy(label + size + 1, entry.quote_set, more)
        return size + 1 + more

    cdef int _replace(self, const MassQuote* command, const QuoteEntry* entry, int side, uint32_t slot, int64_t price,
                      int64_t lots, int flags) except -1:
        """A standing quote takes new terms and keeps its id; 1 where they were taken."""
        cdef uint64_t order_id = self.orders.at[slot].order_id
        cdef char label[LABEL_BYTES]
        cdef int reason = self.trading.change(slot, price, lots, lots, flags, label, self._label(command, entry, label))
        if reason:
            self._refuse(command.header.account_id, entry.instrument, side, reason, flags, price, lots, order_id)
            return 0
        if self.orders.at[slot].order_id == order_id:
            self.orders.detail[slot].key_id = command.key_id
        return 1

    cdef int _place(self, const MassQuote* command, const QuoteEntry* entry, int side, int64_t price, int64_t lots,
                    int flags) except -1:
        """A new quote; 1 where it was accepted."""
        cdef PlaceOrder order
        cdef OrderTerms terms
        cdef char label[LABEL_BYTES]
        cdef uint64_t order_id = self.trading.next_order_id
        memset(&order, 0, sizeof(PlaceOrder))
        memset(&terms, 0, sizeof(OrderTerms))
        order.header = command.header
        order.instrument = entry.instrument
        order.side = side
        order.flags = flags
        order.price_units = price
        order.quantity_lots = lots
        order.key_id = command.key_id
        order.label_bytes = self._label(command, entry, label)
        terms.protection_group = command.protection_group
        self.trading.enter(&order, &terms, label, FLAG_QUOTE)
        if self.trading.next_order_id == order_id:
            return 0
        if self.orders.find(order_id):
            self.ids[self._key(command.header.account_id, entry.instrument, side, command.protection_group)] = order_id
        return 1

    # ------------------------------------------------------------------ CANCEL_QUOTES

    cdef bint _in_delta(self, uint32_t instrument, const CancelQuotes* command) noexcept:
        """Whether the option's delta at the last mark lies in the command's range."""
        cdef double delta = self.exposure.rows.delta[instrument] * 1e6
        return (self.instruments.at[instrument].kind == KIND_OPTION
                and command.min_delta_e6 <= delta <= command.max_delta_e6)

    cdef bint _wanted(self, Order* order, uint32_t slot, const CancelQuotes* command, const char* quote_set) noexcept:
        """Whether an order is a quote that every given filter names."""
        cdef OrderDetail* detail = &self.orders.detail[slot]
        cdef Instrument* row = &self.instruments.at[order.instrument]
        cdef int at
        if (not order.flags & FLAG_QUOTE
                or (command.instrument != NO_SLOT and command.instrument != order.instrument)
                or (command.currency != ANY_CURRENCY and command.currency != row.currency)
                or (command.instrument_kind != ANY_KIND and command.instrument_kind != row.kind)
                or (command.protection_group != ANY_GROUP and command.protection_group != order.protection_group)):
            return False
        if command.min_delta_e6 <= command.max_delta_e6 and not self._in_delta(order.instrument, command):
            return False
        if command.set_bytes:
            at = _length(detail.label, detail.label_bytes) + 1
            return (detail.label_bytes - at == command.set_bytes
                    and memcmp(detail.label + at, quote_set, command.set_bytes) == 0)
        return True

    cdef int cancel_quotes(self, const CancelQuotes* command, const char* quote_set, Py_ssize_t tail) except -1:
        """The account's quotes that every filter names, ascending id; where asked, none are taken for a second."""
        cdef uint32_t account_id = command.header.account_id
        cdef uint32_t slot, following, count = 0
        if command.set_bytes > tail:
            return self._reject(&command.header, R_BAD_PAYLOAD)
        if not self.accounts.exists(account_id):
            return self._reject(&command.header, R_UNKNOWN_ACCOUNT)
        slot = self.orders.account_head[account_id]
        while slot:
            following = self.orders.at[slot].account_next
            if self._wanted(&self.orders.at[slot], slot, command, quote_set):
                self.trading.withdraw(slot, command.reason, True)
                count += 1
            slot = following
        if command.freeze:
            self.protection.frozen_until_ns[account_id] = self.events.time_ns + FREEZE_NS
        return self._done(&command.header, count)

    # ------------------------------------------------------------------ protection groups

    def _figures_fit(self, payload):
        """Whether every number of a Protection can be taken."""
        figures = (payload.interval_ns, payload.frozen_ns, payload.quantity_limit_e8, payload.delta_limit_e8,
                   payload.vega_limit_e8, payload.max_quote_e8)
        return all(0 <= figure <= LARGEST_FIGURE for figure in figures) and (
            len(payload.name.encode("utf-8", "replace")) <= NAME_BYTES)

    def _where(self, uint32_t account_id, payload):
        """(reason, underlying) of a payload that names a group."""
        if not self.accounts.exists(account_id):
            return Reason.UNKNOWN_ACCOUNT, 0
        if payload.underlying not in self.underlying_names:
            return Reason.UNKNOWN_UNDERLYING, 0
        if not 1 <= payload.group <= self.protection.max_groups:
            return Reason.UNKNOWN_GROUP, 0
        return Reason.NONE, self.underlying_names.index(payload.underlying)

    def set_protection(self, uint32_t account_id, payload):
        """SET_PROTECTION: (reason, detail); detail is the number of orders cancelled, or what funds are missing."""
        cdef Group* group
        cdef uint32_t count
        reason, underlying = self._where(account_id, payload)
        if reason or not self._figures_fit(payload):
            return reason or Reason.BAD_PAYLOAD, 0
        group = self.protection.find(account_id, underlying, payload.group)
        if payload.interval_ns == 0:
            if group == NULL:
                return Reason.UNKNOWN_GROUP, 0
            count = self.trading.count_group(account_id, group, 0)
            self.protection.emit(EV_PROTECTION_CHANGED, account_id, group, ProtectionCause.REMOVED, count)
            self.trading.cancel_group(account_id, group, R_PROTECTION_CHANGED, 0)
            self.protection.set(account_id, underlying, payload.group, payload)
            return Reason.NONE, count
        if group != NULL and self.trading.count_group(account_id, group, 0):
            missing = self._try(account_id, underlying, payload)
            if missing:
                return Reason.NOT_ENOUGH_FUNDS, missing
        else:
            self.protection.set(account_id, underlying, payload.group, payload)
        group = self.protection.find(account_id, underlying, payload.group)
        large = self._large(account_id, underlying, payload.group)
        self.protection.emit(EV_PROTECTION_CHANGED, account_id, group, ProtectionCause.CONFIGURED, len(large))
        for order_id in large:
            self.trading.withdraw(self.orders.find(order_id), R_PROTECTION_CHANGED, True)
        return Reason.NONE, len(large)

    def _try(self, uint32_t account_id, int underlying, payload):
        """Take new settings of a group with orders; 0, or the funds missing where they make the open quotes cost more
        than the account has: then the old ones stay."""
        old = self.protection.settings(account_id, underlying, payload.group)
        entities = {0} if is_cross(self.accounts.at[account_id].model) else self.exposure.currencies_of(underlying)
        before = {entity: self.exposure.margins(account_id, entity)[1] for entity in sorted(entities)}
        self.protection.set(account_id, underlying, payload.group, payload)
        self.exposure.forget_orders(account_id, underlying)
        for entity, initial_before in before.items():
            equity, initial, _ = self.exposure.margins(account_id, entity)
            if equity < initial and initial > initial_before:
                interval, frozen, quantity, delta, vega, largest, name = old
                self.protection.set(account_id, underlying, payload.group, type(payload)(
                    payload.underlying, payload.group, interval, frozen, quantity, delta, vega, largest, name))
                self.exposure.forget_orders(account_id, underlying)
                return initial - equity
        return 0

    cdef bint _too_large(self, uint32_t slot, Group* group, int64_t largest_e8) noexcept:
        """Whether an order of the group is a quote of more than `largest_e8` coins."""
        cdef Order* order = &self.orders.at[slot]
        return (order.flags & FLAG_QUOTE and self.trading.in_group(slot, group)
                and self.protection.coins_e8(&self.instruments.at[order.instrument], order.remaining_lots) > largest_e8)

    def _large(self, uint32_t account_id, int underlying, int number):
        """Ids of the group's quotes that are larger than it lets be, ascending."""
        cdef Group* group = self.protection.find(account_id, underlying, number)
        cdef uint32_t slot = self.orders.account_head[account_id]
        found = []
        while slot and group.max_quote_e8:
            if self._too_large(slot, group, group.max_quote_e8):
                found.append(self.orders.at[slot].order_id)
            slot = self.orders.at[slot].account_next
        return found

    def reset_protection(self, uint32_t account_id, payload):
        """RESET_PROTECTION: (reason, detail). Sums at zero, quotes are taken again."""
        cdef Group* group
        reason, underlying = self._where(account_id, payload)
        if reason:
            return reason, 0
        group = self.protection.find(account_id, underlying, payload.group)
        if group == NULL:
            return Reason.UNKNOWN_GROUP, 0
        group.frozen_until_ns = 0
        self.protection.clear(group)
        self.protection.emit(EV_PROTECTION_CHANGED, account_id, group, ProtectionCause.RESET, 0)
        return Reason.NONE, 0

    # ------------------------------------------------------------------ events

    cdef int _refuse(self, uint32_t account_id, uint32_t instrument, int side, int reason, int flags, int64_t price,
                     int64_t lots, uint64_t order_id) except -1:
        cdef OrderRejected* event = <OrderRejected*>self.events.emit(EV_ORDER_REJECTED, 1, account_id)
        event.instrument = instrument
        event.reason = reason
        event.side = side
        event.flags = flags
        event.price_units = price
        event.quantity_lots = lots
        event.order_id = order_id
        return 0

    cdef int _reject(self, const Header* header, int reason) except -1:
        cdef CommandEvent* event = <CommandEvent*>self.events.emit(EV_COMMAND_REJECTED, 1, header.account_id)
        event.command_kind = header.kind
        event.reason = reason
        return 0

    cdef int _done(self, const Header* header, uint32_t count) except -1:
        cdef CommandEvent* event = <CommandEvent*>self.events.emit(EV_COMMAND_DONE, 1, header.account_id)
        event.command_kind = header.kind
        event.count = count
        return 0
