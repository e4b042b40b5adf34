"""Marks and risk rows: every instrument of an underlying repriced over the scenario grid.

With `risk/exposure` the only caller of `margin_ext`. Floats live here, inside pricing; what leaves is integer:
mark prices (1e-8), mark values per lot (minor units), rows (1e-10 coin and 1e-4 USD per lot), deltas (1e-10 coin).
"""

import msgspec
from libc.math cimport ceil, sqrt
from libc.stdlib cimport calloc, free, realloc
from libc.string cimport memset

from exchange.market.instrument cimport KIND_OPTION, NO_SLOT, STATE_FREE, OPTION_CALL
from exchange.risk.scenarios import THIRDS, grids as columns_of
from exchange.wide cimport wide_mul_div_floor
from margin_ext.kernels cimport (
    KERNEL_OK, ChainInput, ChainOutput, FutureInput, FutureOutput, Greeks, black76, black76_arrays, chain_marks,
    future_row, k_exp, k_pow, reprice_chain,
)

cdef extern from *:
    """
    #include <stdlib.h>
    static void *margrave_aligned(size_t bytes) {
        void *p = NULL;
        if (posix_memalign(&p, 64, bytes ? bytes : 64)) return NULL;
        return p;
    }
    """
    void* aligned "margrave_aligned"(size_t size) noexcept nogil

cdef int64_t SETTLEMENT_WINDOW_NS = 1_800_000_000_000
cdef double YEAR_NS = 365.0 * 86400e9
cdef double DAY_NS = 86400e9


cdef inline double average_years(int64_t left_ns) noexcept:
    """Years over which variance accrues until the settlement average is complete, to first order in vol^2 T: of a mean
    over the last w, T - 2 w / 3 before it begins and T / 3 of what is open of it within."""
    if left_ns >= SETTLEMENT_WINDOW_NS:
        return (left_ns - SETTLEMENT_WINDOW_NS // 3 * 2) / YEAR_NS
    return left_ns / (3.0 * YEAR_NS) if left_ns > 0 else 0.0


cdef class RiskRows:
    """Rows of all instruments, one grid per underlying."""

    def __cinit__(self, Instruments instruments, config):
        cdef int i
        self.instruments = instruments
        self.underlying_count = len(config.underlyings)
        grids = columns_of(config.underlyings)
        self.scenario_count = len(grids[0])
        cdef size_t rows = <size_t>instruments.capacity * self.scenario_count * sizeof(double)
        cdef size_t slots = instruments.capacity
        cdef size_t buckets = self.underlying_count * MAX_EXPIRIES
        self.grid = <Grid*>aligned(self.underlying_count * sizeof(Grid))
        self.rows_coin = <double*>aligned(rows)
        self.rows_usd = <double*>aligned(rows)
        self.mark = <double*>calloc(slots, sizeof(double))
        self.delta = <double*>calloc(slots, sizeof(double))
        self.row_max = <double*>calloc(slots, sizeof(double))
        self.delta_e10 = <int64_t*>calloc(slots, sizeof(int64_t))
        self.charged_e10 = <int64_t*>calloc(slots, sizeof(int64_t))
        self.row_cap = <int64_t*>calloc(slots, sizeof(int64_t))
        self.vol_e6 = <uint32_t*>calloc(slots, sizeof(uint32_t))
        self.forward_e8 = <int64_t*>calloc(buckets, sizeof(int64_t))
        self.bucket_expiry_ns = <int64_t*>calloc(buckets, sizeof(int64_t))
        self.bucket_use = <uint32_t*>calloc(buckets, sizeof(uint32_t))
        self.bucket_high = <int*>calloc(self.underlying_count, sizeof(int))
        self.fixing = <Fixing*>calloc(buckets, sizeof(Fixing))
        self.averaged = <uint8_t*>calloc(self.underlying_count, 1)
        self.index_e8 = <int64_t*>calloc(self.underlying_count, sizeof(int64_t))
        self.coin_scale = <int64_t*>calloc(self.underlying_count, sizeof(int64_t))
        self.revision = <uint64_t*>calloc(self.underlying_count, sizeof(uint64_t))
        self.shape = <uint64_t*>calloc(self.underlying_count, sizeof(uint64_t))
        self.priced_ns = <int64_t*>calloc(self.underlying_count, sizeof(int64_t))
        self.scratch_int = <int32_t*>calloc(slots * 3, sizeof(int32_t))
        self.expiry_room = MAX_EXPIRIES
        if any(u.span and u.span.vol_scan_kind == "points" for u in config.underlyings):
            self.expiry_room = max(MAX_EXPIRIES, <uint32_t>slots)
        self.scratch = <double*>aligned((slots * 2 + self.expiry_room * (2 + MAX_SCENARIOS)) * sizeof(double))
        if (self.grid == NULL or self.rows_coin == NULL or self.rows_usd == NULL or self.mark == NULL
                or self.delta == NULL or self.row_max == NULL or self.delta_e10 == NULL or self.row_cap == NULL
                or self.vol_e6 == NULL or self.forward_e8 == NULL or self.bucket_expiry_ns == NULL
                or self.bucket_use == NULL or self.bucket_high == NULL or self.index_e8 == NULL
                or self.coin_scale == NULL or self.charged_e10 == NULL
                or self.revision == NULL or self.shape == NULL or self.priced_ns == NULL or self.scratch_int == NULL
                or self.scratch == NULL or self.fixing == NULL or self.averaged == NULL):
            raise MemoryError()
        memset(self.rows_coin, 0, rows)
        memset(self.rows_usd, 0, rows)
        memset(self.grid, 0, self.underlying_count * sizeof(Grid))
        for i in range(self.underlying_count):
            self.averaged[i] = self.grid[i].averaged = config.underlyings[i].settlement_averaging is True
            if config.underlyings[i].span is msgspec.UNSET:
                self._fill_grid(i, config.underlyings[i].matrix, grids[i])
            else:
                self._fill_span(i, config.underlyings[i].span, grids[i])
        for currency in config.currencies:
            if currency.underlying is not None:
                for i in range(self.underlying_count):
                    if config.underlyings[i].name == currency.underlying:
                        self.coin_scale[i] = 10**currency.exponent

    def __dealloc__(self):
        cdef int i
        for i in range(self.chain_count):
            free(self.chain[i].pair_call)
            free(self.chain[i].pair_put)
        free(self.chain)
        free(self.grid)
        free(self.rows_coin)
        free(self.rows_usd)
        free(self.mark)
        free(self.delta)
        free(self.row_max)
        free(self.delta_e10)
        free(self.charged_e10)
        free(self.row_cap)
        free(self.vol_e6)
        free(self.forward_e8)
        free(self.bucket_expiry_ns)
        free(self.bucket_use)
        free(self.bucket_high)
        free(self.fixing)
        free(self.averaged)
        free(self.index_e8)
        free(self.coin_scale)
        free(self.revision)
        free(self.shape)
        free(self.priced_ns)
        free(self.scratch_int)
        free(self.scratch)

    def _fill_grid(self, int underlying, parameters, grid):
        cdef Grid* g = &self.grid[underlying]
        cdef int j
        for j, column in enumerate(grid):
            g.spot_multiplier[j] = column.spot_multiplier
            g.weight[j] = column.weight[0] / column.weight[1]
            g.coin_factor[j] = column.coin_factor[0] / column.coin_factor[1]
            g.vol_kind[j] = column.vol
            g.vol_floor[j] = parameters.vol_up_floor_e6 / 1_000_000 if column.vol == 1 else 0.0
            g.move_clamp[j] = parameters.price_range_ppm / 1_000_000 if column.extended else 0.0
            g.dampener_ratio[j] = column.dampener[0] / column.dampener[1]
            g.dampener_usd[j] = nearest(g.dampener_ratio[j] * parameters.extended_dampener_usd * 1e4)
        g.kind = GRID_MATRIX if parameters.columns is msgspec.UNSET else GRID_OWN
        self.take_factors(underlying, parameters)
        g.vol_up = parameters.vol_up_ppm / 1_000_000
        g.vol_down = parameters.vol_down_ppm / 1_000_000
        g.vega_power_short = parameters.vega_power_short_ppm / 1_000_000
        g.vega_power_long = parameters.vega_power_long_ppm / 1_000_000
        g.boundary_days = parameters.vega_power_boundary_days
        g.vol_multiplier_floor = parameters.vol_multiplier_floor_ppm / 1_000_000
        g.dampener_usd_amount = parameters.extended_dampener_usd * 1e4
        g.annual_risk = parameters.annualised_move_risk_ppm / 1_000_000
        g.minimum_move = parameters.minimum_move_ppm / 1_000_000
        g.delta_threshold_usd = parameters.delta_threshold_usd
        g.delta_move_per_coin_e9 = parameters.delta_move_per_coin_e9
        g.delta_move_max_e9 = parameters.delta_move_max_ppm * 1000

    def take_factors(self, int underlying, parameters):
        """The initial and maintenance factor of an underlying's set from now on; rows do not depend on them."""
        self.grid[underlying].initial_factor_ppm = parameters.initial_factor_ppm
        self.grid[underlying].maintenance_factor_ppm = parameters.maintenance_factor_ppm

    def factors(self, int underlying):
        """(initial, maintenance) factor in force, ppm."""
        return self.grid[underlying].initial_factor_ppm, self.grid[underlying].maintenance_factor_ppm

    def _fill_span(self, int underlying, parameters, grid):
        """`span16`: no dampener, no clamp and no shock of large deltas; the charge of the roll is that on delivery."""
        cdef Grid* g = &self.grid[underlying]
        cdef int j
        for j, column in enumerate(grid):
            g.spot_multiplier[j] = column.spot_multiplier
            g.weight[j] = column.weight[0] / column.weight[1]
            g.coin_factor[j] = 1.0
            g.vol_kind[j] = column.vol
        g.kind = GRID_SPAN
        g.look_ahead_ns = parameters.look_ahead_days * <int64_t>DAY_NS
        self.take_factors(underlying, parameters)
        g.vol_up = g.vol_down = parameters.vol_scan_range_ppm / 1_000_000
        g.vol_points = parameters.vol_scan_kind == "points"
        g.minimum_move = parameters.delivery_ppm / 1_000_000
        g.boundary_days = parameters.delivery_days
        for j in range(7):
            g.delta_weight[j] = parameters.delta_weights_ppm[j] / sum(parameters.delta_weights_ppm)
            g.delta_multiplier[j] = (3_000_000 + parameters.price_scan_range_ppm * THIRDS[j]) / 3_000_000

    # ------------------------------------------------------------------ listing

    def add_chain(self, int underlying, int currency):
        """Index of the (underlying, settlement) chain, made when new."""
        cdef int i
        cdef Chain* grown
        for i in range(self.chain_count):
            if self.chain[i].underlying == underlying and self.chain[i].currency == currency:
                return i
        grown = <Chain*>realloc(self.chain, (self.chain_count + 1) * sizeof(Chain))
        if grown == NULL:
            raise MemoryError()
        self.chain = grown
        memset(&grown[self.chain_count], 0, sizeof(Chain))
        grown[self.chain_count].underlying = underlying
        grown[self.chain_count].currency = currency
        self.chain_count += 1
        return self.chain_count - 1

    cdef int bucket_of(self, int underlying, int64_t expiry_ns) noexcept:
        """Bucket of an expiry, -1 when nothing with that expiry is listed."""
        cdef int b
        if expiry_ns == 0:
            return 0
        for b in range(1, MAX_EXPIRIES):
            if self.bucket_expiry_ns[underlying * MAX_EXPIRIES + b] == expiry_ns:
                return b
        return -1

    def expiries(self, int underlying):
        """Expiries in use, as a set of ns."""
        cdef int b
        cdef int base = underlying * MAX_EXPIRIES
        return {self.bucket_expiry_ns[base + b] for b in range(1, MAX_EXPIRIES) if self.bucket_use[base + b]}

    def max_expiries(self):
        """How many different expiries an underlying may have."""
        return MAX_EXPIRIES - 1

    def take_bucket(self, int underlying, int64_t expiry_ns):
        """Bucket for a new listing (smallest free one for a new expiry); -1 when all are in use."""
        cdef int b = self.bucket_of(underlying, expiry_ns)
        cdef int base = underlying * MAX_EXPIRIES
        if b < 0:
            for b in range(1, MAX_EXPIRIES):
                if self.bucket_use[base + b] == 0:
                    break
            else:
                return -1
            self.bucket_expiry_ns[base + b] = expiry_ns
            self.forward_e8[base + b] = 0
        self.bucket_use[base + b] += 1
        self.bucket_high[underlying] = max(self.bucket_high[underlying], b + 1)
        return b

    def chain_accepts(self, int chain, spec):
        """'' when the option fits the chain (one lot size and settlement style each), else why not."""
        cdef Chain* c = &self.chain[chain]
        if spec.kind != "option" or c.pair_count == 0:
            return ""
        if bool(c.option_inverse) != spec.inverse or c.option_lot != spec.lot_size_e8 / 1e8:
            return f"{spec.name}: options of one chain share lot size and settlement style"
        return ""

    def listed(self, uint32_t slot):
        """Clean rows for a newly listed instrument; `rebuild_pairs` of its chain must follow for options."""
        cdef Instrument* row = &self.instruments.at[slot]
        self.shape[row.underlying] += 1
        self.vol_e6[slot] = 0
        self.row_cap[slot] = 0
        self.delta_e10[slot] = 0
        self.charged_e10[slot] = 0
        memset(&self.rows_coin[<size_t>slot * self.scenario_count], 0, self.scenario_count * sizeof(double))
        memset(&self.rows_usd[<size_t>slot * self.scenario_count], 0, self.scenario_count * sizeof(double))
        if row.kind == KIND_OPTION:
            self.chain[row.chain].option_inverse = row.inverse
            self.chain[row.chain].option_lot = row.lot_size
        elif row.leg_count:
            self._sum_legs(slot)

    def delisted(self, uint32_t slot):
        """Drop an instrument whose slot is being freed."""
        cdef Instrument* row = &self.instruments.at[slot]
        cdef int at = row.underlying * MAX_EXPIRIES + row.expiry_bucket
        self.chain[row.chain].version += 1
        self.shape[row.underlying] += 1
        self.bucket_use[at] -= 1
        if self.bucket_use[at] == 0 and row.expiry_bucket:
            self.bucket_expiry_ns[at] = 0
            self.forward_e8[at] = 0
            memset(&self.fixing[at], 0, sizeof(Fixing))

    def rebuild_pairs(self, int chain):
        """Pairs of a chain from the listing, in (expiry, strike) order; sets `pair` and `twin` of its options."""
        cdef Chain* c = &self.chain[chain]
        cdef uint32_t slot
        cdef Instrument* row
        cdef int32_t i
        pairs = {}
        for slot in range(self.instruments.high):
            row = &self.instruments.at[slot]
            if row.state != STATE_FREE and row.chain == chain and row.kind == KIND_OPTION:
                entry = pairs.setdefault((row.expiry_ns, row.strike_e8), [<uint32_t>NO_SLOT, <uint32_t>NO_SLOT])
                entry[0 if row.option_type == OPTION_CALL else 1] = slot
        if <int32_t>len(pairs) > c.pair_capacity:
            c.pair_capacity = len(pairs) * 2
            c.pair_call = <uint32_t*>realloc(c.pair_call, c.pair_capacity * sizeof(uint32_t))
            c.pair_put = <uint32_t*>realloc(c.pair_put, c.pair_capacity * sizeof(uint32_t))
            if c.pair_call == NULL or c.pair_put == NULL:
                raise MemoryError()
        c.pair_count = len(pairs)
        for i, key in enumerate(sorted(pairs)):
            call, put = pairs[key]
            c.pair_call[i] = call
            c.pair_put[i] = put
            if <uint32_t>call != NO_SLOT and <uint32_t>put != NO_SLOT:
                # a newly listed side takes over the pair's vol at once
                if self.vol_e6[<uint32_t>call] == 0:
                    self.vol_e6[<uint32_t>call] = self.vol_e6[<uint32_t>put]
                if self.vol_e6[<uint32_t>put] == 0:
                    self.vol_e6[<uint32_t>put] = self.vol_e6[<uint32_t>call]
            if <uint32_t>call != NO_SLOT:
                self.instruments.at[<uint32_t>call].pair = i
                self.instruments.at[<uint32_t>call].twin = put
            if <uint32_t>put != NO_SLOT:
                self.instruments.at[<uint32_t>put].pair = i
                self.instruments.at[<uint32_t>put].twin = call

    # ------------------------------------------------------------------ repricing

    cdef void _refresh_grid(self, int underlying, int64_t time_ns) noexcept:
        """Index-dependent columns: coin prices, dampener in coin, roll moves, the delta threshold."""
        cdef Grid* g = &self.grid[underlying]
        cdef double index = self.index_e8[underlying] / 1e8
        cdef double unit
        cdef double years, move
        cdef int j, b
        cdef bint near
        cdef int64_t expiry
        if self.coin_scale[underlying]:
            unit = index * 1e4 / self.coin_scale[underlying] * 1099511627776.0
            g.coin_base_q40 = <int64_t>nearest(unit)
            for j in range(self.scenario_count):
                g.coin_price_q40[j] = <int64_t>nearest(unit * (1.0 + g.weight[j] * (g.spot_multiplier[j] - 1.0)))
        for j in range(self.scenario_count):
            g.dampener_coin[j] = nearest(g.dampener_ratio[j] * (g.dampener_usd_amount / index) * 1e6)
        for b in range(MAX_EXPIRIES):
            expiry = self.bucket_expiry_ns[underlying * MAX_EXPIRIES + b]
            if g.kind == GRID_SPAN:
                near = expiry > 0 and expiry - time_ns <= g.boundary_days * DAY_NS
                g.move_q32[b] = <int64_t>ceil(g.minimum_move * 4294967296.0) if near else 0
                continue
            years = (expiry - time_ns) / YEAR_NS if expiry > time_ns else 0.0
            move = k_exp(g.annual_risk * years) - 1.0
            g.move_q32[b] = <int64_t>nearest((move if move > g.minimum_move else g.minimum_move) * 4294967296.0)
        g.delta_threshold_e10 = <int64_t>nearest(g.delta_threshold_usd / index * 1e10)

    cdef void _guard(self, uint32_t slot, double notional) noexcept:
        """The bound on rows that order entry multiplies lots with: 32 x the lot's notional, doubled when passed."""
        cdef double cap = self.row_cap[slot]
        if cap == 0.0:
            cap = 1024.0
            while cap < 32.0 * notional:
                cap *= 2.0
        while cap < self.row_max[slot]:
            cap *= 2.0
        if self.row_cap[slot] != <int64_t>cap:
            self.row_cap[slot] = <int64_t>cap
            self.shape[self.instruments.at[slot].underlying] += 1

    cdef void _vol_shocks(self, Grid* g, int64_t left_ns, double vol, double* multiplier) noexcept:
        """Vol multipliers of every column for options with `left_ns` to expiry (days floored at one); where vols move
        by points, for those of one vol."""
        cdef double days = left_ns / DAY_NS
        cdef double base, up, down
        cdef int j
        if g.kind == GRID_SPAN:
            # time passes: the width of what is left after the look-ahead
            base = 0.0
            if left_ns > 0 and g.averaged:
                base = sqrt(average_years(left_ns - g.look_ahead_ns) / average_years(left_ns))
            elif left_ns > 0:
                base = sqrt(max(left_ns - g.look_ahead_ns, 0) / <double>left_ns)
            up, down = g.vol_up, g.vol_down
            if g.vol_points:
                up, down = up / vol, min(down / vol, 1.0)
            for j in range(self.scenario_count):
                multiplier[j] = base
                if g.vol_kind[j] == 1:
                    multiplier[j] = (1.0 + up) * base
                elif g.vol_kind[j] == 2:
                    multiplier[j] = (1.0 - down) * base
            return
        if days < 1.0:
            days = 1.0
        base = k_pow(30.0 / days, g.vega_power_short if days < g.boundary_days else g.vega_power_long)
        for j in range(self.scenario_count):
            if g.vol_kind[j] == 1:
                multiplier[j] = 1.0 + g.vol_up * base
            elif g.vol_kind[j] == 2:
                multiplier[j] = max(g.vol_multiplier_floor, 1.0 - g.vol_down * base)
            else:
                multiplier[j] = 1.0

    cdef void _mark_option(self, uint32_t slot, double notional) noexcept:
        """Integer mark, value per lot and delta from the kernel's doubles."""
        cdef Instrument* row = &self.instruments.at[slot]
        row.mark_minor = <int64_t>nearest(self.mark[slot] * row.lot_scale_minor)
        row.mark_price_e8 = <int64_t>nearest(self.mark[slot] * 1e8)
        row.marked = 1
        self.delta_e10[slot] = <int64_t>nearest(self.delta[slot] * row.lot_size * 1e10)
        self.charged_e10[slot] = self.delta_e10[slot]
        self._guard(slot, notional)

    # ------------------------------------------------------------------ settlement averages

    cdef double years_of(self, int underlying, int64_t left_ns) noexcept:
        """Years that an option's variance accrues over, `left_ns` before its expiry."""
        if self.averaged[underlying]:
            return average_years(left_ns)
        return left_ns / YEAR_NS if left_ns > 0 else 0.0

    cdef Fixing* fixing_of(self, Instrument* row) noexcept:
        return &self.fixing[row.underlying * MAX_EXPIRIES + row.expiry_bucket]

    cdef int fix(self, int underlying, int bucket, int64_t known_e8, int64_t left_ns) except -1:
        """The average of an expiry has begun: its mean so far, and the time until it is complete. The contracts settle
        at a A + (1 - a) F, of which the open part alone moves."""
        cdef Fixing* f = &self.fixing[underlying * MAX_EXPIRIES + bucket]
        cdef int64_t forward = self.forward_e8[underlying * MAX_EXPIRIES + bucket]
        cdef int bad = 0
        if forward == 0:
            return 0
        if not f.settling:
            self.shape[underlying] += 1      # bands that were certified before know nothing of it
        left_ns = max(left_ns, 0)
        f.settling = True
        f.price_e8 = known_e8 + wide_mul_div_floor(forward - known_e8, left_ns, SETTLEMENT_WINDOW_NS, &bad)
        f.open = left_ns / <double>SETTLEMENT_WINDOW_NS
        f.share = f.open * forward / f.price_e8
        if bad:
            raise OverflowError(f"the settlement average of underlying {underlying} is out of range")
        return 0

    cdef void unfix(self, int underlying, int bucket) noexcept:
        """The average of an expiry has not begun."""
        memset(&self.fixing[underlying * MAX_EXPIRIES + bucket], 0, sizeof(Fixing))

    cdef int settling_rows(self, int underlying, int64_t time_ns) except -1:
        """Rows and marks of the options that settle at an average that has begun; returns how many were priced."""
        return 0

    cdef double settling_columns(self, Instrument* row, FutureInput* source) noexcept:
        """The grid as such a future sees it; returns the share of its average that is open."""
        return 1.0

    # ------------------------------------------------------------------ chains

    cdef int _gather_pairs(self, int chain, int64_t time_ns, ChainInput* source, int bucket) except -1:
        """Pairs that have a vol and a forward, with their expiries, returns how many: those of a bucket whose average
        has begun (forwards and vols are then those of the average), or with -1 all that settle at none yet."""
        cdef Chain* c = &self.chain[chain]
        cdef Grid* g = &self.grid[c.underlying]
        cdef int64_t* forward_e8 = self.forward_e8 + c.underlying * MAX_EXPIRIES
        cdef int32_t* expiry_of = self.scratch_int
        cdef int32_t* call_row = self.scratch_int + self.instruments.capacity
        cdef int32_t* put_row = call_row + self.instruments.capacity
        cdef double* strike = self.scratch
        cdef double* vol = strike + self.instruments.capacity
        cdef double* forward = vol + self.instruments.capacity
        cdef double* years = forward + self.expiry_room
        cdef double* multiplier = years + self.expiry_room
        cdef int32_t compact[MAX_EXPIRIES]
        cdef int32_t expiries = 0, n = 0, i, e
        cdef uint32_t slot
        cdef Instrument* row
        cdef Fixing* fixing
        for i in range(MAX_EXPIRIES):
            compact[i] = -1
        for i in range(c.pair_count):
            slot = c.pair_call[i] if c.pair_call[i] != NO_SLOT else c.pair_put[i]
            row = &self.instruments.at[slot]
            if self.vol_e6[slot] == 0 or forward_e8[row.expiry_bucket] == 0:
                continue
            fixing = self.fixing_of(row)
            if (row.expiry_bucket != bucket) if bucket >= 0 else fixing.settling:
                continue
            e = -1 if g.vol_points else compact[row.expiry_bucket]   # shocks are then each pair's own
            if e < 0:
                e = expiries
                expiries += 1
                compact[row.expiry_bucket] = e
                forward[e] = (fixing.price_e8 if bucket >= 0 else forward_e8[row.expiry_bucket]) / 1e8
                years[e] = self.years_of(c.underlying, row.expiry_ns - time_ns)
                self._vol_shocks(g, row.expiry_ns - time_ns, self.vol_e6[slot] / 1e6,
                                 multiplier + e * self.scenario_count)
            expiry_of[n] = e
            strike[n] = row.strike_e8 / 1e8
            vol[n] = self.vol_e6[slot] / 1e6
            if bucket >= 0:
                vol[n] *= fixing.share
            call_row[n] = <int32_t>c.pair_call[i] if c.pair_call[i] != NO_SLOT else -1
            put_row[n] = <int32_t>c.pair_put[i] if c.pair_put[i] != NO_SLOT else -1
            n += 1
        source.pair_count = n
        source.expiry_count = expiries
        source.expiry_of_pair = expiry_of
        source.strike = strike
        source.vol = vol
        source.forward = forward
        source.years = years
        source.vol_multiplier = multiplier
        source.call_row = call_row
        source.put_row = put_row
        return n

    cdef int chain_input(self, int chain, int64_t time_ns, ChainInput* source) except -1:
        """A chain's options as the pricer takes them, at the current marks, without those whose settlement average has
        begun; returns how many pairs. The arrays are scratch room of this object: they hold until the next call."""
        return self._chain_input(chain, time_ns, source, -1)

    cdef int _chain_input(self, int chain, int64_t time_ns, ChainInput* source, int bucket) except -1:
        """The same of the pairs of a bucket whose average has begun, see _gather_pairs."""
        cdef Chain* c = &self.chain[chain]
        cdef Grid* g = &self.grid[c.underlying]
        source.scenario_count = self.scenario_count
        source.inverse = c.option_inverse
        source.spot_multiplier = g.spot_multiplier
        source.vol_floor = g.vol_floor
        source.weight = g.weight
        source.coin_factor = g.coin_factor
        source.index_price = self.index_e8[c.underlying] / 1e8
        source.lot_coin = c.option_lot
        return self._gather_pairs(chain, time_ns, source, bucket)

    cdef int _reprice_options(self, int chain, int64_t time_ns) except -1:
        """Rows and marks of a chain's options; returns how many were priced."""
        cdef Chain* c = &self.chain[chain]
        cdef ChainInput source
        cdef int priced
        if self.chain_input(chain, time_ns, &source) == 0:
            return 0
        self._priced(chain, &source)
        priced = self._marked_pairs(chain, &source)
        if self.grid[c.underlying].kind == GRID_SPAN:
            self._composite_deltas(chain, &source, NULL)
        return priced

    cdef int _priced(self, int chain, const ChainInput* source) except -1:
        """Rows, marks and deltas of what the kernel is given, into the tables."""
        cdef ChainOutput target
        cdef int fault
        target.rows_coin = self.rows_coin
        target.rows_usd = self.rows_usd
        target.mark = self.mark
        target.delta = self.delta
        target.row_max = self.row_max
        fault = reprice_chain(source, &target)
        if fault != KERNEL_OK:
            raise ValueError(f"repricing of chain {chain} refused its input ({fault})")
        return 0

    cdef int _marked_pairs(self, int chain, ChainInput* source) noexcept:
        """Integer marks of the options of pairs that the kernel has priced; returns how many."""
        cdef Chain* c = &self.chain[chain]
        cdef double notional = c.option_lot * source.index_price * 1e4
        cdef int32_t i, priced = 0
        if c.option_inverse:
            notional = max(notional, c.option_lot * 1e10)
        for i in range(source.pair_count):
            if source.call_row[i] >= 0:
                self._mark_option(source.call_row[i], notional)
                priced += 1
            if source.put_row[i] >= 0:
                self._mark_option(source.put_row[i], notional)
                priced += 1
        return priced

    cdef int _composite_deltas(self, int chain, ChainInput* source, Fixing* fixing) except -1:
        """What `span16` charges on: deltas of the dollar price at its seven prices after the look-ahead, weighted; with
        `fixing` of an average that has begun, whose open part alone moves."""
        cdef Chain* c = &self.chain[chain]
        cdef Grid* g = &self.grid[c.underlying]
        cdef double forward[7]
        cdef double strike[7]
        cdef double vol[7]
        cdef double years[7]
        cdef double call[7]
        cdef double out[6][7]
        cdef double* target[6]
        cdef double later, sum_, moved, open = 1.0 if fixing == NULL else fixing.open
        cdef int32_t i
        cdef int j
        for j in range(6):
            target[j] = out[j]
        for i in range(source.pair_count):
            later = max(source.years[source.expiry_of_pair[i]] - g.look_ahead_ns / YEAR_NS, 0.0)
            if g.averaged:
                later = average_years(self.instruments.at[
                    source.call_row[i] if source.call_row[i] >= 0 else source.put_row[i]].expiry_ns
                    - self.pricing_ns - g.look_ahead_ns)
            for j in range(7):
                moved = g.delta_multiplier[j]
                if fixing != NULL:
                    moved = 1.0 + fixing.share * (moved - 1.0)
                forward[j] = source.forward[source.expiry_of_pair[i]] * moved
                strike[j] = source.strike[i]
                vol[j] = source.vol[i] if fixing == NULL else source.vol[i] * (g.delta_multiplier[j] / moved)
                years[j] = later
                call[j] = 1.0
            black76_arrays(7, forward, strike, vol, years, call, target, 6)
            sum_ = 0.0
            for j in range(7):
                sum_ += g.delta_weight[j] * out[1][j]
            if source.call_row[i] >= 0:
                self.charged_e10[source.call_row[i]] = <int64_t>nearest(sum_ * open * c.option_lot * 1e10)
            if source.put_row[i] >= 0:
                self.charged_e10[source.put_row[i]] = <int64_t>nearest((sum_ - 1.0) * open * c.option_lot * 1e10)
        return 0

    cdef int _reprice_future(self, uint32_t slot) except -1:
        """Rows of a future or perpetual at its mark (set by the caller), that of its average where it settles."""
        cdef Instrument* row = &self.instruments.at[slot]
        cdef Grid* g = &self.grid[row.underlying]
        cdef FutureInput source
        cdef FutureOutput target
        cdef double mark = row.mark_price_e8 / 1e8, open_ = 1.0
        cdef int fault
        source.scenario_count = self.scenario_count
        source.inverse = row.inverse
        source.clamp_mode = 1
        source.forward = mark
        source.index_price = self.index_e8[row.underlying] / 1e8
        source.lot_usd = row.lot_size
        source.lot_coin = row.lot_size
        source.spot_multiplier = g.spot_multiplier
        source.weight = g.weight
        source.coin_factor = g.coin_factor
        source.future_move_clamp = g.move_clamp
        if row.expiry_bucket and self.fixing_of(row).settling:
            open_ = self.settling_columns(row, &source)
        target.row_coin = &self.rows_coin[<size_t>slot * self.scenario_count]
        target.row_usd = &self.rows_usd[<size_t>slot * self.scenario_count]
        fault = future_row(&source, &target)
        if fault != KERNEL_OK:
            raise ValueError(f"repricing of {self.instruments.names[slot]} refused its input ({fault})")
        self.mark[slot] = mark
        self.delta[slot] = open_
        self.row_max[slot] = target.row_max
        self.delta_e10[slot] = <int64_t>nearest(target.delta_coin * open_ * 1e10)
        self.charged_e10[slot] = self.delta_e10[slot]
        self._mark_future(slot, mark)
        self._guard(slot, target.delta_coin * 1e10)
        return 0

    cdef void _mark_future(self, uint32_t slot, double mark) noexcept:
        """A lot's value at the mark."""
        cdef Instrument* row = &self.instruments.at[slot]
        if row.inverse:
            row.mark_minor = -<int64_t>nearest(row.lot_scale_minor / mark)
        else:
            row.mark_minor = <int64_t>nearest(mark * row.lot_scale_minor)
        row.marked = 1

    cdef bint _sum_legs(self, uint32_t slot) noexcept:
        """A combo's mark, row, delta and row bound: exact sums over its legs; whether all of these are marked."""
        cdef Instrument* row = &self.instruments.at[slot]
        cdef double* coin = &self.rows_coin[<size_t>slot * self.scenario_count]
        cdef double* usd = &self.rows_usd[<size_t>slot * self.scenario_count]
        cdef uint32_t leg
        cdef int64_t ratio
        cdef int i, j
        for i in range(row.leg_count):
            if not self.instruments.at[row.leg_slot[i]].marked:
                return False
        row.mark_price_e8 = 0
        row.mark_minor = 0
        self.delta_e10[slot] = 0
        self.charged_e10[slot] = 0
        self.row_cap[slot] = 0
        memset(coin, 0, self.scenario_count * sizeof(double))
        memset(usd, 0, self.scenario_count * sizeof(double))
        for i in range(row.leg_count):
            leg = row.leg_slot[i]
            ratio = row.leg_ratio[i]
            row.mark_price_e8 += ratio * self.instruments.at[leg].mark_price_e8
            row.mark_minor += ratio * self.instruments.at[leg].mark_minor
            self.delta_e10[slot] += ratio * self.delta_e10[leg]
            self.charged_e10[slot] += ratio * self.charged_e10[leg]
            self.row_cap[slot] += (ratio if ratio > 0 else -ratio) * self.row_cap[leg]
            for j in range(self.scenario_count):
                coin[j] += ratio * self.rows_coin[<size_t>leg * self.scenario_count + j]
                usd[j] += ratio * self.rows_usd[<size_t>leg * self.scenario_count + j]
        row.marked = 1
        return True

    cdef int reprice(self, int underlying, int64_t time_ns) except -1:
        """All rows and marks of an underlying; futures' mark prices are set already. Returns instruments priced."""
        cdef int c, priced = 0
        cdef uint32_t slot, i
        cdef Instrument* row
        self.pricing_ns = time_ns
        self._refresh_grid(underlying, time_ns)
        for c in range(self.chain_count):
            if self.chain[c].underlying == underlying:
                self.chain[c].version += 1
                priced += self._reprice_options(c, time_ns)
        priced += self.settling_rows(underlying, time_ns)
        for slot in range(self.instruments.high):
            row = &self.instruments.at[slot]
            if row.state != STATE_FREE and row.underlying == underlying and row.kind < KIND_OPTION:
                if row.mark_price_e8 > 0:
                    self._reprice_future(slot)
                    priced += 1
        for i in range(self.instruments.combo_count):
            slot = self.instruments.combos[i]
            if self.instruments.at[slot].underlying == underlying:
                priced += self._sum_legs(slot)
        self.revision[underlying] += 1
        self.priced_ns[underlying] = time_ns
        return priced

    cdef int64_t vega_e8(self, uint32_t slot, int64_t time_ns) noexcept:
        """Dollar vega of one lot per vol point, 1e-8 USD, at the last mark's vol and forward; 0 for futures, combos
        the sum over their legs."""
        cdef Instrument* row = &self.instruments.at[slot]
        cdef Greeks out
        cdef double years, share = 1.0
        cdef int64_t forward, total = 0
        cdef int i
        if row.leg_count:
            for i in range(row.leg_count):
                total += row.leg_ratio[i] * self.vega_e8(row.leg_slot[i], time_ns)
            return total
        if row.kind != KIND_OPTION:
            return 0
        forward = self.forward_e8[row.underlying * MAX_EXPIRIES + row.expiry_bucket]
        if forward == 0 or self.vol_e6[slot] == 0:
            return 0
        years = self.years_of(row.underlying, row.expiry_ns - time_ns)
        if self.fixing_of(row).settling:
            forward, share = self.fixing_of(row).price_e8, self.fixing_of(row).share
        black76(forward / 1e8, row.strike_e8 / 1e8, self.vol_e6[slot] / 1e6 * share, years,
                row.option_type == OPTION_CALL, &out)
        return <int64_t>nearest(out.vega * share * row.lot_size * 1e6)

    # ------------------------------------------------------------------ prices beside the mark

    cdef bint price_at_vols(self, uint32_t slot, const double* vol, int64_t* price_e8, int count) noexcept:
        """Prices (1e-8 of the quote currency) of an option at up to 8 vols and all else as at its mark, by the mark's
        own arithmetic; False where it has no forward or a vol is not a number that can be priced."""
        cdef Instrument* row = &self.instruments.at[slot]
        cdef int64_t forward_e8 = self.forward_e8[row.underlying * MAX_EXPIRIES + row.expiry_bucket]
        cdef int64_t left_ns = row.expiry_ns - self.priced_ns[row.underlying]
        cdef double forward = forward_e8 / 1e8
        cdef double years = self.years_of(row.underlying, left_ns)
        cdef double open_vol[8]
        cdef double strike[8]
        cdef double call[8]
        cdef double put[8]
        cdef int32_t expiry[8]
        cdef ChainInput source
        cdef int i
        if forward_e8 == 0 or not 0 < count <= 8:
            return False
        memset(&source, 0, sizeof(ChainInput))
        for i in range(count):
            strike[i] = row.strike_e8 / 1e8
            expiry[i] = 0
            open_vol[i] = vol[i]
        if self.fixing_of(row).settling:
            forward = self.fixing_of(row).price_e8 / 1e8
            for i in range(count):
                open_vol[i] *= self.fixing_of(row).share
        source.pair_count = count
        source.expiry_count = 1
        source.inverse = row.inverse
        source.expiry_of_pair = expiry
        source.strike = strike
        source.vol = open_vol
        source.forward = &forward
        source.years = &years
        if chain_marks(&source, call, put) != KERNEL_OK:
            return False
        for i in range(count):
            price_e8[i] = <int64_t>nearest((call[i] if row.option_type == OPTION_CALL else put[i]) * 1e8)
        return True

    # ------------------------------------------------------------------ reads

    def row(self, uint32_t slot, bint usd):
        """A copy of an instrument's risk row as integers."""
        cdef double* rows = self.rows_usd if usd else self.rows_coin
        return [int(rows[<size_t>slot * self.scenario_count + j]) for j in range(self.scenario_count)]

    def greeks(self, uint32_t slot, int64_t time_ns):
        """(delta, gamma, vega, theta, rho) per coin at current marks; futures have delta only, combos sums."""
        cdef Instrument* row = &self.instruments.at[slot]
        cdef Greeks out
        cdef double years, vol
        cdef Fixing* fixing
        cdef int64_t forward
        if row.leg_count:
            found = [(ratio, self.greeks(leg, time_ns)) for leg, ratio in self.instruments.legs(slot)]
            return tuple([sum([ratio * greeks[i] for ratio, greeks in found]) for i in range(5)])
        fixing = self.fixing_of(row)
        if row.kind != KIND_OPTION:
            return (fixing.open if fixing.settling else 1.0, 0.0, 0.0, 0.0, 0.0)
        forward = self.forward_e8[row.underlying * MAX_EXPIRIES + row.expiry_bucket]
        if forward == 0 or self.vol_e6[slot] == 0:
            return (0.0, 0.0, 0.0, 0.0, 0.0)
        years = self.years_of(row.underlying, row.expiry_ns - time_ns)
        if fixing.settling:      # theta: the time until the average is complete passes a third as fast for its variance
            vol = self.vol_e6[slot] / 1e6
            black76(fixing.price_e8 / 1e8, row.strike_e8 / 1e8, vol * fixing.share, years,
                    row.option_type == OPTION_CALL, &out)
            return (fixing.open * (out.delta + out.vega * vol * (1.0 - fixing.share) / (fixing.price_e8 / 1e8)),
                    out.gamma * fixing.open * fixing.open, out.vega * fixing.share, out.theta / 3.0,
                    out.rho * fixing.open)
        black76(forward / 1e8, row.strike_e8 / 1e8, self.vol_e6[slot] / 1e6, years,
                row.option_type == OPTION_CALL, &out)
        return (out.delta, out.gamma, out.vega, out.theta, out.rho)

    def pairs(self, int underlying):
        """[(slot of one option of the pair, expiry_ns, strike_e8)] over the underlying's chains."""
        cdef int c
        cdef int32_t i
        cdef uint32_t slot
        out = []
        for c in range(self.chain_count):
            if self.chain[c].underlying == underlying:
                for i in range(self.chain[c].pair_count):
                    slot = self.chain[c].pair_call[i]
                    if slot == NO_SLOT:
                        slot = self.chain[c].pair_put[i]
                    out.append((slot, self.instruments.at[slot].expiry_ns, self.instruments.at[slot].strike_e8))
        return out

    def forwards(self, int underlying):
        """{expiry_ns: forward_e8} of listed expiries that have one."""
        cdef int b
        cdef int base = underlying * MAX_EXPIRIES
        return {
            self.bucket_expiry_ns[base + b]: self.forward_e8[base + b]
            for b in range(1, MAX_EXPIRIES)
            if self.bucket_expiry_ns[base + b] and self.forward_e8[base + b]
        }

    def export(self):
        """Canonical state: prices and vols, not the rows that follow from them."""
        cdef int u, b
        cdef uint32_t slot
        return [
            [self.index_e8[u] for u in range(self.underlying_count)],
            [self.revision[u] for u in range(self.underlying_count)],
            [[u, b, self.bucket_expiry_ns[u * MAX_EXPIRIES + b], self.forward_e8[u * MAX_EXPIRIES + b]]
             for u in range(self.underlying_count) for b in range(MAX_EXPIRIES)
             if self.bucket_use[u * MAX_EXPIRIES + b]],
            [[slot, self.vol_e6[slot], self.row_cap[slot]] for slot in range(self.instruments.high)
             if self.instruments.at[slot].state != STATE_FREE],
        ]
