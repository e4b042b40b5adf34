"""What a new order or an edit must be by itself: form, special terms, and the price and size that follow from them.

`trading` builds on these checks; they change nothing but the order's own terms.
"""

from libc.string cimport memcmp

from exchange.market.instrument cimport STATE_AUCTION
from exchange.market.order cimport Order, OrderDetail
from exchange.records cimport (
    FLAG_ADVANCED, FLAG_ICEBERG, FLAG_POST_ONLY, FLAG_PRICE_ADJUSTED, FLAG_PROTECTED, FLAG_REDUCE_ONLY,
    FLAG_REJECT_POST_ONLY, R_AUCTION_ONLY, R_BAD_ORDER_TYPE, R_BAD_TERMS, R_BAD_TIME_IN_FORCE, R_LABEL_TOO_LONG,
    R_NONE, R_POST_ONLY_NOT_ALLOWED, R_POST_ONLY_WOULD_CROSS, R_QUOTES_FROZEN, R_REDUCE_ONLY_WOULD_INCREASE,
    R_UNKNOWN_GROUP, R_VALID_UNTIL_PASSED, TIF_GTC, TIF_GTD, TYPE_LIMIT, TYPE_MARKET_LIMIT, EditOrder, OrderTerms,
    PlaceOrder,
)

cdef enum:
    LABEL_MAX = 64


cdef class Entry:
    """The rooms that orders pass through, and the checks before them."""

    def __cinit__(self, Accounts accounts, Instruments instruments, Orders orders, Books books, Positions positions,
                  Exposure exposure, Pretrade pretrade, Protection protection, Monitor monitor, combos,
                  EventBuffer events):
        self.accounts = accounts
        self.instruments = instruments
        self.orders = orders
        self.books = books
        self.positions = positions
        self.exposure = exposure
        self.pretrade = pretrade
        self.protection = protection
        self.events = events

    cdef bint _label_in_use(self, uint32_t account_id, const char* label, int size) noexcept:
        cdef uint32_t slot = self.orders.account_head[account_id]
        while slot:
            if (self.orders.detail[slot].label_bytes == size
                    and memcmp(self.orders.detail[slot].label, label, size) == 0):
                return True
            slot = self.orders.at[slot].account_next
        return False

    cdef int64_t _post_only_price(self, uint32_t instrument, int side, int64_t price_units) noexcept:
        """The price one tick off the opposite side when `price_units` would cross it; 0 where no such price exists."""
        cdef Instrument* row = &self.instruments.at[instrument]
        cdef int64_t best = self.books.at[instrument].side[side ^ 1].best
        if best < 0:
            return price_units
        if side == 0:
            if price_units < best:
                return price_units
            return best - self.instruments.tick_at(row, best - 1)
        if price_units > best:
            return price_units
        best += self.instruments.tick_at(row, best)
        return best if best <= row.max_price_units else 0

    cdef int _form_reason(self, const PlaceOrder* command) noexcept:
        """What is wrong with the command by itself."""
        if command.order_type > TYPE_MARKET_LIMIT or command.side > 1:
            return R_BAD_ORDER_TYPE
        if command.time_in_force > TIF_GTD:
            return R_BAD_TIME_IN_FORCE
        if command.label_bytes > LABEL_MAX:
            return R_LABEL_TOO_LONG
        if command.valid_until_ns and self.events.time_ns > command.valid_until_ns:
            return R_VALID_UNTIL_PASSED
        return R_NONE

    cdef int _terms_reason(self, const PlaceOrder* command, const OrderTerms* terms) except -1:
        """What is wrong with an order's special terms; its account and instrument exist."""
        if terms.advanced and (command.order_type != TYPE_LIMIT or command.flags & FLAG_POST_ONLY or terms.display_lots
                               or (command.time_in_force != TIF_GTC and command.time_in_force != TIF_GTD)):
            return R_BAD_TERMS
        if terms.display_lots:
            if (command.order_type != TYPE_LIMIT or self.instruments.at[command.instrument].leg_count
                    or command.flags & (FLAG_POST_ONLY | FLAG_REJECT_POST_ONLY) == FLAG_POST_ONLY
                    or (command.time_in_force != TIF_GTC and command.time_in_force != TIF_GTD)
                    or self._display_reason(command.instrument, terms.display_lots, command.quantity_lots)):
                return R_BAD_TERMS
        return self._group_reason(command, terms) if terms.protection_group else R_NONE

    cdef int _display_reason(self, uint32_t instrument, int64_t display, int64_t quantity) noexcept:
        """Whether an iceberg of a positive quantity may show so much of it."""
        if display < self.instruments.at[instrument].min_quantity_lots or display >= quantity:
            return R_BAD_TERMS
        return R_BAD_TERMS if (quantity - 1) // 100 >= display else R_NONE

    cdef int _kind_reason(self, uint32_t instrument, bint immediate, int flags) noexcept:
        """Whether this kind of order may be post-only, and may come while the instrument is in an auction."""
        if flags & FLAG_POST_ONLY and immediate:
            return R_POST_ONLY_NOT_ALLOWED
        if self.instruments.at[instrument].state == STATE_AUCTION and (immediate or flags & FLAG_POST_ONLY):
            return R_AUCTION_ONLY
        return R_NONE

    cdef int _group_reason(self, const PlaceOrder* command, const OrderTerms* terms) noexcept:
        """Whether an order of a known account and instrument may belong to the protection group that it names."""
        cdef Group* group
        if command.order_type != TYPE_LIMIT:
            return R_BAD_TERMS
        group = self.protection.find(command.header.account_id,
                                     self.instruments.at[command.instrument].underlying, terms.protection_group)
        if group == NULL:
            return R_UNKNOWN_GROUP
        return R_QUOTES_FROZEN if self.protection.frozen(group) else R_NONE

    cdef int _entry_reason(self, const PlaceOrder* command, const OrderTerms* terms, bint market, int flags,
                           int64_t* price) except -1:
        """Why a new order is refused whatever the book and the margin, R_NONE where it is not.

        An advanced order's terms make its `price`."""
        cdef bint rests = command.time_in_force == TIF_GTC or command.time_in_force == TIF_GTD
        cdef bint advanced = terms != NULL and terms.advanced
        cdef int reason = self._form_reason(command)
        if reason == R_NONE:
            reason = self.pretrade.static_reason(command.header.account_id, command.instrument, command.side, price[0],
                                                 command.quantity_lots, market or advanced, self.events.time_ns)
        if reason == R_NONE:
            reason = self._kind_reason(command.instrument, market or not rests, flags)
        if reason == R_NONE and terms != NULL:
            reason = self._terms_reason(command, terms)
        if reason == R_NONE and advanced:
            reason = self._advanced_price(command.header.account_id, command.instrument, command.side,
                                          command.quantity_lots, terms, price)
        return reason

    cdef int64_t _market_price(self, Instrument* row, uint32_t instrument, int side, int order_type) except? -1:
        """The limit of an order without a price: its band, or the best opposite price within it (0: there is none)."""
        cdef int64_t band = self.pretrade.bands.highest(row) if side == 0 else self.pretrade.bands.lowest(row)
        cdef int64_t best = self.books.at[instrument].side[side ^ 1].best
        if order_type != TYPE_MARKET_LIMIT:
            return band
        if best < 0:
            return 0
        return min(band, best) if side == 0 else max(band, best)

    cdef int _fit(self, const PlaceOrder* command, int64_t* price, int64_t* lots, int* flags) noexcept:
        """Reduce-only orders shrink to the position, post-only orders move off the other side; or the reason not to."""
        cdef uint32_t instrument = command.instrument
        if flags[0] & FLAG_REDUCE_ONLY or self.pretrade.closes_only(instrument):
            lots[0] = min(lots[0], self.pretrade.reducible(command.header.account_id, instrument, command.side))
            if lots[0] == 0:
                return R_BAD_TERMS if self.instruments.at[instrument].leg_count else R_REDUCE_ONLY_WOULD_INCREASE
            flags[0] |= FLAG_REDUCE_ONLY
        if flags[0] & FLAG_POST_ONLY:
            price[0] = self._post_only_price(instrument, command.side, price[0])
            if price[0] != command.price_units:
                if flags[0] & FLAG_REJECT_POST_ONLY or price[0] <= 0:
                    return R_POST_ONLY_WOULD_CROSS
                flags[0] |= FLAG_PRICE_ADJUSTED
        return R_NONE

    cdef int _advanced_price(self, uint32_t account_id, uint32_t instrument, int side, int64_t lots,
                             const OrderTerms* terms, int64_t* price) except -1:
        """The price that an advanced order's terms mean at the last mark, or the reason to refuse it."""
        price[0] = self.pretrade.advanced_price(instrument, side, terms.advanced, terms.advanced_value_e8)
        if price[0] == 0 or self.events.time_ns >= self.pretrade.advanced_end_ns(instrument):
            return R_BAD_TERMS
        return self.pretrade.static_reason(account_id, instrument, side, price[0], lots, False, self.events.time_ns)

    cdef void _take_terms(self, uint32_t slot, const OrderTerms* terms) noexcept:
        """Give a new order its special terms (they have passed their checks)."""
        cdef Order* order = &self.orders.at[slot]
        cdef OrderDetail* detail = &self.orders.detail[slot]
        if terms.protection_group:
            order.protection_group = terms.protection_group
            order.flags |= FLAG_PROTECTED
        if terms.display_lots:
            detail.display_lots = terms.display_lots
            order.flags |= FLAG_ICEBERG
        if terms.advanced:
            detail.advanced = terms.advanced
            detail.advanced_value_e8 = terms.advanced_value_e8
            order.flags |= FLAG_ADVANCED

    cdef void _write_terms(self, uint32_t slot, OrderTerms* terms) noexcept:
        """An order's special terms as an event shows them (the slot is zero)."""
        cdef OrderDetail* detail = &self.orders.detail[slot]
        terms.advanced = detail.advanced
        terms.protection_group = self.orders.at[slot].protection_group
        terms.display_lots = detail.display_lots
        terms.advanced_value_e8 = detail.advanced_value_e8
        terms.linked_order_id = detail.linked_order_id

    cdef int _edit_terms_reason(self, const EditOrder* command, const OrderTerms* terms, uint32_t slot) except -1:
        """What is wrong with the special terms of an edited order, its new quantity being positive."""
        cdef Order* order = &self.orders.at[slot]
        cdef OrderDetail* detail = &self.orders.detail[slot]
        cdef int64_t display = 0 if terms == NULL else terms.display_lots
        if detail.advanced != (0 if terms == NULL else terms.advanced):
            return R_BAD_TERMS
        if detail.advanced and command.flags & FLAG_POST_ONLY:
            return R_BAD_TERMS
        if not order.flags & FLAG_ICEBERG:
            return R_BAD_TERMS if display else R_NONE
        if command.flags & (FLAG_POST_ONLY | FLAG_REJECT_POST_ONLY) == FLAG_POST_ONLY:
            return R_BAD_TERMS
        if display:
            return self._display_reason(order.instrument, display, command.quantity_lots)
        if command.quantity_lots > detail.quantity_lots:
            return self._display_reason(order.instrument, detail.display_lots, command.quantity_lots)
        return R_NONE
