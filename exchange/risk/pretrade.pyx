"""What an order must pass before it may match: instrument, tick, size, price bands, limits, initial margin."""

from libc.stdint cimport int64_t, uint32_t, uint64_t

from exchange.clearing.position cimport Position
from exchange.market.instrument cimport MAX_LEGS, STATE_AUCTION, STATE_CLOSE_ONLY, STATE_OPEN, Instrument
from exchange.records cimport (
    FLAG_RISK_REDUCING, R_ACCOUNT_IN_LIQUIDATION, R_INSTRUMENT_EXPIRED, R_INSTRUMENT_NOT_OPEN,
    R_ISOLATED_POSITION, R_MARK_STALE, R_NONE, R_NO_MARK,
    R_NOT_ENOUGH_FUNDS, R_OPEN_ORDER_LIMIT, R_OWNER_ORDER_LIMIT, R_OWNER_POSITION_LIMIT, R_POSITION_LIMIT,
    R_PRICE_OFF_TICK, R_PRICE_TOO_HIGH, R_PRICE_TOO_LOW, R_QUANTITY_NOT_POSITIVE, R_QUANTITY_TOO_LARGE,
    R_QUANTITY_TOO_SMALL, R_ROW_LIMIT, R_TRADING_STOPPED, R_UNKNOWN_ACCOUNT, R_UNKNOWN_INSTRUMENT,
)
from exchange.risk.exposure cimport ALL_ORDERS, Margin, ScenarioBook
from exchange.wide cimport size_of

cdef int64_t ROW_BUDGET = 1 << 52
cdef int64_t COST_BUDGET = 1 << 60
cdef int64_t ADVANCED_END_NS = 15 * 60 * 1_000_000_000
cdef int64_t LEG_COST_BUDGET = 1 << 58


cdef class Pretrade:
    """Stateless checks over the core's state."""

    def __cinit__(self, Accounts accounts, Instruments instruments, Orders orders, Positions positions,
                  Exposure exposure, Switches switches, MarkStages stages, Collateral collateral, config):
        self.accounts = accounts
        self.instruments = instruments
        self.orders = orders
        self.positions = positions
        self.exposure = exposure
        self.switches = switches
        self.collateral = collateral
        self.stages = stages
        self.bands = PriceBands(instruments, exposure.rows, config.limits)
        self.max_open_orders = config.limits.max_open_orders_per_account
        self.max_owner_orders = config.limits.max_open_orders_per_owner

    cdef int _combo_reason(self, Instrument* row, int side, int64_t price_units, int64_t lots,
                           bint market) except -1:
        """What the legs of a combo say to an order on it."""
        cdef int64_t prices[MAX_LEGS]
        cdef int64_t cost, low, high
        cdef int bad = 0
        cdef Instrument* leg
        cdef int i
        for i in range(row.leg_count):
            if self.instruments.at[row.leg_slot[i]].state != STATE_OPEN:
                return R_INSTRUMENT_NOT_OPEN
        if market:
            price_units = self.bands.highest(row) if side == 0 else self.bands.lowest(row)
        else:
            self.instruments.combo_range(row, &low, &high)
            if price_units < low:
                return R_PRICE_TOO_LOW
            if price_units > high:
                return R_PRICE_TOO_HIGH
        self.instruments.leg_prices(row, price_units, prices)
        for i in range(row.leg_count):
            leg = &self.instruments.at[row.leg_slot[i]]
            cost = self.instruments.trade_cost(leg, prices[i], lots * size_of(row.leg_ratio[i]), &bad)
            if bad or not -LEG_COST_BUDGET <= cost <= LEG_COST_BUDGET:
                return R_QUANTITY_TOO_LARGE
        return R_NONE

    cdef int static_reason(self, uint32_t account_id, uint32_t instrument, int side, int64_t price_units,
                           int64_t lots, bint market, int64_t time_ns) except -1:
        """Checks that need no margin: R_NONE or the reason to refuse."""
        cdef Instrument* row
        cdef int reason
        cdef int64_t cost
        cdef int bad = 0
        if not self.accounts.exists(account_id):
            return R_UNKNOWN_ACCOUNT
        if self.accounts.at[account_id].in_liquidation:
            return R_ACCOUNT_IN_LIQUIDATION
        if not self.instruments.is_live(instrument):
            return R_UNKNOWN_INSTRUMENT
        row = &self.instruments.at[instrument]
        if self.accounts.at[account_id].first_bucket and self.isolated(account_id, instrument):
            return R_ISOLATED_POSITION
        if self.switches.count and self.switches.stopped(account_id, row.underlying):
            return R_TRADING_STOPPED
        if row.expiry_ns and time_ns >= row.expiry_ns:
            return R_INSTRUMENT_EXPIRED
        if row.state != STATE_OPEN and row.state != STATE_CLOSE_ONLY and row.state != STATE_AUCTION:
            return R_INSTRUMENT_NOT_OPEN
        if not row.marked:
            return R_NO_MARK
        if self.stages.restricted and self._stage_reason(account_id, instrument, side):
            return R_MARK_STALE
        if lots <= 0:
            return R_QUANTITY_NOT_POSITIVE
        if lots < row.min_quantity_lots:
            return R_QUANTITY_TOO_SMALL
        if lots > row.max_quantity_lots:
            return R_QUANTITY_TOO_LARGE
        if not market:
            reason = self.form_reason(instrument, price_units)
            if reason:
                return reason
        if row.leg_count:
            reason = self._combo_reason(row, side, price_units, lots, market)
            if reason:
                return reason
        if market:
            return R_NONE
        if side == 0 and price_units > self.bands.highest(row):
            return R_PRICE_TOO_HIGH
        if side == 1 and price_units < self.bands.lowest(row):
            return R_PRICE_TOO_LOW
        # an inverse future bought at a price near zero would cost more than a sum can hold
        cost = self.instruments.trade_cost(row, price_units, lots, &bad)
        if bad or not -COST_BUDGET <= cost <= COST_BUDGET:
            return R_QUANTITY_TOO_LARGE
        return R_NONE

    cdef bint isolated(self, uint32_t account_id, uint32_t instrument) noexcept:
        """Whether the account holds an instrument, or a leg of it, in a bucket."""
        cdef Instrument* row = &self.instruments.at[instrument]
        cdef int i
        for i in range(row.leg_count):
            if self.accounts.bucket_of(account_id, row.leg_slot[i]):
                return True
        return self.accounts.bucket_of(account_id, instrument) != 0

    cdef int _stage_reason(self, uint32_t account_id, uint32_t instrument, int side) noexcept:
        """Whether the age of the marks lets an order in: in the reduce-only stage one that can reduce a position."""
        cdef Instrument* row = &self.instruments.at[instrument]
        if self.stages.live(row.underlying):
            return R_NONE
        if self.stages.halted(row.underlying) or row.leg_count:
            return R_MARK_STALE
        return R_NONE if self.reducible(account_id, instrument, side) else R_MARK_STALE

    cdef bint closes_only(self, uint32_t instrument) noexcept:
        """Whether an instrument takes only what reduces positions, by its own state or by the age of its marks."""
        cdef Instrument* row = &self.instruments.at[instrument]
        return row.state == STATE_CLOSE_ONLY or self.stages.reduces(row.underlying)

    cdef int form_reason(self, uint32_t instrument, int64_t price_units) noexcept:
        """Whether a price exists on the instrument: in range and on tick."""
        cdef Instrument* row = &self.instruments.at[instrument]
        if price_units <= 0:
            return R_PRICE_TOO_LOW
        if price_units > row.max_price_units:
            return R_PRICE_TOO_HIGH
        if not self.instruments.on_tick(row, price_units):
            return R_PRICE_OFF_TICK
        return R_NONE

    cdef int64_t reducible(self, uint32_t account_id, uint32_t instrument, int side) noexcept:
        """Lots that an order of a side could take off the account's position."""
        cdef Position* position = self.positions.find(account_id, instrument)
        cdef int64_t held = 0 if position == NULL else position.quantity_lots
        if side == 0:
            return -held if held < 0 else 0
        return held if held > 0 else 0

    cdef int limit_reason(self, uint32_t account_id, uint32_t instrument, int side, int64_t lots,
                          bint new) except -1:
        """Open-order (of a new order) and position limits of account and owner, the largest order, and the bound that
        keeps scenario sums exact."""
        cdef Instrument* row = &self.instruments.at[instrument]
        cdef Position* position = self.positions.find(account_id, instrument)
        cdef ScenarioBook* book = self.exposure.book(account_id, row.chain)
        cdef int64_t open_lots = 0, held = 0, gross = 0, budget, total
        cdef int reason
        if (new and account_id < self.orders.accounts
                and self.orders.account_count[account_id] >= self.max_open_orders):
            return R_OPEN_ORDER_LIMIT
        if position != NULL:
            held = position.quantity_lots if side == 0 else -position.quantity_lots
            open_lots = (position.open_buy_lots + position.combo_buy_lots if side == 0
                         else position.open_sell_lots + position.combo_sell_lots)
        total = held + open_lots + lots
        if total > row.max_position_lots:
            return R_POSITION_LIMIT
        if row.leg_count and not self._legs_within(account_id, row, side, lots):
            return R_POSITION_LIMIT
        if book != NULL:
            gross = book.gross_row
        budget = ROW_BUDGET
        if total > 0:
            if lots > self.bands.order_cap(row):
                return self.bands.order_reason(row, lots)
            if (self.accounts.at[account_id].owner_next != account_id or row.max_owner_position_lots or row.leg_count
                    or self.max_owner_orders < self.max_open_orders):
                reason = self._owner_reason(account_id, instrument, side, lots, new)
                if reason:
                    return reason
        else:
            # what only takes off the position may go beyond the budget, still below 2**53: nobody is locked in
            budget += ROW_BUDGET // 2
        if lots > (budget - gross) // self.exposure.rows.row_cap[instrument]:
            return R_ROW_LIMIT
        return R_NONE

    cdef bint _legs_within(self, uint32_t account_id, Instrument* row, int side, int64_t lots) noexcept:
        """Whether a combo's fill leaves every leg's position, with open orders, within its limit."""
        cdef Position* position
        cdef int64_t total
        cdef bint buys
        cdef int i
        for i in range(row.leg_count):
            buys = (row.leg_ratio[i] > 0) == (side == 0)
            total = lots * size_of(row.leg_ratio[i])
            position = self.positions.find(account_id, row.leg_slot[i])
            if position != NULL and buys:
                total += position.quantity_lots + position.open_buy_lots + position.combo_buy_lots
            elif position != NULL:
                total += -position.quantity_lots + position.open_sell_lots + position.combo_sell_lots
            if total > self.instruments.at[row.leg_slot[i]].max_position_lots:
                return False
        return True

    cdef int _owner_reason(self, uint32_t account_id, uint32_t instrument, int side, int64_t lots, bint new) except -1:
        """Open orders and position over all accounts of the owner, as if the order were added; of a combo also the
        positions in its legs."""
        cdef Instrument* row = &self.instruments.at[instrument]
        cdef uint64_t open_orders = 0
        cdef uint32_t other = account_id
        cdef int i
        while new:
            if other < self.orders.accounts:
                open_orders += self.orders.account_count[other]
            other = self.accounts.at[other].owner_next
            if other == account_id:
                break
        if new and open_orders >= self.max_owner_orders:
            return R_OWNER_ORDER_LIMIT
        if not self._owner_within(account_id, instrument, side, lots):
            return R_OWNER_POSITION_LIMIT
        for i in range(row.leg_count):
            if not self._owner_within(account_id, row.leg_slot[i], side if row.leg_ratio[i] > 0 else 1 - side,
                                      lots * size_of(row.leg_ratio[i])):
                return R_OWNER_POSITION_LIMIT
        return R_NONE

    cdef bint _owner_within(self, uint32_t account_id, uint32_t instrument, int side, int64_t lots) noexcept:
        """Whether positions and open orders of a side over the owner's accounts, with `lots` more, are within the
        instrument's limit."""
        cdef int64_t limit = self.instruments.at[instrument].max_owner_position_lots
        cdef int64_t total = lots
        cdef Position* position
        cdef uint32_t other = account_id
        if limit == 0:
            return True
        while True:
            position = self.positions.find(other, instrument)
            if position != NULL and side == 0:
                total += position.quantity_lots + position.open_buy_lots + position.combo_buy_lots
            elif position != NULL:
                total += -position.quantity_lots + position.open_sell_lots + position.combo_sell_lots
            other = self.accounts.at[other].owner_next
            if other == account_id:
                return total <= limit

    cdef int64_t advanced_price(self, uint32_t instrument, int side, int kind, int64_t value_e8) except? -1:
        """Price of an advanced order at the last mark, 0 where its terms mean none."""
        return self.bands.advanced_price(&self.instruments.at[instrument], side, kind, value_e8)

    cdef int64_t advanced_end_ns(self, uint32_t instrument) noexcept:
        """When the option's advanced orders end."""
        return self.instruments.at[instrument].expiry_ns - ADVANCED_END_NS

    cdef int fund(self, Order* order) except -1:
        """Initial margin with the order counted as open (the caller has counted it), else the risk-reducing lane, else
        of an isolated position what its holder can give.

        R_NONE (the order may be flagged risk-reducing, or have drawn collateral: the caller tells that), or
        R_NOT_ENOUGH_FUNDS: then it is no longer counted.
        """
        cdef Margin m
        cdef int currency = self.instruments.at[order.instrument].currency
        cdef int64_t lots = order.remaining_lots
        self.exposure.margin(order.account_id, currency, ALL_ORDERS, &m)
        if m.equity >= m.initial:
            return R_NONE
        self.exposure.order_reduced(order, lots, True)
        if self.exposure.lane_allows(order):
            order.flags |= FLAG_RISK_REDUCING
            self.exposure.order_added(order)
            return R_NONE
        if self.accounts.at[order.account_id].holder and self.collateral.cover(order.account_id, currency,
                                                                               m.initial - m.equity):
            self.exposure.order_added(order)
            return R_NONE
        return R_NOT_ENOUGH_FUNDS
