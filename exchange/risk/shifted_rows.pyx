"""Risk rows under shifts of single expiries: the smile tilted or bent, and the expiry's forward moved alone.

Four columns beside the grid, of the underlyings whose parameter set asks for them: what a long lot gains where

    0  vols are tilted: vol x (1 + clip(k cap / k*, -cap, cap)), k = ln(K / F)
    1  vols are bent: the same with |k|
    2  the forward falls, the index stays; dated futures and options
    3  the forward rises

cap = max(0, base + slope sqrt(T)), k* = max(least, width sqrt(T) (vol base + vol slope sqrt(T))). What a requirement
makes of them: exchange/risk/charges.pyx; docs/margin.md, "Charges beside the grid".
"""

import msgspec
from libc.stdint cimport int32_t, int64_t, uint32_t
from libc.stdlib cimport calloc, free
from libc.string cimport memset

from exchange.market.instrument cimport KIND_FUTURE, STATE_FREE, Instrument
from exchange.risk.risk_rows cimport MAX_EXPIRIES, Fixing
from exchange.wide cimport wide_mul_div_ceil
from margin_ext.kernels cimport (
    KERNEL_OK, ChainOutput, FutureInput, FutureOutput, future_row, k_log, k_sqrt, reprice_chain,
)

cdef int64_t YEAR_NS = 365 * 86_400_000_000_000


cdef class ShiftedRows(SettlingRows):
    """Risk rows and, where a set asks for them, shifted ones."""

    def __cinit__(self, instruments, config):
        cdef int u
        cdef size_t slots = self.instruments.capacity
        cdef bint wanted = False
        self.shift = <Shift*>calloc(self.underlying_count, sizeof(Shift))
        self.basis_scale_e9 = <int64_t*>calloc(self.underlying_count * MAX_EXPIRIES, sizeof(int64_t))
        if self.shift == NULL or self.basis_scale_e9 == NULL:
            raise MemoryError()
        for u, underlying in enumerate(config.underlyings):
            if underlying.span is msgspec.UNSET:
                self._take(u, underlying.matrix)
            wanted = wanted or self.shift[u].skewed or self.shift[u].based
        if not wanted:
            return
        self.shifted_coin = <double*>calloc(slots * SHIFTS, sizeof(double))
        self.shifted_usd = <double*>calloc(slots * SHIFTS, sizeof(double))
        self.unused = <double*>calloc(slots * 3, sizeof(double))
        self.pair_room = <double*>calloc(slots * (2 + SHIFTS), sizeof(double))
        self.pair_number = <int32_t*>calloc(slots, sizeof(int32_t))
        if (self.shifted_coin == NULL or self.shifted_usd == NULL or self.unused == NULL or self.pair_room == NULL
                or self.pair_number == NULL):
            raise MemoryError()

    def __dealloc__(self):
        free(self.shift)
        free(self.shifted_coin)
        free(self.shifted_usd)
        free(self.unused)
        free(self.pair_room)
        free(self.pair_number)
        free(self.basis_scale_e9)

    def _take(self, int underlying, parameters):
        cdef Shift* s = &self.shift[underlying]
        cdef double move = 0.0
        cdef int j
        if parameters.skew is not None:
            own = parameters.skew
            s.skewed = True
            s.cap_base = own.cap_base_ppm / 1_000_000
            s.cap_slope = own.cap_slope_ppm / 1_000_000
            s.width = own.width_ppm / 1_000_000
            s.vol_base = own.vol_base_ppm / 1_000_000
            s.vol_slope = own.vol_slope_ppm / 1_000_000
            s.least = own.minimum_log_moneyness_ppm / 1_000_000
        if parameters.expiry_basis is not None:
            s.based = True
            move = parameters.expiry_basis.move_ppm / 1_000_000
            s.add_e9 = parameters.expiry_basis.add_ppm * 1_000
            s.multiplier_e9 = parameters.expiry_basis.multiplier_ppm * 1_000
        for j in range(SHIFTS):
            s.spot[j] = 1.0 - move if j == SHIFT_DOWN else 1.0 + move if j == SHIFT_UP else 1.0
            s.weight[0][j] = 1.0 if j <= SHIFT_UP else 0.0
            s.weight[1][j] = 1.0 / s.spot[j] if j <= SHIFT_UP else 0.0

    def listed(self, slot):
        SettlingRows.listed(self, slot)
        if self.shifted_usd != NULL:
            memset(&self.shifted_coin[<size_t>slot * SHIFTS], 0, SHIFTS * sizeof(double))
            memset(&self.shifted_usd[<size_t>slot * SHIFTS], 0, SHIFTS * sizeof(double))

    # ------------------------------------------------------------------ repricing

    cdef int _skew(self, Shift* s, ChainInput* source, double* multiplier) noexcept:
        """Vol multipliers of each pair."""
        cdef int i, j
        cdef double root, cap, edge, k, tilt
        cdef int64_t left
        for i in range(source.pair_count):
            for j in range(SHIFTS):
                multiplier[i * SHIFTS + j] = 1.0
            if not s.skewed:
                continue
            j = source.call_row[i] if source.call_row[i] >= 0 else source.put_row[i]
            left = self.instruments.at[j].expiry_ns - self.pricing_ns
            root = k_sqrt(left / <double>YEAR_NS if left > 0 else 0.0)
            cap = max(s.cap_base + s.cap_slope * root, 0.0)
            edge = max(s.width * root * (s.vol_base + s.vol_slope * root), s.least)
            k = k_log(source.strike[i] / source.forward[source.expiry_of_pair[i]])
            tilt = min(max(k * cap / edge, -cap), cap)
            multiplier[i * SHIFTS + SHIFT_TILT] = 1.0 + tilt
            multiplier[i * SHIFTS + SHIFT_BEND] = 1.0 + (tilt if tilt > 0.0 else -tilt)
        return 0

    cdef void _moved(self, Shift* s, Fixing* fixing) noexcept:
        """Multipliers of what contracts settle at, and weights that leave the index where it is; see settling_rows."""
        cdef int j
        for j in range(SHIFTS):
            self.moved[j] = 1.0 + fixing.share * (s.spot[j] - 1.0)
            self.ratio[j] = s.spot[j] / self.moved[j]
            self.moved_weight[j] = s.weight[0][j] / self.moved[j]

    cdef int _shift_options(self, int chain, int64_t time_ns, int bucket) except -1:
        """Shifted rows of a chain's options (of a bucket whose settlement average has begun; -1: of the others): each
        pair is an expiry of its own, for its vols."""
        cdef ChainInput source
        cdef ChainOutput target
        cdef Shift* s = &self.shift[self.chain[chain].underlying]
        cdef size_t slots = self.instruments.capacity
        cdef double* forward = self.pair_room
        cdef double* years = forward + slots
        cdef double* multiplier = years + slots
        cdef int i, fault
        if self._chain_input(chain, time_ns, &source, bucket) == 0:
            return 0
        self._skew(s, &source, multiplier)
        for i in range(source.pair_count):
            self.pair_number[i] = i
            forward[i] = source.forward[source.expiry_of_pair[i]]
            years[i] = source.years[source.expiry_of_pair[i]]
        source.expiry_count = source.pair_count
        source.expiry_of_pair = self.pair_number
        source.forward = forward
        source.years = years
        source.scenario_count = SHIFTS
        source.spot_multiplier = s.spot
        source.vol_multiplier = multiplier
        source.vol_floor = NULL
        source.weight = s.weight[source.inverse]
        source.coin_factor = s.spot
        if bucket >= 0:
            self._moved(s, &self.fixing[self.chain[chain].underlying * MAX_EXPIRIES + bucket])
            for i in range(source.pair_count * SHIFTS):
                multiplier[i] *= self.ratio[i % SHIFTS]
            source.spot_multiplier = source.coin_factor = &self.moved[0]
            source.weight = &self.moved_weight[0] if source.inverse else &s.weight[0][0]
        target.rows_coin = self.shifted_coin
        target.rows_usd = self.shifted_usd
        target.mark = self.unused
        target.delta = self.unused + slots
        target.row_max = self.unused + 2 * slots
        fault = reprice_chain(&source, &target)
        if fault != KERNEL_OK:
            raise ValueError(f"shifted rows of chain {chain} refused their input ({fault})")
        return 0

    cdef int _shift_future(self, int slot) except -1:
        """Shifted rows of a dated future at its mark."""
        cdef Instrument* row = &self.instruments.at[slot]
        cdef Shift* s = &self.shift[row.underlying]
        cdef FutureInput source
        cdef FutureOutput target
        cdef int fault
        memset(&source, 0, sizeof(FutureInput))
        source.scenario_count = SHIFTS
        source.inverse = row.inverse
        source.forward = row.mark_price_e8 / 1e8
        source.index_price = self.index_e8[row.underlying] / 1e8
        source.lot_usd = row.lot_size
        source.lot_coin = row.lot_size
        source.spot_multiplier = s.spot
        source.weight = s.weight[row.inverse]
        source.coin_factor = s.spot
        if self.fixing_of(row).settling:
            self._moved(s, self.fixing_of(row))
            source.spot_multiplier = source.coin_factor = &self.moved[0]
            source.weight = &self.moved_weight[0] if row.inverse else &s.weight[0][0]
        target.row_coin = &self.shifted_coin[<size_t>slot * SHIFTS]
        target.row_usd = &self.shifted_usd[<size_t>slot * SHIFTS]
        fault = future_row(&source, &target)
        if fault != KERNEL_OK:
            raise ValueError(f"shifted rows of {self.instruments.names[slot]} refused their input ({fault})")
        return 0

    cdef int reprice(self, int underlying, int64_t time_ns) except -1:
        cdef int priced = SettlingRows.reprice(self, underlying, time_ns)
        cdef Shift* s = &self.shift[underlying]
        cdef int k, b, bad = 0
        cdef uint32_t slot
        cdef int64_t left
        cdef Instrument* row
        if not (s.skewed or s.based):
            return priced
        for b in range(MAX_EXPIRIES):
            left = max(self.bucket_expiry_ns[underlying * MAX_EXPIRIES + b] - time_ns, 0)
            self.basis_scale_e9[underlying * MAX_EXPIRIES + b] = s.add_e9 + wide_mul_div_ceil(
                s.multiplier_e9, left, YEAR_NS, &bad)
        if bad:
            raise OverflowError(f"the basis scale of underlying {underlying} is out of range")
        for k in range(self.chain_count):
            if self.chain[k].underlying == underlying:
                self._shift_options(k, time_ns, -1)
                for b in range(1, self.bucket_high[underlying]):
                    if self.fixing[underlying * MAX_EXPIRIES + b].settling:
                        self._shift_options(k, time_ns, b)
        for slot in range(self.instruments.high):
            row = &self.instruments.at[slot]
            if (row.state != STATE_FREE and row.underlying == underlying and row.kind == KIND_FUTURE
                    and row.mark_price_e8 > 0):
                self._shift_future(slot)
        return priced

    def shifts(self, slot, bint usd):
        """A copy of an instrument's shifted row, four integers; [] where no set asks for any."""
        cdef double* rows = self.shifted_usd if usd else self.shifted_coin
        return [] if rows == NULL else [int(rows[<size_t>slot * SHIFTS + j]) for j in range(SHIFT_UP + 1)]
