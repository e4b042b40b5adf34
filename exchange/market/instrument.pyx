"""Listed instruments: one C row each, prices in price units, sizes in lots.

Trade cost (signed like a long position's): linear futures and all options `price x lots x unit_minor`; inverse
futures `-lots x K / price`, so that in both cases P&L = value at the new price - cost. A combo costs what its legs cost
at the prices they would be booked at (docs/orders.md, Combos).
"""

import heapq

from libc.stdlib cimport calloc, free
from libc.string cimport memset

from exchange.wide cimport wide_add, wide_mul, wide_mul_div_near

KINDS = ("perpetual", "future", "option", "future_combo", "option_combo")
OPTION_KINDS = ("option", "option_combo")
STATES = ("free", "open", "halted", "close_only", "settling", "settled", "auction")
MAX_LADDER_UNITS = 1 << 28      # a ladder's directory takes 4 bytes for 64 prices
_OPTION_TYPES = {None: OPTION_NONE, "call": OPTION_CALL, "put": OPTION_PUT}


class BadInstrument(ValueError):
    """A definition that cannot be listed; the message says which field and why."""


cdef class Instruments:
    """The listing. Slots are recycled, smallest first; `instrument_id` never is."""

    def __cinit__(self, uint32_t capacity):
        self.capacity = capacity
        self.at = <Instrument*>calloc(capacity, sizeof(Instrument))
        self.combos = <uint32_t*>calloc(capacity, sizeof(uint32_t))
        if self.at == NULL or self.combos == NULL:
            raise MemoryError()
        self.next_id = 1
        self.by_name = {}
        self.names = []
        self.specs = []
        self.free_slots = []

    def __dealloc__(self):
        free(self.at)
        free(self.combos)

    cdef bint is_live(self, uint32_t slot) noexcept:
        return slot < self.high and self.at[slot].state != STATE_FREE

    cdef int64_t tick_at(self, Instrument* row, int64_t price_units) noexcept:
        """Tick size in force at a price."""
        cdef int i = row.tick_count - 1
        while i > 0 and price_units < row.tick_above[i]:
            i -= 1
        return row.tick_units[i]

    cdef bint on_tick(self, Instrument* row, int64_t price_units) noexcept:
        return price_units % self.tick_at(row, price_units) == 0

    cdef int64_t tick_floor(self, Instrument* row, int64_t price_units) noexcept:
        """The highest price on tick that is not above; 0 where there is none."""
        cdef int64_t units = min(price_units, row.max_price_units)
        while units > 0 and not self.on_tick(row, units):   # again where it fell into the step below
            units -= units % self.tick_at(row, units)
        return units if units > 0 else 0

    cdef int64_t tick_ceil(self, Instrument* row, int64_t price_units) noexcept:
        """The lowest price on tick that is not below, at least one tick; the highest on tick where there is none."""
        cdef int64_t units = max(price_units, 1)
        cdef int64_t tick
        while units <= row.max_price_units and not self.on_tick(row, units):    # again where it rose into the next step
            tick = self.tick_at(row, units)
            units += tick - units % tick
        return units if units <= row.max_price_units else self.tick_floor(row, row.max_price_units)

    cdef int64_t trade_cost(self, Instrument* row, int64_t price_units, int64_t lots, int* bad) noexcept:
        """Signed cost in minor units of buying `lots` (> 0) at a price; sets *bad where it leaves int64."""
        cdef int64_t prices[MAX_LEGS]
        if row.leg_count:
            self.leg_prices(row, price_units, prices)
            return self.combo_cost(row, prices, lots, bad)
        if row.inverse and row.kind != KIND_OPTION:
            return -wide_mul_div_near(lots, row.inverse_k, price_units, bad)
        return wide_mul(price_units * row.unit_minor, lots, bad)

    cdef void traded(self, Instrument* row, int64_t price_units, int64_t lots, int64_t turnover_minor) noexcept:
        """Count a trade; one in the book (not at price 0) moves the last price and the tick direction too."""
        row.volume_lots += lots
        row.turnover_minor += turnover_minor
        row.trade_seq += 1
        if price_units == 0:
            return
        if row.last_price_units:
            if price_units > row.last_price_units:
                row.tick_direction = 0
            elif price_units < row.last_price_units:
                row.tick_direction = 2
            elif row.tick_direction == 0 or row.tick_direction == 2:
                row.tick_direction += 1
        row.last_price_units = price_units

    # ------------------------------------------------------------------ combos

    cdef int64_t mark_units(self, Instrument* row) noexcept:
        """The mark to the nearest price unit, within 1 .. max_price_units."""
        cdef int64_t units = (row.mark_price_e8 + row.price_unit_e8 // 2) // row.price_unit_e8
        return min(max(units, 1), row.max_price_units)

    cdef bint leg_prices(self, Instrument* combo, int64_t price_units, int64_t* prices) noexcept:
        """Prices that the legs are booked at for a price of the combo: their marks, and on one leg of ratio 1 or -1
        the difference. False where no leg can take it whole: then `prices` are the nearest that can be booked."""
        cdef int64_t rest = price_units - combo.zero_units
        cdef int64_t price, taken, most = 0
        cdef Instrument* leg
        cdef int i, nearest = -1
        for i in range(combo.leg_count):
            prices[i] = self.mark_units(&self.at[combo.leg_slot[i]])
            rest -= combo.leg_ratio[i] * prices[i]
        if rest == 0:
            return True
        for i in range(combo.leg_count):
            if combo.leg_ratio[i] != 1 and combo.leg_ratio[i] != -1:
                continue
            leg = &self.at[combo.leg_slot[i]]
            price = min(max(prices[i] + combo.leg_ratio[i] * rest, 1), leg.max_price_units)
            taken = combo.leg_ratio[i] * (price - prices[i])
            if taken == rest:
                prices[i] = price
                return True
            if nearest < 0 or (taken > most if rest > 0 else taken < most):
                nearest = i
                most = taken
        prices[nearest] += combo.leg_ratio[nearest] * most
        return False

    cdef void combo_range(self, Instrument* combo, int64_t* low, int64_t* high) noexcept:
        """Lowest and highest price of a combo that can be booked at its legs' marks, in its price units."""
        cdef int64_t at_marks = combo.zero_units, below = 0, above = 0
        cdef int64_t units, down, up
        cdef Instrument* leg
        cdef int i
        for i in range(combo.leg_count):
            leg = &self.at[combo.leg_slot[i]]
            units = self.mark_units(leg)
            at_marks += combo.leg_ratio[i] * units
            down = units - 1
            up = leg.max_price_units - units
            if combo.leg_ratio[i] == 1:
                below = max(below, down)
                above = max(above, up)
            elif combo.leg_ratio[i] == -1:
                below = max(below, up)
                above = max(above, down)
        low[0] = min(max(at_marks - below, 1), combo.max_price_units)
        high[0] = min(max(at_marks + above, 1), combo.max_price_units)

    cdef int64_t combo_cost(self, Instrument* combo, const int64_t* prices, int64_t lots, int* bad) noexcept:
        """Signed cost of buying `lots` of a combo with its legs at these prices."""
        cdef int64_t cost = 0, ratio
        cdef Instrument* leg
        cdef int i
        for i in range(combo.leg_count):
            leg = &self.at[combo.leg_slot[i]]
            ratio = combo.leg_ratio[i]
            if ratio > 0:
                cost = wide_add(cost, self.trade_cost(leg, prices[i], lots * ratio, bad), bad)
            else:
                cost = wide_add(cost, -self.trade_cost(leg, prices[i], -lots * ratio, bad), bad)
        return cost

    # ------------------------------------------------------------------ listing

    def check(self, spec, int exponent):
        """Integers that the definition implies; raises BadInstrument."""
        if spec.name in self.by_name:
            raise BadInstrument(f"{spec.name}: name is listed already")
        if spec.price_unit_e8 <= 0 or spec.lot_size_e8 <= 0:
            raise BadInstrument(f"{spec.name}: price unit and lot size must be positive")
        if (spec.kind == "option") != (spec.option_type is not None):
            raise BadInstrument(f"{spec.name}: options, and only options, have an option_type")
        if spec.kind == "option" and spec.strike_e8 <= 0:
            raise BadInstrument(f"{spec.name}: an option's strike must be positive")
        if (spec.kind == "perpetual") != (spec.expiry_ns == 0):
            raise BadInstrument(f"{spec.name}: perpetuals, and only perpetuals, have no expiry")
        if not 1 <= len(spec.tick_steps) <= MAX_TICK_STEPS or spec.tick_steps[0].above_units != 0:
            raise BadInstrument(f"{spec.name}: 1 to {MAX_TICK_STEPS} tick steps, the first from 0")
        self._check_bounds(spec)
        scale = 10**exponent
        unit_minor = inverse_k = 0
        if spec.inverse and spec.kind not in OPTION_KINDS:
            inverse_k, rest = divmod(spec.lot_size_e8 * scale, spec.price_unit_e8)
        else:
            unit_minor, rest = divmod(spec.price_unit_e8 * spec.lot_size_e8 * scale, 10**16)
        if rest or (unit_minor == 0 and inverse_k == 0):
            raise BadInstrument(f"{spec.name}: price unit x lot is not a whole number of minor units")
        largest = spec.max_price_units * max(unit_minor, 1) * spec.max_quantity_lots
        if max(largest, inverse_k * spec.max_quantity_lots) >= 1 << 100:
            raise BadInstrument(f"{spec.name}: price x quantity bounds are too wide")
        if spec.max_price_units * max(unit_minor, 1) >= 1 << 62 or inverse_k >= 1 << 62:
            raise BadInstrument(f"{spec.name}: one lot at the largest price leaves 64 bits")
        if spec.lot_size_e8 * scale >= 10**8 << 53 or spec.price_unit_e8 * spec.max_price_units >= 1 << 62:
            raise BadInstrument(f"{spec.name}: a lot or the largest price is too large")
        return unit_minor, inverse_k

    def _check_bounds(self, spec):
        """Figures that must be positive, ordered and small enough; raises BadInstrument."""
        if not 1 <= spec.max_price_units <= MAX_LADDER_UNITS:
            raise BadInstrument(f"{spec.name}: max_price_units must be 1 to {MAX_LADDER_UNITS}")
        if not 1 <= spec.min_quantity_lots <= spec.max_quantity_lots <= 1 << 53 or not (
                1 <= spec.max_position_lots <= 1 << 53):
            raise BadInstrument(f"{spec.name}: quantity bounds must be ordered, positive and at most 2**53")
        if not 0 <= spec.max_owner_position_lots <= 1 << 53:
            raise BadInstrument(f"{spec.name}: max_owner_position_lots must be 0 (no limit) to 2**53")
        above = [step.above_units for step in spec.tick_steps]
        if any(step.tick_units < 1 for step in spec.tick_steps) or above != sorted(set(above)):
            raise BadInstrument(f"{spec.name}: ticks must be positive, their steps ascending")
        fees = spec.fees
        if not all(0 <= ppm <= 1_000_000 for ppm in (
                fees.maker_ppm, fees.taker_ppm, fees.delivery_ppm, fees.option_cap_ppm)):
            raise BadInstrument(f"{spec.name}: fees must be 0 to 1,000,000 ppm")
        if not all(0 <= moment < 1 << 62 for moment in (spec.expiry_ns, spec.strike_e8)):
            raise BadInstrument(f"{spec.name}: expiry and strike must not be negative")

    def list_instrument(self, spec, int underlying, int currency, int chain, int bucket, int exponent, int64_t now_ns):
        """Give the definition a slot; the caller has resolved its names. Returns the slot."""
        unit_minor, inverse_k = self.check(spec, exponent)
        cdef uint32_t slot
        if self.free_slots:
            slot = heapq.heappop(self.free_slots)
        elif self.high < self.capacity:
            slot = self.high
            self.high += 1
            self.names.append(None)
            self.specs.append(None)
        else:
            raise BadInstrument(f"{spec.name}: no more than {self.capacity} instruments")
        cdef Instrument* row = &self.at[slot]
        cdef int i
        memset(row, 0, sizeof(Instrument))
        row.instrument_id = self.next_id
        self.next_id += 1
        row.state = STATE_OPEN
        row.kind = KINDS.index(spec.kind)
        row.option_type = _OPTION_TYPES[spec.option_type]
        row.inverse = spec.inverse
        row.underlying = underlying
        row.currency = currency
        row.chain = chain
        row.expiry_bucket = bucket
        row.expiry_ns = spec.expiry_ns
        row.strike_e8 = spec.strike_e8
        row.created_ns = now_ns
        row.price_unit_e8 = spec.price_unit_e8
        row.lot_size_e8 = spec.lot_size_e8
        row.unit_minor = unit_minor
        row.inverse_k = inverse_k
        row.lot_scale_minor = spec.lot_size_e8 * 10**exponent // 10**8
        row.lot_size = spec.lot_size_e8 / 1e8
        row.min_quantity_lots = spec.min_quantity_lots
        row.max_quantity_lots = spec.max_quantity_lots
        row.max_price_units = spec.max_price_units
        row.max_position_lots = spec.max_position_lots
        row.max_owner_position_lots = spec.max_owner_position_lots
        row.maker_ppm = spec.fees.maker_ppm
        row.taker_ppm = spec.fees.taker_ppm
        row.delivery_ppm = spec.fees.delivery_ppm
        row.option_cap_ppm = spec.fees.option_cap_ppm
        row.tick_count = len(spec.tick_steps)
        for i in range(row.tick_count):
            row.tick_above[i] = spec.tick_steps[i].above_units
            row.tick_units[i] = spec.tick_steps[i].tick_units
        row.lot_weight = 1
        row.zero_units = spec.zero_units
        if spec.legs:
            row.leg_count = len(spec.legs)
            row.lot_weight = sum([abs(leg.ratio) for leg in spec.legs])
            for i in range(row.leg_count):
                row.leg_slot[i] = self.by_name[spec.legs[i].instrument]
                row.leg_ratio[i] = spec.legs[i].ratio
            self.combos[self.combo_count] = slot
            self.combo_count += 1
        row.twin = NO_SLOT
        row.pair = -1
        self.by_name[spec.name] = slot
        self.names[slot] = spec.name
        self.specs[slot] = spec
        self.live += 1
        self.revision += 1
        return slot

    def free_slot(self, uint32_t slot):
        """Archive: the slot may be given out again."""
        cdef uint32_t i, kept = 0
        if self.at[slot].leg_count:
            for i in range(self.combo_count):
                if self.combos[i] != slot:
                    self.combos[kept] = self.combos[i]
                    kept += 1
            self.combo_count = kept
        del self.by_name[self.names[slot]]
        self.names[slot] = None
        self.specs[slot] = None
        self.at[slot].state = STATE_FREE
        heapq.heappush(self.free_slots, slot)
        self.live -= 1
        self.revision += 1

    def slot(self, str name):
        """Slot of a name, -1 when unknown."""
        return self.by_name.get(name, -1)

    def name(self, uint32_t slot):
        return self.names[slot]

    def spec(self, uint32_t slot):
        return self.specs[slot]

    def slots(self):
        """Live slots by ascending instrument_id."""
        return sorted(self.by_name.values(), key=self.instrument_id)

    def combo_slots(self):
        """Slots of live combos, ascending instrument_id."""
        cdef uint32_t i
        return [self.combos[i] for i in range(self.combo_count)]

    def is_marked(self, uint32_t slot):
        return bool(self.at[slot].marked)

    def legs(self, uint32_t slot):
        """((slot, ratio), ...) of a combo's legs, () for all others."""
        cdef Instrument* row = &self.at[slot]
        cdef int i
        return tuple([(row.leg_slot[i], row.leg_ratio[i]) for i in range(row.leg_count)])

    def instrument_id(self, uint32_t slot):
        return self.at[slot].instrument_id

    def export(self):
        """Canonical state: by ascending instrument_id, every moving figure."""
        cdef Instrument* row
        out = []
        for slot in self.slots():
            row = &self.at[slot]
            out.append([
                slot, row.instrument_id, self.names[slot], row.state, row.created_ns, row.expiry_bucket,
                row.marked, row.mark_price_e8, row.mark_minor, row.last_price_units, row.open_interest_lots,
                row.volume_lots, row.turnover_minor, row.settlement_price_e8, row.trade_seq, row.tick_direction,
                row.holders, row.auction_until_ns,
            ])
        return [self.next_id, self.high, sorted(self.free_slots), out]
