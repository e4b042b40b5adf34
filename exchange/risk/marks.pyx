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
from exchange.risk.risk_rows cimport MAX_EXPIRIES

SETTLEMENT_WINDOW_NS = 30 * 60 * 1_000_000_000
SAMPLE_SPACING_NS = 4 * 1_000_000_000
cdef int64_t MAX_PRICE_E8 = 10**17       # 1e9 USD
cdef uint32_t MAX_VOL_E6 = 20_000_000    # 2,000 %


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
        if not 0 < command.index_price_e8 <= MAX_PRICE_E8:
            return R_MARK_OUT_OF_RANGE
        for i in range(command.forward_count):
            if not 0 < forward[i].forward_e8 <= MAX_PRICE_E8:
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
        return R_NONE

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
