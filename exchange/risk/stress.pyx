"""Stress reads: what accounts would lose beyond their equity, and who would stand below maintenance, at large moves.

A ladder of index moves, each at the vols of the marks and at the grid's own rise of vol. Positions are repriced in full
at every rung: nothing is weighted, damped or clamped. A sweep visits the accounts in ascending id, a bounded number per
call; it reads the engine and belongs to no part of its state. Rows are 1e-4 USD per lot of an instrument at the moved
index, rounded to nearest; sums of lots are exact.
"""

from libc.stdint cimport int64_t, uint8_t, uint32_t
from libc.stdlib cimport calloc, free
from libc.string cimport memset

from exchange.clearing.account cimport Accounts, by_formula, is_cross
from exchange.clearing.position cimport Position, PositionList, Positions
from exchange.market.instrument cimport KIND_OPTION, NO_SLOT, OPTION_CALL, Instrument, Instruments
from exchange.risk.exposure cimport NO_ORDERS, Exposure, Margin
from exchange.risk.risk_rows cimport GRID_SPAN, MAX_EXPIRIES, MAX_SCENARIOS, RiskRows
from exchange.wide cimport wide_mul_div_floor
from margin_ext.kernels cimport black76_arrays

MOVES_PPM = (
    -900_000, -800_000, -660_000, -500_000, -400_000, -330_000, -250_000, -200_000, -160_000, -120_000, -90_000,
    -60_000, -40_000, -20_000, 0, 20_000, 40_000, 60_000, 90_000, 120_000, 160_000, 200_000, 250_000, 330_000,
    400_000, 500_000, 750_000, 1_000_000, 2_000_000, 3_000_000, 4_000_000, 5_000_000,
)
VOLS = ("same", "up")

cdef enum:
    MOVES = 32
    COLUMNS = 64           # move by move: vols as marked, then raised
    MAX_UNDERLYINGS = 16
    SETS = 17              # each underlying alone, then all together

cdef double YEAR_NS = 365.0 * 86400e9
cdef double ROUNDER = 6755399441055744.0


cdef inline int64_t _nearest(double x) noexcept:
    return <int64_t>((x + ROUNDER) - ROUNDER)


cdef inline int64_t along(int64_t usd, int64_t move_ppm) noexcept:
    """A value moved by a share of it, without a product beyond 64 bits."""
    return usd // 1_000_000 * move_ppm + usd % 1_000_000 * move_ppm // 1_000_000


cdef class Stress:
    """Sweeps over one engine: `visit` until it answers True, then `result`."""

    cdef Accounts accounts
    cdef Instruments instruments
    cdef Positions positions
    cdef RiskRows rows
    cdef Exposure exposure
    cdef int64_t* table                 # [slot][COLUMNS]
    cdef uint8_t* made                  # [slot] priced in this sweep
    cdef int64_t move[MOVES]
    cdef int sets
    cdef uint32_t next_account
    cdef int64_t below[SETS * COLUMNS]      # notional of accounts below maintenance
    cdef int64_t deficit[SETS * COLUMNS]    # sum of what entities lack
    cdef dict groups                    # {owner: [deficits, SETS * COLUMNS]}, owners with any
    cdef int64_t notional

    def __cinit__(self, Accounts accounts, Instruments instruments, Positions positions, RiskRows rows,
                  Exposure exposure):
        cdef int i
        self.accounts = accounts
        self.instruments = instruments
        self.positions = positions
        self.rows = rows
        self.exposure = exposure
        self.sets = rows.underlying_count + 1
        self.table = <int64_t*>calloc(<size_t>instruments.capacity * COLUMNS, sizeof(int64_t))
        self.made = <uint8_t*>calloc(instruments.capacity, 1)
        if self.table == NULL or self.made == NULL:
            raise MemoryError()
        for i in range(MOVES):
            self.move[i] = MOVES_PPM[i]
        self.begin()

    def __dealloc__(self):
        free(self.table)
        free(self.made)

    def begin(self):
        """Start a sweep anew."""
        memset(self.made, 0, self.instruments.capacity)
        memset(self.below, 0, sizeof(self.below))
        memset(self.deficit, 0, sizeof(self.deficit))
        self.groups = {}
        self.notional = 0
        self.next_account = 1

    def visit(self, int count):
        """Visit at most `count` accounts; whether the sweep is complete."""
        cdef int entity, entities
        while count > 0 and self.next_account < self.accounts.high:
            entities = 1 if is_cross(self.accounts.at[self.next_account].model) else self.exposure.currencies
            for entity in range(entities):
                self._entity(self.next_account, entity)
            self.next_account += 1
            count -= 1
        return self.next_account >= self.accounts.high

    def lacking(self, uint32_t account_id, int entity, list columns):
        """What one entity lacks, 1e-4 USD, by set as in `result` and the given columns. Not within a sweep: its sums
        are lost; `begin` where marks have come since."""
        cdef int s, j
        if any([not 0 <= j < COLUMNS for j in columns]):
            raise ValueError("no such column")
        memset(self.below, 0, sizeof(self.below))
        memset(self.deficit, 0, sizeof(self.deficit))
        self._entity(account_id, entity)
        self.groups = {}
        return [[self.deficit[s * COLUMNS + <int>j] for j in columns] for s in range(self.sets)]

    cdef int _price(self, uint32_t slot) except -1:
        """The instrument's row: change of a lot's value in USD at the moved index against today's value moved along."""
        cdef Instrument* row = &self.instruments.at[slot]
        cdef int64_t* out = &self.table[<size_t>slot * COLUMNS]
        cdef double index = self.rows.index_e8[row.underlying] / 1e8
        cdef double forward, move, share = 1.0
        cdef int i
        self.made[slot] = 1
        memset(out, 0, COLUMNS * sizeof(int64_t))
        if row.kind == KIND_OPTION:
            return self._price_option(slot, out)
        forward = row.mark_price_e8 / 1e8
        if forward <= 0.0:
            return 0
        if row.expiry_bucket and self.rows.fixing_of(row).settling:
            share = self.rows.fixing_of(row).share
        for i in range(COLUMNS):
            move = self.move[i // 2] / 1e6
            if share != 1.0:     # of its settlement average a part is known; the coin's own move is whole
                move *= share * (1.0 + move) / (1.0 + share * move) if row.inverse else share
            out[i] = _nearest(1e4 * row.lot_size * (index / forward if row.inverse else forward) * move)
        return 0

    cdef int _price_option(self, uint32_t slot, int64_t* out) except -1:
        cdef Instrument* row = &self.instruments.at[slot]
        cdef int u = row.underlying
        cdef int64_t forward_e8 = self.rows.forward_e8[u * MAX_EXPIRIES + row.expiry_bucket]
        cdef int64_t left_ns = row.expiry_ns - self.rows.priced_ns[u]
        cdef double years = self.rows.years_of(u, left_ns), share = 1.0, moved
        cdef double base = forward_e8 / 1e8, vol = self.rows.vol_e6[slot] / 1e6, raised, scale
        cdef bint settling = self.rows.fixing_of(row).settling
        cdef double index = self.rows.index_e8[u] / 1e8
        cdef double multiplier[MAX_SCENARIOS]
        cdef double forwards[COLUMNS + 1]
        cdef double strikes[COLUMNS + 1]
        cdef double vols[COLUMNS + 1]
        cdef double times[COLUMNS + 1]
        cdef double calls[COLUMNS + 1]
        cdef double prices[COLUMNS + 1]
        cdef double* target[1]
        cdef int i
        if forward_e8 == 0 or vol == 0.0:
            return 0
        self.rows._vol_shocks(&self.rows.grid[u], left_ns, vol, multiplier)
        raised = vol
        for i in range(self.rows.scenario_count):
            if self.rows.grid[u].kind == GRID_SPAN:      # whose shocked widths let time pass
                raised = (vol + self.rows.grid[u].vol_up if self.rows.grid[u].vol_points
                          else vol * (1.0 + self.rows.grid[u].vol_up))
                break
            if self.rows.grid[u].vol_kind[i] == 1:
                raised = max(vol * multiplier[i], self.rows.grid[u].vol_floor[i])
                break
        if settling:
            base, share = self.rows.fixing_of(row).price_e8 / 1e8, self.rows.fixing_of(row).share
        for i in range(COLUMNS + 1):
            moved = 1.0 if i == COLUMNS else 1.0 + share * (self.move[i // 2] / 1e6)
            forwards[i] = base * moved
            strikes[i] = row.strike_e8 / 1e8
            vols[i] = raised if i < COLUMNS and i % 2 else vol
            if settling:         # the open part's share of what the column settles at
                vols[i] *= share * (1.0 if i == COLUMNS else (1.0 + self.move[i // 2] / 1e6) / moved)
            times[i] = years
            calls[i] = 1.0 if row.option_type == OPTION_CALL else 0.0
        target[0] = prices
        black76_arrays(COLUMNS + 1, forwards, strikes, vols, times, calls, target, 1)
        scale = 1e4 * row.lot_size
        for i in range(COLUMNS):
            if row.inverse and settling:
                out[i] = _nearest(scale * index * (1.0 + self.move[i // 2] / 1e6)
                                  * (prices[i] / forwards[i] - prices[COLUMNS] / base))
            elif row.inverse:   # so many coins more, at the moved index; the coin's own move is the equity's
                out[i] = _nearest(scale * index / base
                                  * (prices[i] - prices[COLUMNS] * (1.0 + self.move[i // 2] / 1e6)))
            else:
                out[i] = _nearest(scale * (prices[i] - prices[COLUMNS]))
        return 0

    cdef int _entity(self, uint32_t account_id, int entity) except -1:
        """Add one margin entity to the sums."""
        cdef PositionList* held = &self.positions.of[account_id]
        cdef bint cross = is_cross(self.accounts.at[account_id].model)
        cdef bint formula = by_formula(self.accounts.at[account_id].model)
        cdef int64_t worth[MAX_UNDERLYINGS * COLUMNS]     # changes of equity by underlying
        cdef int64_t options[MAX_UNDERLYINGS * COLUMNS]   # those of options alone
        cdef Margin m
        cdef Instrument* row
        cdef int64_t* line
        cdef int64_t base = 0, usd, notional = 0, lots, balance, maintenance
        cdef uint32_t i
        cdef int c, u, j
        cdef bint anything = False
        for i in range(held.count):
            if held.at[i].quantity_lots and (cross or self.instruments.at[held.at[i].instrument].currency == entity):
                anything = True
        for c in range(self.exposure.currencies):
            if (cross or c == entity) and self.exposure.equity(account_id, c) < 0:
                anything = True
        if not anything:
            return 0
        memset(worth, 0, self.rows.underlying_count * COLUMNS * sizeof(int64_t))
        memset(options, 0, self.rows.underlying_count * COLUMNS * sizeof(int64_t))
        for c in range(self.exposure.currencies):
            if not cross and c != entity:
                continue
            usd = self.exposure.usd_units(c, self.exposure.equity(account_id, c))
            base += usd
            u = self.exposure.currency_underlying[c]
            if u >= 0:
                for j in range(COLUMNS):
                    worth[u * COLUMNS + j] += along(usd, self.move[j // 2])
            if u >= 0 and formula:   # what options are worth is no part of the balance, nor is the coin's move on it
                usd = self.exposure.usd_units(c, self.exposure.formulas.options_value(account_id, c))
                for j in range(COLUMNS):
                    options[u * COLUMNS + j] += along(usd, self.move[j // 2])
        for i in range(held.count):
            row = &self.instruments.at[held.at[i].instrument]
            lots = held.at[i].quantity_lots
            if lots == 0 or (not cross and row.currency != entity):
                continue
            if not self.made[held.at[i].instrument]:
                self._price(held.at[i].instrument)
            line = &self.table[<size_t>held.at[i].instrument * COLUMNS]
            notional += self._notional(row, lots)
            for j in range(COLUMNS):
                worth[row.underlying * COLUMNS + j] += lots * line[j]
                if row.kind == KIND_OPTION:
                    options[row.underlying * COLUMNS + j] += lots * line[j]
        self.exposure.margin(account_id, entity, NO_ORDERS, &m)
        balance, maintenance = m.equity, m.maintenance
        if not cross:
            balance = self.exposure.usd_units(entity, balance)
            maintenance = -self.exposure.usd_units(entity, -maintenance)
        self.notional += notional
        return self._add(account_id, base, worth, options, balance, maintenance, notional, formula)

    cdef int64_t _notional(self, Instrument* row, int64_t lots) noexcept:
        """Size at the index, 1e-4 USD: an inverse future's dollars, of all else coins x index."""
        cdef double size = 1e4 * row.lot_size
        if not (row.inverse and row.kind != KIND_OPTION):
            size *= self.rows.index_e8[row.underlying] / 1e8
        return (lots if lots > 0 else -lots) * _nearest(size)

    cdef int _add(self, uint32_t account_id, int64_t base, int64_t* worth, int64_t* options, int64_t balance,
                  int64_t maintenance, int64_t notional, bint formula) except -1:
        """Sets of scenarios: each underlying alone, then all by the same column."""
        cdef int64_t change, priced
        cdef int s, u, j, underlyings = self.rows.underlying_count
        cdef list group = None
        for s in range(self.sets):
            for j in range(COLUMNS):
                if s < underlyings:
                    change, priced = worth[s * COLUMNS + j], options[s * COLUMNS + j]
                else:
                    change = priced = 0
                    for u in range(underlyings):
                        change += worth[u * COLUMNS + j]
                        priced += options[u * COLUMNS + j]
                if balance + change - (priced if formula else 0) < maintenance:
                    self.below[s * COLUMNS + j] += notional
                if base + change < 0:
                    if self.accounts.is_bucket(account_id):
                        change += self._carried(account_id, s, j, -(base + change))
                    self.deficit[s * COLUMNS + j] -= base + change
                    if group is None:
                        group = self.groups.setdefault(self.accounts.at[account_id].owner_id,
                                                       [0] * (self.sets * COLUMNS))
                    group[s * COLUMNS + j] -= base + change
        return 0

    cdef int64_t _carried(self, uint32_t account_id, int s, int j, int64_t lacks) noexcept:
        """Of what an isolated position lacks, the part that opposite buckets of its owner bear in a tear-up: by lots,
        and as far as their own equity reaches in the column. Several that lack share opposite ones by their lots."""
        cdef uint32_t slot = self.accounts.at[account_id].instrument
        cdef Position* own = self.positions.find(account_id, slot) if slot != NO_SLOT else NULL
        cdef Position* other
        cdef Instrument* row
        cdef uint32_t a = account_id
        cdef int64_t total, side = 0, carried = 0, worth, part
        cdef int u, bad = 0
        if own == NULL or own.quantity_lots == 0:
            return 0
        row = &self.instruments.at[slot]
        total = abs(own.quantity_lots)
        while True:
            other = self.positions.find(a, slot) if self.accounts.at[a].holder else NULL
            if other != NULL and other.quantity_lots and (other.quantity_lots > 0) == (own.quantity_lots > 0):
                side += abs(other.quantity_lots)
            a = self.accounts.at[a].owner_next
            if a == account_id:
                break
        a = self.accounts.at[a].owner_next
        while a != account_id:
            other = self.positions.find(a, slot) if self.accounts.at[a].holder else NULL
            if other != NULL and other.quantity_lots and (other.quantity_lots > 0) != (own.quantity_lots > 0):
                worth = self.exposure.usd_units(row.currency, self.exposure.equity(a, row.currency))
                u = self.exposure.currency_underlying[row.currency]
                if u >= 0 and s in (u, self.rows.underlying_count):
                    worth += along(worth, self.move[j // 2])
                if s in (row.underlying, self.rows.underlying_count):
                    worth += other.quantity_lots * self.table[<size_t>slot * COLUMNS + j]
                if worth > 0:
                    part = wide_mul_div_floor(lacks, abs(other.quantity_lots), side, &bad)
                    carried += min(part, wide_mul_div_floor(worth, total, side, &bad))
            a = self.accounts.at[a].owner_next
        return 0 if bad else min(lacks, carried)

    def result(self):
        """(notional of all positions, [per set: {"below": [...], "deficit": [...], "largest_two": [...]}]) in 1e-4
        USD, by (move, vol): COLUMNS figures each, vols as marked and raised in turn. Sets: underlyings in order, then
        all together."""
        cdef int s, j
        found = []
        for s in range(self.sets):
            two = []
            for j in range(COLUMNS):
                losses = sorted([group[s * COLUMNS + j] for group in self.groups.values()], reverse=True)
                two.append(sum(losses[:2]))
            found.append({
                "below": [self.below[s * COLUMNS + j] for j in range(COLUMNS)],
                "deficit": [self.deficit[s * COLUMNS + j] for j in range(COLUMNS)],
                "largest_two": two,
            })
        return self.notional, found


def cover_two(found):
    """(worst sum of the two largest groups' losses, column) of one set of `result`; the first where several tie."""
    worst = max(found["largest_two"])
    return worst, found["largest_two"].index(worst)


def reverse(found, fund):
    """{vol: smallest move in ppm whose deficits exceed the fund (1e-4 USD), None where no rung's do}; falls before
    rises of the same size."""
    order = sorted(range(MOVES), key=lambda place: (abs(MOVES_PPM[place]), MOVES_PPM[place]))
    return {
        name: next((MOVES_PPM[place] for place in order if found["deficit"][2 * place + vol] > fund), None)
        for vol, name in enumerate(VOLS)
    }
