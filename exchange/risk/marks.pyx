"""Marks: what an UpdateMarks command does to prices before anybody is re-margined.

A lone jump of the index beyond the configured band is held until it is confirmed (mark_jumps). A perpetual's mark is
index + an exponential average of (own book's mid - index), each sample bounded around the index; its funding accrues
from the same premium. Dated futures are marked at their forward, options from forward and vol.
"""

from collections import deque

from libc.stdlib cimport calloc, free

from exchange.market.instrument cimport KIND_FUTURE, KIND_OPTION, KIND_PERPETUAL, NO_SLOT, STATE_FREE
from exchange.records cimport (
    R_BAD_PAYLOAD, R_MARK_JUMP, R_MARK_OUT_OF_RANGE, R_NONE, R_UNKNOWN_INSTRUMENT, R_UNKNOWN_UNDERLYING, SLOT_BYTES,
    ForwardEntry, VolEntry,
)
from exchange.clearing.ledger cimport SYS_OUTSIDE
from exchange.clearing.position cimport Position, PositionList
from exchange.risk.risk_rows cimport MAX_EXPIRIES, Grid

SETTLEMENT_WINDOW_NS = 30 * 60 * 1_000_000_000
SAMPLE_SPACING_NS = 4 * 1_000_000_000
cdef int64_t MAX_PRICE_E8 = 10**17       # 1e9 USD
cdef uint32_t MAX_VOL_E6 = 20_000_000    # 2,000 %
cdef int64_t MAX_FACTOR = 1_000          # an index from the last one, a forward from the index, either way
cdef double LOT_LIMIT = 2.0 ** 51        # value of a lot in minor units
cdef double OPEN_LIMIT = 2.0 ** 58       # of all that is open in an underlying and settled in dollars
cdef double COIN_LIMIT = 2.0 ** 54       # and in its coin
cdef double DOLLAR_LIMIT = 2.0 ** 54     # of all the coins there are, at the index, 1e-4 USD
cdef double BOOK_LIMIT = 2.0 ** 53       # gross lots x row bound of a scenario book
cdef double COIN_PRICE_LEAST = 8.0       # 1e-4 USD per minor unit of the coin, 2**-40: below, it has no digits left
cdef double COIN_PRICE_MOST = 2.0 ** 51


cdef int64_t _forward(const UpdateMarks* command, int64_t expiry_ns, int64_t known_e8) noexcept:
    """The forward of an expiry as the command would leave it; 0: none yet."""
    cdef const ForwardEntry* forward = <const ForwardEntry*>(<const char*>command + SLOT_BYTES)
    cdef uint32_t i
    for i in range(command.forward_count):
        if forward[i].expiry_ns == expiry_ns:
            known_e8 = forward[i].forward_e8
    return known_e8


cdef int64_t _priced_e8(Marks self, const UpdateMarks* command, int underlying, const Instrument* row) noexcept:
    """What an instrument is priced with as the command would leave it: the index, or its expiry's forward (0: none)."""
    if row.kind == KIND_PERPETUAL:
        return command.index_price_e8
    return _forward(command, row.expiry_ns, self.rows.forward_e8[underlying * MAX_EXPIRIES + row.expiry_bucket])


cdef double _notional_units(const Instrument* row, double price, double index) noexcept:
    """A lot's notional in the larger of its row units: 1e-10 of the coin and 1e-4 USD."""
    cdef double lot = row.lot_size_e8 / 1e8
    cdef double usd = lot * price
    cdef double coin
    if row.kind == KIND_OPTION:
        usd = lot * max(row.strike_e8 / 1e8, price, index)
    elif row.inverse:
        usd = lot * max(index / price, 1.0)
    coin = lot / price if row.inverse and row.kind != KIND_OPTION else usd / index
    return max(coin * 1e10, usd * 1e4)


cdef double _worst_move(Marks self, int underlying) noexcept:
    """What a lot's largest row is at most, in its notionals: one, and the widest weighted move of the grid."""
    cdef Grid* g = &self.rows.grid[underlying]
    cdef double most = 1.0
    cdef int j
    for j in range(self.rows.scenario_count):
        if g.spot_multiplier[j] > 0.0:
            most = max(most, g.weight[j] * max(g.spot_multiplier[j], 1.0 / g.spot_multiplier[j]))
    return 1.0 + most


cdef bint _bears(Marks self, const UpdateMarks* command, int underlying) except -1:
    """Whether everything that is reckoned with the command's prices keeps its bounds, for what is open now: prices have
    room in the books, values of lots, of all that is open and of all coins, the coin's price, and where rows may
    pass the bounds that order entry reckoned with, every scenario book. `detail` is the instrument at fault, if it is
    one."""
    cdef double index = command.index_price_e8 / 1e8
    cdef double unit = 0.0, price, strike, value, open_coins = 0.0, open_value = 0.0, worst
    cdef int c
    cdef int64_t forward_e8
    cdef uint32_t slot
    cdef bint grows = False
    cdef Instrument* row
    cdef Grid* g = &self.rows.grid[underlying]
    if self.rows.coin_scale[underlying]:
        unit = index * 1e4 / self.rows.coin_scale[underlying] * 1099511627776.0
        if not COIN_PRICE_LEAST <= unit <= COIN_PRICE_MOST:
            return False
    if g.delta_threshold_usd / index * 1e10 > OPEN_LIMIT:
        return False
    worst = _worst_move(self, underlying)
    for slot in range(self.instruments.high):
        row = &self.instruments.at[slot]
        if row.state == STATE_FREE or row.underlying != underlying or row.leg_count:
            continue
        forward_e8 = _priced_e8(self, command, underlying, row)
        if forward_e8 == 0:
            continue
        price = forward_e8 / 1e8
        if row.kind != KIND_OPTION and not row.price_unit_e8 <= forward_e8 <= row.price_unit_e8 * row.max_price_units:
            self.detail = slot
            return False
        if row.kind == KIND_OPTION:
            strike = row.strike_e8 / 1e8
            value = row.lot_scale_minor * (max(strike / index, price / index, 1.0) if row.inverse
                                           else max(strike, price))
        elif row.inverse:
            value = row.lot_scale_minor / price
        else:
            value = row.lot_scale_minor * price
        if row.inverse:
            open_coins += value * row.open_interest_lots
            c = row.currency
            if abs(self.positions.ledger.system[SYS_OUTSIDE * self.positions.ledger.currencies + c]) * (
                    unit / 1099511627776.0) > DOLLAR_LIMIT:
                return False
        else:
            open_value += value * row.open_interest_lots
        if value > LOT_LIMIT or open_value > OPEN_LIMIT or open_coins > COIN_LIMIT:
            self.detail = slot
            return False
        grows = grows or (self.rows.row_cap[slot] != 0
                          and worst * _notional_units(row, price, index) > self.rows.row_cap[slot])
    return not grows or _books_bear(self, command, underlying, worst)


cdef bint _books_bear(Marks self, const UpdateMarks* command, int underlying, double worst) except -1:
    """Whether every account's gross lots x row bound stays exact, with bounds as these prices may raise them."""
    cdef PositionList* held
    cdef Position* p
    cdef uint32_t a, i
    cdef Instrument* row
    caps = {slot: _raised(self, command, underlying, slot, worst) for slot in range(self.instruments.high)
            if self.instruments.at[<uint32_t>slot].state != STATE_FREE and (
                self.instruments.at[<uint32_t>slot].underlying == underlying
                and self.instruments.at[<uint32_t>slot].leg_count == 0)}
    for a in range(self.positions.accounts):
        held = &self.positions.of[a]
        sums = {}
        for i in range(held.count):
            p = &held.at[i]
            row = &self.instruments.at[p.instrument]
            if row.underlying != underlying:
                continue
            cap = sum([abs(row.leg_ratio[j]) * caps[row.leg_slot[j]] for j in range(row.leg_count)]) or caps.get(
                p.instrument, 0)
            lots = abs(p.quantity_lots) + p.open_buy_lots + p.open_sell_lots
            sums[p.chain] = sums.get(p.chain, 0) + lots * cap
        if max(sums.values(), default=0) >= BOOK_LIMIT:
            return False
    return True


cdef _raised(Marks self, const UpdateMarks* command, int underlying, uint32_t slot, double worst):
    """An instrument's row bound as the command's prices may raise it: doubled until no row can pass it."""
    cdef Instrument* row = &self.instruments.at[slot]
    cdef int64_t price_e8 = _priced_e8(self, command, underlying, row)
    cdef double most
    cap = int(self.rows.row_cap[slot])
    if price_e8 == 0 or cap == 0:
        return cap
    most = _notional_units(row, price_e8 / 1e8, command.index_price_e8 / 1e8)
    while cap < worst * most:
        cap *= 2
    return cap


cdef bint _far(int64_t price_e8, int64_t from_e8) noexcept:
    """Whether a price is more than MAX_FACTOR times another, or less than that part of it."""
    return price_e8 // MAX_FACTOR > from_e8 or from_e8 // MAX_FACTOR > price_e8


cdef class Marks:
    """Index, perpetual basis and funding per underlying; drives the repricing of risk rows."""

    def __cinit__(self, Instruments instruments, Books books, Positions positions, RiskRows rows,
                  MarkStages stages, MarkJumps jumps, config):
        cdef int count = len(config.underlyings)
        self.instruments = instruments
        self.books = books
        self.positions = positions
        self.rows = rows
        self.stages = stages
        self.jumps = jumps
        self.settings = config.underlyings
        self.time_ns = <int64_t*>calloc(count, sizeof(int64_t))
        self.basis_e8 = <int64_t*>calloc(instruments.capacity, sizeof(int64_t))
        self.funding_rate_e12 = <int64_t*>calloc(instruments.capacity, sizeof(int64_t))
        if self.time_ns == NULL or self.basis_e8 == NULL or self.funding_rate_e12 == NULL:
            raise MemoryError()
        self.samples = [deque(maxlen=SETTLEMENT_WINDOW_NS // SAMPLE_SPACING_NS) for _ in range(count)]

    def __dealloc__(self):
        free(self.time_ns)
        free(self.basis_e8)
        free(self.funding_rate_e12)

    cdef bint fresh(self, int underlying, int64_t time_ns) noexcept:
        """Whether an underlying's marks are not stale."""
        cdef int64_t limit = self.settings[underlying].mark_stale_ns
        return self.time_ns[underlying] != 0 and time_ns - self.time_ns[underlying] <= limit

    cdef int _check(self, const UpdateMarks* command, int underlying) except -1:
        """A reason to refuse the update, or R_NONE; nothing has changed yet."""
        cdef const ForwardEntry* forward = <const ForwardEntry*>(<const char*>command + SLOT_BYTES)
        cdef const VolEntry* vol
        cdef uint32_t i, slot
        cdef int64_t size = (command.header.slots - 1) * SLOT_BYTES
        if size < <int64_t>(command.forward_count * sizeof(ForwardEntry) + command.vol_count * sizeof(VolEntry)):
            return R_BAD_PAYLOAD
        if not 0 < command.index_price_e8 <= MAX_PRICE_E8 or (
                self.rows.index_e8[underlying] and _far(command.index_price_e8, self.rows.index_e8[underlying])):
            return R_MARK_OUT_OF_RANGE
        for i in range(command.forward_count):
            if not 0 < forward[i].forward_e8 <= MAX_PRICE_E8 or _far(forward[i].forward_e8, command.index_price_e8):
                return R_MARK_OUT_OF_RANGE
        vol = <const VolEntry*>(forward + command.forward_count)
        for i in range(command.vol_count):
            slot = vol[i].instrument
            if (not self.instruments.is_live(slot) or self.instruments.at[slot].kind != KIND_OPTION
                    or self.instruments.at[slot].underlying != underlying):
                self.detail = slot
                return R_UNKNOWN_INSTRUMENT
            if not 0 < vol[i].vol_e6 <= MAX_VOL_E6:
                self.detail = slot
                return R_MARK_OUT_OF_RANGE
        return R_NONE if _bears(self, command, underlying) else R_MARK_OUT_OF_RANGE

    cdef int update(self, const UpdateMarks* command, int64_t time_ns) except -1:
        """Take an update in and reprice; returns a reason when it is refused or held (then nothing changed)."""
        cdef int u = command.underlying
        cdef const ForwardEntry* forward = <const ForwardEntry*>(<const char*>command + SLOT_BYTES)
        cdef const VolEntry* vol = <const VolEntry*>(forward + command.forward_count)
        cdef int reason, bucket
        cdef uint32_t i, slot, twin
        cdef int64_t elapsed
        cdef Instrument* row
        self.priced = 0
        self.detail = 0
        if u >= self.rows.underlying_count:
            return R_UNKNOWN_UNDERLYING
        reason = self._check(command, u)
        if reason:
            return reason
        index = int(command.index_price_e8)
        previous = int(self.rows.index_e8[u])
        if not self.jumps.believes(u, index, previous, command.sources):
            self.detail = index
            return R_MARK_JUMP
        self.rows.index_e8[u] = index
        for i in range(command.forward_count):
            bucket = self.rows.bucket_of(u, forward[i].expiry_ns)
            if bucket > 0:
                self.rows.forward_e8[u * MAX_EXPIRIES + bucket] = forward[i].forward_e8
        for i in range(command.vol_count):
            slot = vol[i].instrument
            self.rows.vol_e6[slot] = vol[i].vol_e6
            twin = self.instruments.at[slot].twin
            if twin != NO_SLOT:
                self.rows.vol_e6[twin] = vol[i].vol_e6
        elapsed = time_ns - self.time_ns[u] if self.time_ns[u] else 0
        samples = self.samples[u]
        if not samples or time_ns - samples[len(samples) - 1][0] >= SAMPLE_SPACING_NS:
            samples.append((time_ns, index))
        if self.rows.averaged[u]:
            self._fix(u, time_ns)
        for slot in range(self.instruments.high):
            row = &self.instruments.at[slot]
            if row.state == STATE_FREE or row.underlying != u:
                continue
            if row.kind == KIND_PERPETUAL:
                self._perpetual(slot, elapsed)
            elif row.kind == KIND_FUTURE:
                row.mark_price_e8 = self.rows.forward_e8[u * MAX_EXPIRIES + row.expiry_bucket]
                if self.rows.fixing_of(row).settling:
                    row.mark_price_e8 = self.rows.fixing_of(row).price_e8
        self.time_ns[u] = time_ns
        self.priced = self.rows.reprice(u, time_ns)
        return R_NONE

    cdef int _fix(self, int underlying, int64_t time_ns) except -1:
        """Where the settlement average of an expiry has begun, tell the rows what is known of it."""
        cdef int b
        cdef int64_t expiry_ns
        for b in range(1, self.rows.bucket_high[underlying]):
            expiry_ns = self.rows.bucket_expiry_ns[underlying * MAX_EXPIRIES + b]
            if expiry_ns == 0 or expiry_ns - time_ns >= SETTLEMENT_WINDOW_NS:
                self.rows.unfix(underlying, b)
            else:
                self.rows.fix(underlying, b, self.settlement_price_e8(underlying, expiry_ns), expiry_ns - time_ns)
        return 0

    cdef int _perpetual(self, uint32_t slot, int64_t elapsed_ns) except -1:
        """Mark, funding rate and funding index of one perpetual."""
        cdef Instrument* row = &self.instruments.at[slot]
        settings = self.settings[row.underlying]
        index = int(self.rows.index_e8[row.underlying])
        bound = index * settings.perpetual_bound_ppm // 1_000_000
        cdef int64_t bid = self.books.at[slot].side[0].best
        cdef int64_t ask = self.books.at[slot].side[1].best
        # the rate in force until now pays for the time that has passed, an eighth of a period at most: it was not
        # watched over an outage
        elapsed_ns = min(elapsed_ns, settings.funding_period_ns // 8)
        if elapsed_ns and self.funding_rate_e12[slot]:
            if row.inverse:
                notional = int(row.lot_scale_minor) * 10**8 // index
            else:
                notional = int(row.lot_scale_minor) * index // 10**8
            step = (notional * int(self.funding_rate_e12[slot]) * int(elapsed_ns) << 64) // (
                10**12 * settings.funding_period_ns)
            total = self.positions.funding_of(slot) + step
            self.positions.set_funding(slot, total)
        sample = 0
        if 0 <= bid < ask:           # a book that auctions have left crossed says nothing
            mid = (int(bid) + int(ask)) * int(row.price_unit_e8) // 2
            sample = max(-bound, min(bound, mid - index))
        basis = int(self.basis_e8[slot])
        if elapsed_ns:
            basis += (sample - basis) * int(elapsed_ns) // (settings.perpetual_ema_ns + int(elapsed_ns))
        basis = max(-bound, min(bound, basis))
        self.basis_e8[slot] = basis
        row.mark_price_e8 = index + basis
        premium = basis * 10**12 // index
        band = settings.funding_deadband_ppm * 10**6
        clamp = settings.funding_clamp_ppm * 10**6
        rate = max(band, premium) + min(-band, premium)
        self.funding_rate_e12[slot] = max(-clamp, min(clamp, rate))
        return 0

    def settlement_price_e8(self, int underlying, int64_t expiry_ns):
        """Mean of the index samples in the half hour before expiry; the last index where there is none."""
        window = [p for t, p in self.samples[underlying] if expiry_ns - SETTLEMENT_WINDOW_NS <= t <= expiry_ns]
        if not window:
            return int(self.rows.index_e8[underlying])
        return sum(window) // len(window)

    def covers(self, int underlying, int64_t expiry_ns):
        """Whether the index was sampled in the half hour before an expiry."""
        return any(expiry_ns - SETTLEMENT_WINDOW_NS <= t <= expiry_ns for t, _ in self.samples[underlying])

    def is_fresh(self, int underlying, int64_t time_ns):
        return self.fresh(underlying, time_ns)

    def funding_rate(self, uint32_t slot):
        """Current rate per funding period in 1e-12."""
        return self.funding_rate_e12[slot]

    def delisted(self, uint32_t slot):
        """Forget a freed slot's basis and funding."""
        self.basis_e8[slot] = 0
        self.funding_rate_e12[slot] = 0
        self.positions.set_funding(slot, 0)

    def export(self):
        """Canonical state."""
        cdef int u
        cdef uint32_t slot
        return [
            [[self.time_ns[u], [list(s) for s in self.samples[u]]]
             for u in range(self.rows.underlying_count)],
            [[slot, self.basis_e8[slot], self.funding_rate_e12[slot], str(self.positions.funding_of(slot))]
             for slot in range(self.instruments.high)
             if self.instruments.at[slot].state != STATE_FREE and self.instruments.at[slot].kind == KIND_PERPETUAL],
        ]
