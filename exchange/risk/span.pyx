"""`span16`: what stands beside the scenarios of an underlying that is margined by it. Definitions: docs/margin.md.

Calendar spreads by priority, the short-option minimum, the net option value, and credits between underlyings. Deltas
are 1e-10 coin; figures of a requirement are in the row unit of their margin entity (1e-10 coin or 1e-4 USD). All are
integers; charges are rounded up and credits down.
"""

from libc.stdlib cimport calloc, free

import msgspec

from exchange.risk.quote_caps cimport QuoteSum, paired_column
from exchange.risk.rounding cimport lot_units
from exchange.risk.spreads import credit_rounding, spreads
from exchange.wide cimport wide_mul_div_ceil, wide_mul_div_floor, wide_mul_shift

cdef int64_t PPM = 1_000_000
SCENARIOS = 16
cdef int64_t ONE = <int64_t>1 << 40      # shares of a delta


cdef class Spans:
    """Charges of all underlyings; those of a `matrix` underlying are zero."""

    def __cinit__(self, RiskRows rows, config):
        cdef int u, i, k
        self.rows = rows
        names = [underlying.name for underlying in config.underlyings]
        credits = () if config.span_credits is msgspec.UNSET else config.span_credits.credits
        self.set = <SpanSet*>calloc(rows.underlying_count, sizeof(SpanSet))
        self.credit = <SpanCredit*>calloc(len(credits) + 1, sizeof(SpanCredit))
        if self.set == NULL or self.credit == NULL:
            raise MemoryError()
        rounding = credit_rounding(config.span_credits, names) if credits else [0] * len(names)
        for u, underlying in enumerate(config.underlyings):
            if underlying.span is not msgspec.UNSET:
                self._fill(u, underlying.span)
                self.set[u].credit_rounding = rounding[u]
        for i, credit in enumerate(sorted(credits, key=lambda one: one.priority)):
            self.credit[i].leg_count = len(credit.legs)
            self.credit[i].rate_ppm = credit.rate_ppm
            for k, leg in enumerate(credit.legs):
                self.credit[i].underlying[k] = names.index(leg.underlying)
                self.credit[i].ratio_ppm[k] = leg.ratio_ppm
                self.credit[i].is_short[k] = leg.side == "short"
        self.credit_count = len(credits)

    def __dealloc__(self):
        free(self.set)
        free(self.credit)

    def _fill(self, int underlying, parameters):
        cdef SpanSet* s = &self.set[underlying]
        cdef int k
        served = spreads(parameters)
        s.spreads.step_count = len(served.steps)
        s.spreads.node_count = len(served.up)
        for k, step in enumerate(served.steps):
            s.spreads.step[k].first, s.spreads.step[k].second = step.first, step.second
            s.spreads.step[k].first_ratio, s.spreads.step[k].second_ratio = step.first_ratio, step.second_ratio
            s.spreads.step[k].rate = step.rate
        for k in range(s.spreads.node_count):
            s.spreads.up[k], s.spreads.down[k] = served.up[k], served.down[k]
        s.spreads.most = max([0] + served.up + served.down)
        s.spreads.slack, s.spreads.noise = served.slack, served.noise
        s.tier_count = len(served.tier_ns)
        for k, (start, end) in enumerate(served.tier_ns):
            s.tier_from_ns[k], s.tier_to_ns[k] = start, end
        s.short_ppm = parameters.short_option_minimum_ppm
        s.larger_side = parameters.short_option_method == "maximum"

    cdef void _tiers(self, int underlying) noexcept:
        """Which tier each expiry stands in at the last mark."""
        cdef SpanSet* s = &self.set[underlying]
        cdef int b, k
        cdef int64_t left, expiry
        if s.revision == self.rows.revision[underlying] and s.shape == self.rows.shape[underlying]:
            return
        s.revision = self.rows.revision[underlying]
        s.shape = self.rows.shape[underlying]
        for b in range(MAX_EXPIRIES):
            expiry = self.rows.bucket_expiry_ns[underlying * MAX_EXPIRIES + b]
            left = max(expiry - self.rows.priced_ns[underlying], 0)
            s.tier[b] = -1
            for k in range(s.tier_count):
                if s.tier_from_ns[k] <= left < s.tier_to_ns[k]:
                    s.tier[b] = k

    cdef int64_t calendar(self, int underlying, ScenarioBook** books, int count, int ordered, int* bad) noexcept:
        """Calendar charge over some books of one underlying, 1e-10 coin. Bit k of `ordered`: the open orders of
        books[k] count, in any combination of fills."""
        cdef int64_t delta[MAX_EXPIRIES]
        cdef int64_t up[MAX_EXPIRIES]
        cdef int64_t down[MAX_EXPIRIES]
        cdef int64_t capped = 0
        cdef QuoteSum* quote
        cdef int b, k, i, buckets = self.rows.bucket_high[underlying]
        self._tiers(underlying)
        for b in range(buckets):
            delta[b] = up[b] = down[b] = 0
            for k in range(count):
                delta[b] += books[k].delta[b]
                if ordered >> k & 1:
                    up[b] += books[k].orders.delta_up[b]
                    down[b] += books[k].orders.delta_down[b]
        for k in range(count):
            if not ordered >> k & 1 or books[k].quotes == NULL:
                continue
            for i in range(books[k].quotes.count):
                quote = &books[k].quotes.at[i]
                if not quote.whole:
                    capped += quote.cap_delta_e10
                    continue
                for b in range(buckets):
                    up[b] += quote.delta_up[b]
                    down[b] += quote.delta_down[b]
        return span_calendar(&self.set[underlying].spreads, self.set[underlying].tier, buckets, delta, up, down,
                             ordered != 0, capped, bad)

    cdef int64_t short_minimum(self, int underlying, ScenarioBook** books, int count, int ordered, int* bad) noexcept:
        """The least requirement of short options, 1e-10 coin."""
        cdef SpanSet* s = &self.set[underlying]
        cdef int64_t calls = 0, puts = 0
        cdef int k
        for k in range(count):
            calls += books[k].short_open_e10[0] if ordered >> k & 1 else books[k].short_e10[0]
            puts += books[k].short_open_e10[1] if ordered >> k & 1 else books[k].short_e10[1]
        return wide_mul_div_ceil(max(calls, puts) if s.larger_side else calls + puts, s.short_ppm, PPM, bad)

    cdef void scan(self, SpanPart* part, int which, const int64_t* losses) noexcept:
        """Scan risk of a scenario vector, and its price risk: what the worst loss is beyond mere passing of time.

        Volatility-adjusted risk is the mean of the worst scenario (the first where several tie) and the one of the
        same price with the other vol; time risk the mean of scenarios 1 and 2; price risk their difference."""
        cdef int j, worst = 0
        for j in range(1, SCENARIOS):
            if losses[j] > losses[worst]:
                worst = j
        part.scan[which] = max(losses[worst], 0)
        part.price_risk[which] = 0
        if losses[worst] > 0:
            part.price_risk[which] = max(
                0, losses[worst] + losses[paired_column(worst)] - losses[0] - losses[1]) // 2

    cdef bint _place(self, const SpanCredit* credit, const SpanPart* parts, int count, int* place) noexcept:
        """Where the legs' underlyings stand among the parts; False where one is not there."""
        cdef int k, p
        for k in range(credit.leg_count):
            place[k] = -1
            for p in range(count):
                if parts[p].underlying == credit.underlying[k]:
                    place[k] = p
            if place[k] < 0:
                return False
        return True

    cdef void credits(self, SpanPart* parts, int count, int which, int* bad) noexcept:
        """Credits for opposite deltas of several underlyings in one entity.

        By priority n = the least |delta| / ratio over the legs, where they stand as the credit's sides do or all the
        other way; each leg is credited n x ratio / |delta| x price risk x rate, and its delta consumed. With orders of
        the risk-reducing lane, an underlying that has any neither gives nor gets a credit."""
        cdef int64_t left[MAX_PARTS]
        cdef int64_t used[MAX_PARTS]
        cdef int64_t n, share, taken
        cdef int place[MAX_CREDIT_LEGS]
        cdef SpanCredit* credit
        cdef int i, k, p
        cdef bint fits, turned
        for p in range(count):
            left[p] = 0 if which and parts[p].ordered else parts[p].delta_e10
            used[p] = 0
            parts[p].credit[which] = 0
        for i in range(self.credit_count if count > 1 else 0):
            credit = &self.credit[i]
            fits = self._place(credit, parts, count, place)
            turned = False
            n = 0
            for k in range(credit.leg_count if fits else 0):
                p = place[k]
                if left[p] == 0:
                    fits = False
                    break
                if k == 0:
                    turned = (left[p] < 0) != credit.is_short[k]
                fits = fits and ((left[p] < 0) != credit.is_short[k]) == turned
                share = wide_mul_div_floor(left[p] if left[p] > 0 else -left[p], PPM, credit.ratio_ppm[k], bad)
                n = share if k == 0 else min(n, share)
            if not fits:
                continue
            for k in range(credit.leg_count):
                p = place[k]
                taken = wide_mul_div_floor(n, credit.ratio_ppm[k], PPM, bad)
                left[p] -= taken if left[p] > 0 else -taken
                used[p] += wide_mul_div_floor(taken, credit.rate_ppm, PPM, bad)
        for p in range(count):
            if used[p] > self.set[parts[p].underlying].credit_rounding:
                used[p] -= self.set[parts[p].underlying].credit_rounding
                n = parts[p].delta_e10 if parts[p].delta_e10 > 0 else -parts[p].delta_e10
                share = wide_mul_div_floor(used[p], <int64_t>1 << 40, n, bad)
                parts[p].credit[which] = wide_mul_shift(parts[p].price_risk[which], share, 40, bad)

    cdef void deltas(self, SpanPart* part, ScenarioBook** books, int count, int ordered) noexcept:
        """What open orders (bit k: those of books[k]) could add to a part's delta, and take from it."""
        cdef QuoteSum* quote
        cdef int b, k, i
        part.delta_up = part.delta_down = 0
        for k in range(count):
            if not ordered >> k & 1:
                continue
            for b in range(self.rows.bucket_high[part.underlying]):
                part.delta_up += books[k].orders.delta_up[b]
                part.delta_down += books[k].orders.delta_down[b]
            for i in range(books[k].quotes.count if books[k].quotes != NULL else 0):
                quote = &books[k].quotes.at[i]
                if not quote.whole:
                    part.delta_up += quote.cap_delta_e10
                    part.delta_down += quote.cap_delta_e10
                    continue
                for b in range(self.rows.bucket_high[part.underlying]):
                    part.delta_up += quote.delta_up[b]
                    part.delta_down += quote.delta_down[b]

    cdef void _least_shares(self, SpanPart* parts, int count, int64_t* share, int* bad) noexcept:
        """The least share of each part's price risk (2**-40) that is credited, whatever of the orders fills.

        Sides of deltas go through the credits as intervals: a leg finds at least `low` and at most `high` delta of the
        others' to stand against. `whole` is the least part of an own delta that earlier credits have left. A side that
        orders could turn has no share. docs/decisions/0043-credits-with-open-orders.md."""
        cdef SpanNode node[2 * MAX_PARTS]
        cdef SpanNode* own
        cdef SpanNode* one
        cdef int64_t least[MAX_PARTS]
        cdef int64_t most[MAX_PARTS]
        cdef int64_t whole[MAX_PARTS]
        cdef int64_t lost[MAX_PARTS]
        cdef int64_t low, high, rest, part
        cdef int place[MAX_CREDIT_LEGS]
        cdef SpanCredit* credit
        cdef int i, k, m, p, turned
        for p in range(count):
            low, high = parts[p].delta_e10 - parts[p].delta_down, parts[p].delta_e10 + parts[p].delta_up
            node[2 * p].low, node[2 * p].high = max(low, 0), max(high, 0)
            node[2 * p + 1].low, node[2 * p + 1].high = max(-high, 0), max(-low, 0)
            least[p], most[p] = max(low, -high), max(high, -low)
            whole[p], share[p] = ONE, 0
            lost[p] = self.set[parts[p].underlying].credit_rounding
        for i in range(self.credit_count):
            credit = &self.credit[i]
            if not self._place(credit, parts, count, place):
                continue
            for turned in range(2):
                for k in range(credit.leg_count):
                    own = &node[2 * place[k] + (credit.is_short[k] ^ turned)]
                    own.low_units = wide_mul_div_floor(own.low, PPM, credit.ratio_ppm[k], bad)
                    own.high_units = wide_mul_div_floor(own.high, PPM, credit.ratio_ppm[k], bad)
                for k in range(credit.leg_count):
                    p = place[k]
                    own = &node[2 * p + (credit.is_short[k] ^ turned)]
                    low = high = -1
                    for m in range(credit.leg_count):
                        one = &node[2 * place[m] + (credit.is_short[m] ^ turned)]
                        if m != k:
                            low = one.low_units if low < 0 else min(low, one.low_units)
                            high = one.high_units if high < 0 else min(high, one.high_units)
                    low = wide_mul_div_floor(low, credit.ratio_ppm[k], PPM, bad)
                    high = wide_mul_div_floor(high, credit.ratio_ppm[k], PPM, bad)
                    rest = 0 if credit.ratio_ppm[k] == PPM else (credit.ratio_ppm[k] + PPM - 1) // PPM
                    if least[p] > 0 and (credit.is_short[k] ^ turned) == (parts[p].delta_e10 < 0):
                        part = whole[p] - wide_mul_div_ceil(min(rest, least[p]), ONE, least[p], bad)
                        part = min(part, wide_mul_div_floor(min(low, most[p]), ONE, most[p], bad))
                        share[p] += wide_mul_div_floor(max(part, 0), credit.rate_ppm, PPM, bad)
                        lost[p] += 1
                        whole[p] -= wide_mul_div_ceil(min(high, least[p]), ONE, least[p], bad)
                        whole[p] = max(whole[p], 0)
                    own.low = max(own.low - high, 0)
                    own.high = min(own.high, max(own.high - low, rest))
        for p in range(count):
            if least[p] <= 0:
                continue
            share[p] -= wide_mul_div_ceil(min(lost[p], least[p]), ONE, least[p], bad) + 1
            share[p] = max(share[p], 0)

    cdef void credits_with_orders(self, SpanPart* parts, int count, int* bad) noexcept:
        """Credits that no fill of the open orders leaves smaller, scan risk taken together with them."""
        cdef int64_t share[MAX_PARTS]
        cdef int p
        self._least_shares(parts, count, share, bad)
        for p in range(count):
            if parts[p].bounded:
                parts[p].credit[1] = parts[p].scan[1] - span_bounded_loss(&parts[p], share[p], bad)
            else:
                parts[p].credit[1] = wide_mul_shift(parts[p].price_risk[1], share[p], 40, bad)

    def charge_of(self, int underlying, list deltas, list ups, list downs, bint ordered, int64_t capped=0):
        """Calendar charge of deltas by tier (the sides of each netted), 1e-10 coin: one expiry of each tier. With
        `ordered`, what it may become where `ups` and `downs` may be added and taken in any part, and `capped` more be
        moved anywhere. OverflowError beyond 64 bits."""
        cdef int64_t delta[MAX_EXPIRIES]
        cdef int64_t up[MAX_EXPIRIES]
        cdef int64_t down[MAX_EXPIRIES]
        cdef int8_t tier[MAX_EXPIRIES]
        cdef int b, bad = 0
        cdef int64_t charge
        for b in range(len(deltas)):
            delta[b], up[b], down[b], tier[b] = deltas[b], ups[b], downs[b], b
        charge = span_calendar(&self.set[underlying].spreads, tier, len(deltas), delta, up, down, ordered, capped,
                               &bad)
        if bad:
            raise OverflowError("calendar charge out of range")
        return charge

    def shares_of(self, list parts, bint ordered):
        """The share of price risk (2**-40) that credits leave each of `parts`: (underlying, delta, up, down). With
        `ordered` the least where `up` and `down` may be added and taken in any part. OverflowError beyond 64 bits."""
        cdef SpanPart part[MAX_PARTS]
        cdef int64_t share[MAX_PARTS]
        cdef int p, bad = 0
        for p, (underlying, delta, up, down) in enumerate(parts):
            part[p].underlying, part[p].delta_e10, part[p].delta_up, part[p].delta_down = underlying, delta, up, down
            part[p].price_risk[0] = ONE
        if ordered:
            self._least_shares(part, len(parts), share, &bad)
        else:
            self.credits(part, len(parts), 0, &bad)
        if bad:
            raise OverflowError("credits out of range")
        return [share[p] if ordered else part[p].credit[0] for p in range(len(parts))]

    def rounding_of(self, int underlying):
        """What whole units of spreads could credit too much, 1e-10 coin: taken off every credit."""
        return self.set[underlying].credit_rounding

    def explain(self, int underlying):
        """{expiry_ns: tier's number} of the expiries in use at the last mark."""
        cdef int b
        self._tiers(underlying)
        return {self.rows.bucket_expiry_ns[underlying * MAX_EXPIRIES + b]: self.set[underlying].tier[b]
                for b in range(MAX_EXPIRIES) if b == 0 or self.rows.bucket_use[underlying * MAX_EXPIRIES + b]}


cdef int64_t span_requirement(const SpanPart* part, int which, int64_t factor_ppm, int64_t lots, int* bad) noexcept:
    """factor x max(scan + charges - credit, short-option minimum) + concentration, and what keeps the option value from
    paying for anything else: at least the net option value, since the equity that meets it holds that."""
    cdef int64_t risk = max(part.scan[which] + part.charge[which] - part.credit[which], part.short_minimum[which])
    risk = wide_mul_div_ceil(max(risk, 0), factor_ppm, PPM, bad) + lots * lot_units(factor_ppm)
    risk += part.concentration[which]
    return max(risk, part.option_value[which])


cdef int64_t span_bounded_loss(const SpanPart* part, int64_t share, int* bad) noexcept:
    """The most that scan risk less its credit can be where at least `share` (2**-40) of the price risk is credited.

    Scan risk less a share h of price risk is (1 - h) x loss + h x (loss - price risk), both of the worst column and
    linear in the fills: the most of each bounds the sum, in every column that may be the worst."""
    cdef int64_t most = 0, loss, risk
    cdef int j
    for j in range(SPAN_COLUMNS):
        loss = part.loss[j]
        risk = 2 * loss - part.beyond[j]
        if risk > 0:     # rounding: what is credited may be a unit less
            loss = min(loss, loss + 1 - wide_mul_shift(risk, share, 41, bad))
        most = max(most, loss)
    return most


cdef void span_without_orders(SpanPart* part) noexcept:
    """No open orders count: the figures are those of the positions."""
    part.scan[1] = part.scan[0]
    part.charge[1] = part.charge[0]
    part.calendar_e10[1] = part.calendar_e10[0]
    part.delivery_e10[1] = part.delivery_e10[0]
    part.short_minimum[1] = part.short_minimum[0]
    part.option_value[1] = part.option_value[0]
    part.price_risk[1] = part.price_risk[0]
    part.bounded = False
    part.delta_up = part.delta_down = 0


cdef dict span_figures(SpanPart* part):
    """A part by name."""
    return {
        "underlying": part.underlying, "delta_e10": part.delta_e10, "held_lots": part.held_lots,
        "open_lots": part.open_lots, "scan": [part.scan[0], part.scan[1]],
        "calendar_e10": [part.calendar_e10[0], part.calendar_e10[1]],
        "delivery_e10": [part.delivery_e10[0], part.delivery_e10[1]],
        "charges": [part.charge[0], part.charge[1]], "credit": [part.credit[0], part.credit[1]],
        "price_risk": [part.price_risk[0], part.price_risk[1]],
        "short_option_minimum": [part.short_minimum[0], part.short_minimum[1]],
        "concentration_charge": [part.concentration[0], part.concentration[1]],
        "net_option_value": [part.option_value[0], part.option_value[1]],
    }
