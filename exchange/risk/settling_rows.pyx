"""Risk rows of contracts whose settlement average has begun.

In the half hour before an expiry the mean A of its index samples so far is known for the fraction a of the average that
has passed; the contracts settle at F_s = a A + (1 - a) F (1 + m) in a column that moves the forward by m. With
s = (1 - a) F / F_0, the part of F_0 = a A + (1 - a) F that moves, that is F_0 (1 + s m). Options have the vol
sigma (1 - a) F (1 + m) / F_s of the open part and its variance over a third of what is left. The coin's own move is not
damped: an inverse contract's coins are worth the index at 1 + m. docs/margin.md, "Settlement".
"""

from libc.stdint cimport int64_t

from exchange.market.instrument cimport OPTION_CALL, Instrument
from exchange.risk.risk_rows cimport GRID_SPAN, MAX_EXPIRIES
from margin_ext.kernels cimport ChainInput, FutureInput, black76_arrays

cdef enum:
    VEGA = 3                 # of the Greeks in the pricer's order


cdef class SettlingRows(RiskRows):
    """Risk rows; the pricer's own with columns of the expiry's own."""

    cdef void _columns(self, Grid* g, Fixing* fixing, bint inverse, bint clamped) noexcept:
        """The grid as contracts of the expiry see it. The pricer values inverse P&L at the moved multiplier: weights
        take that back to the index's, and factors take the weights back in coin rows."""
        cdef double own
        cdef int j
        for j in range(self.scenario_count):
            own = g.spot_multiplier[j]
            if clamped and g.move_clamp[j] > 0.0:
                own = max(min(own, 1.0 + g.move_clamp[j]), 1.0 - g.move_clamp[j])
            self.moved[j] = 1.0 + fixing.share * (own - 1.0)
            self.ratio[j] = g.spot_multiplier[j] / self.moved[j]
            self.moved_weight[j] = g.weight[j] * self.ratio[j] if inverse else g.weight[j]
            self.moved_factor[j] = g.coin_factor[j] / self.ratio[j]
            self.moved_floor[j] = g.vol_floor[j] * (fixing.share * self.ratio[j])

    cdef int settling_rows(self, int underlying, int64_t time_ns) except -1:
        cdef int b, k, priced = 0
        for b in range(1, self.bucket_high[underlying]):
            if self.fixing[underlying * MAX_EXPIRIES + b].settling:
                for k in range(self.chain_count):
                    if self.chain[k].underlying == underlying:
                        priced += self._settling_options(k, b, time_ns)
        return priced

    cdef int _settling_options(self, int chain, int bucket, int64_t time_ns) except -1:
        """Rows, marks and deltas of a chain's options of the expiry; returns how many were priced."""
        cdef int u = self.chain[chain].underlying
        cdef Grid* g = &self.grid[u]
        cdef Fixing* fixing = &self.fixing[u * MAX_EXPIRIES + bucket]
        cdef ChainInput source
        cdef double* shocks
        cdef int i, priced
        if self._chain_input(chain, time_ns, &source, bucket) == 0:
            return 0
        self._columns(g, fixing, source.inverse, False)
        shocks = <double*>source.vol_multiplier
        for i in range(source.expiry_count * self.scenario_count):
            shocks[i] *= self.ratio[i % self.scenario_count]
        source.spot_multiplier = self.moved
        source.weight = self.moved_weight
        source.coin_factor = self.moved_factor
        source.vol_floor = self.moved_floor
        self._priced(chain, &source)
        for i in range(source.pair_count):
            self._open_delta(source.call_row[i], fixing, source.vol[i], source.years[0])
            self._open_delta(source.put_row[i], fixing, source.vol[i], source.years[0])
        priced = self._marked_pairs(chain, &source)
        if g.kind == GRID_SPAN:
            self._composite_deltas(chain, &source, fixing)
        return priced

    cdef void _open_delta(self, int slot, Fixing* fixing, double vol, double years) noexcept:
        """The option's delta in the forward: the open part alone moves, and with it its share of the vol."""
        cdef double price = fixing.price_e8 / 1e8
        cdef double out[6]
        cdef double* target[6]
        cdef double strike, call
        cdef int i
        if slot < 0:
            return
        strike = self.instruments.at[slot].strike_e8 / 1e8
        call = self.instruments.at[slot].option_type == OPTION_CALL
        for i in range(6):
            target[i] = &out[i]
        black76_arrays(1, &price, &strike, &vol, &years, &call, target, 6)
        self.delta[slot] = fixing.open * (
            self.delta[slot] + out[VEGA] * (self.vol_e6[slot] / 1e6) * ((1.0 - fixing.share) / price))

    cdef double settling_columns(self, Instrument* row, FutureInput* source) noexcept:
        """The grid as a dated future sees it whose average has begun; returns the share that is open."""
        cdef Fixing* fixing = self.fixing_of(row)
        self._columns(&self.grid[row.underlying], fixing, row.inverse, True)
        source.clamp_mode = 0
        source.spot_multiplier = self.moved
        source.weight = self.moved_weight
        source.coin_factor = self.moved_factor
        source.future_move_clamp = NULL
        return fixing.open
