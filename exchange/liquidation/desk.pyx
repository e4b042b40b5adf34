"""What a liquidation may do to the core: read margins, move positions at the mark, move cash, speak.

The stages above it are plain Python; every state change they make goes through here.
"""

from exchange.clearing.account cimport MODEL_CROSS, by_formula, is_cross
from exchange.clearing.ledger cimport SYS_CAPITAL, SYS_FEES, SYS_FUND, SYS_OUTSIDE
from exchange.clearing.position cimport Position, PositionList
from exchange.events import BalanceCause, EventKind
from exchange.market.instrument cimport KIND_OPTION, KIND_PERPETUAL, Instrument
from exchange.reasons import Reason
from exchange.records cimport (
    AuctionEvent, AuctionLotSold, AuctionTermsChanged, BalanceChanged, BidEvent, DefaultCovered, FundEvent,
    PortfolioOffer, PositionDeleveraged, PositionTransferred,
)
from exchange.risk.exposure cimport ALL_ORDERS, NO_ORDERS, Margin
from exchange.risk.stress import MOVES_PPM, VOLS, Stress
from exchange.wide cimport wide_mul


cdef class Desk:
    """Primitives of liquidation over the compiled rooms. `entity` is a currency index, 0 for a cross account."""

    def __init__(self, Accounts accounts, Ledger ledger, Instruments instruments, Positions positions,
                 Exposure exposure, Marks marks, Switches switches, Monitor monitor, EventBuffer events,
                 Collateral collateral, cancel_orders, config):
        self.accounts = accounts
        self.ledger = ledger
        self.instruments = instruments
        self.positions = positions
        self.exposure = exposure
        self.marks = marks
        self.switches = switches
        self.monitor = monitor
        self.events = events
        self.collateral = collateral
        self.cancel_orders = cancel_orders
        self.currency_names = [currency.name for currency in config.currencies]
        self.underlying_names = [underlying.name for underlying in config.underlyings]
        self.stress = None

    def currency_name(self, int currency):
        return self.currency_names[currency]

    # ------------------------------------------------------------------ reads

    def exists(self, uint32_t account_id):
        return self.accounts.exists(account_id)

    def owner(self, uint32_t account_id):
        return self.accounts.at[account_id].owner_id

    def is_cross(self, uint32_t account_id):
        return is_cross(self.accounts.at[account_id].model)

    def in_liquidation(self, uint32_t account_id):
        return bool(self.accounts.at[account_id].in_liquidation)

    def level(self, uint32_t account_id):
        return self.accounts.at[account_id].level

    def breached_entity(self, uint32_t account_id):
        return self.accounts.at[account_id].breached_currency

    def margins(self, uint32_t account_id, int entity):
        """(equity, initial, maintenance) of the positions alone, minor units or 1e-4 USD."""
        cdef Margin m
        self.exposure.margin(account_id, entity, NO_ORDERS, &m)
        return (m.equity, m.initial, m.maintenance)

    def held(self, uint32_t account_id, int entity):
        """[(instrument, lots)] of the entity's positions, ascending slot."""
        cdef PositionList* held = &self.positions.of[account_id]
        cdef bint cross = is_cross(self.accounts.at[account_id].model)
        cdef uint32_t i
        return [
            (held.at[i].instrument, held.at[i].quantity_lots)
            for i in range(held.count)
            if held.at[i].quantity_lots
            and (cross or self.instruments.at[held.at[i].instrument].currency == entity)
        ]

    def venue_ns(self):
        """Venue time of the command."""
        return self.events.time_ns

    def holdings(self, uint32_t account_id):
        """{instrument: lots} of all of an account's positions."""
        cdef PositionList* held = &self.positions.of[account_id]
        cdef uint32_t i
        return {held.at[i].instrument: held.at[i].quantity_lots for i in range(held.count) if held.at[i].quantity_lots}

    def instrument_id(self, slot):
        """The id of the contract that has a slot now, 0 where none has it."""
        if not 0 <= slot < self.instruments.capacity or not self.instruments.is_live(slot):
            return 0
        return self.instruments.at[<uint32_t>slot].instrument_id

    def emit_offer(self, int kind, uint32_t account_id, offer_id, bid_id, expires_ns, other, legs, outcome):
        cdef PortfolioOffer* event = <PortfolioOffer*>self.events.emit(kind, 1, account_id)
        event.offer_id = offer_id
        event.bid_id = bid_id
        event.expires_ns = expires_ns
        event.other_account_id = other
        event.leg_count = legs
        event.outcome = outcome

    def equities(self, uint32_t account_id, int entity):
        """[(currency, equity in minor units)] of the entity, zero ones left out."""
        cdef int c
        cdef bint cross = is_cross(self.accounts.at[account_id].model)
        return [
            (c, self.exposure.equity(account_id, c))
            for c in range(self.exposure.currencies)
            if (cross or c == entity) and self.exposure.equity(account_id, c)
        ]

    def balances(self, uint32_t account_id, int entity):
        """`equities` as the account's model counts them: by formula without the value of options."""
        cdef bint formula = by_formula(self.accounts.at[account_id].model)
        return [(c, equity - int(self.exposure.options_value(account_id, c)) if formula else equity)
                for c, equity in self.equities(account_id, entity)]

    def remainder(self, uint32_t account_id, int entity, int currency):
        """All that the entity has, debts included, as minor units of one currency at the marks; each other currency's
        equity rounded against it."""
        return sum([equity if c == currency else self.converted(c, currency, equity)
                    for c, equity in self.equities(account_id, entity)])

    def worth(self, uint32_t account_id, int entity):
        """Equity at the marks, options included, minor units or 1e-4 USD."""
        if self.accounts.at[account_id].model == MODEL_CROSS:
            return self.margins(account_id, entity)[0]
        if not is_cross(self.accounts.at[account_id].model):
            return self.exposure.equity(account_id, entity)
        # a cross account by formula: its margin balance leaves options out
        total = self.margins(account_id, entity)[0]
        for c in range(self.exposure.currencies):
            total += self.exposure.usd_of(c, self.exposure.options_value(account_id, c))
        return total

    def robust_value(self, uint32_t account_id, int entity):
        """Equity with perpetuals at the index instead of their own book's premium."""
        cdef PositionList* held = &self.positions.of[account_id]
        cdef bint cross = is_cross(self.accounts.at[account_id].model)
        cdef uint32_t i
        cdef Instrument* row
        total = self.worth(account_id, entity)
        for i in range(held.count):
            row = &self.instruments.at[held.at[i].instrument]
            if row.kind != KIND_PERPETUAL or (not cross and row.currency != entity):
                continue
            index = int(self.exposure.rows.index_e8[row.underlying])
            if row.inverse:
                at_index = -(int(row.lot_scale_minor) * 10**8 // index)
            else:
                at_index = int(row.lot_scale_minor) * index // 10**8
            premium = int(held.at[i].quantity_lots) * (at_index - int(row.mark_minor))
            total += int(self.exposure.usd_units(row.currency, premium)) if cross else premium
        return total

    def underlyings(self, uint32_t account_id, bint orders=False):
        """The underlyings that the account depends on: of its lots, of its cash where it is cross, and of its orders
        if asked for."""
        cdef PositionList* held = &self.positions.of[account_id]
        cdef uint32_t i
        cdef int c
        found = {self.instruments.at[held.at[i].instrument].underlying
                 for i in range(held.count) if orders or held.at[i].quantity_lots}
        if is_cross(self.accounts.at[account_id].model):
            found |= {self.exposure.currency_underlying[c] for c in range(self.exposure.currencies)
                      if self.exposure.currency_underlying[c] >= 0 and self.ledger.balance(account_id, c)}
        return found

    def marks_fresh(self, uint32_t account_id, int64_t time_ns):
        """Whether every underlying that the account depends on has marks in the live stage."""
        return all([self.marks.live(u) for u in self.underlyings(account_id)])

    def bidder_stopped(self, uint32_t account_id, uint32_t seller_id):
        """Whether a kill switch keeps an account from taking what another's portfolio depends on."""
        return self.switches.account_stopped(account_id) or any(
            [self.switches.underlying[<int>u] for u in self.underlyings(seller_id)])

    def bidder_isolated(self, uint32_t account_id, list legs):
        """Whether an account holds one of the legs' instruments in a bucket: it could not have them beside that."""
        return any([self.accounts.bucket_of(account_id, <uint32_t>instrument) for instrument, _ in legs])

    def held_back(self, uint32_t account_id, int64_t time_ns):
        """Why the account's auction stands still now, clock included: nobody may bid, or the marks are stale."""
        if self.switches.venue or any([self.switches.underlying[<int>u] for u in self.underlyings(account_id)]):
            return Reason.TRADING_STOPPED
        return Reason.NONE if self.marks_fresh(account_id, time_ns) else Reason.STALE_MARKS

    def marks_since(self, uint32_t account_id):
        """Since when the account's marks, fresh now, have not been stale; 0 where it depends on none."""
        return max([self.marks.stages.since_ns[<int>u] for u in self.underlyings(account_id)], default=0)

    def fund(self, int currency):
        """This venue's claim on the insurance fund."""
        return self.ledger.system_of(SYS_FUND, currency)

    def capital(self, int currency):
        """What is left of the venue's own capital."""
        return self.ledger.system_of(SYS_CAPITAL, currency)

    def underlying_of(self, int currency):
        """The underlying whose coin a currency is, -1 for a dollar."""
        return self.exposure.currency_underlying[currency]

    def stress_moves(self):
        """The index move of each column of the stress ladder, ppm."""
        return [move for move in MOVES_PPM for _ in VOLS]

    def begin_stress(self):
        """Forget prices of earlier marks; the table is made when it is first asked for."""
        if self.stress is None:
            self.stress = Stress(self.accounts, self.instruments, self.positions, self.exposure.rows, self.exposure)
        self.stress.begin()

    def lacking(self, uint32_t account_id, int entity, list columns):
        """What an entity lacks by set and the given columns of the stress ladder, 1e-4 USD."""
        return self.stress.lacking(account_id, entity, columns)

    def usd_currency(self):
        """First currency worth one USD, else 0: what a cross account pays and is paid in."""
        cdef int c
        for c in range(self.exposure.currencies):
            if self.exposure.currency_underlying[c] < 0:
                return c
        return 0

    def to_currency(self, int currency, usd_units):
        """1e-4 USD in minor units of a currency, away from zero."""
        cdef int u = self.exposure.currency_underlying[currency]
        if u < 0:
            return usd_units * int(self.exposure.minor_per_unit[currency])
        base = int(self.exposure.rows.grid[u].coin_base_q40)
        sign = -1 if usd_units < 0 else 1
        return sign * -(-(abs(usd_units) << 40) // base)

    def currency_of(self, uint32_t instrument):
        return self.instruments.at[instrument].currency

    def underlying_index(self, str name):
        """Number of an underlying, -1 where there is none of the name."""
        return self.underlying_names.index(name) if name in self.underlying_names else -1

    def instrument_underlying(self, uint32_t instrument):
        return self.instruments.at[instrument].underlying

    def is_option(self, uint32_t instrument):
        return self.instruments.at[instrument].kind == KIND_OPTION

    def notional_e16(self, uint32_t instrument, int64_t lots):
        """Size at the index in 1e-16 USD, sign ignored: an inverse future's own dollars, of all else coins x index."""
        cdef Instrument* row = &self.instruments.at[instrument]
        price = 10**8 if row.inverse and row.kind != KIND_OPTION else int(self.exposure.rows.index_e8[row.underlying])
        return abs(lots) * int(row.lot_size_e8) * price

    def futures_net(self, uint32_t account_id, int entity, list legs):
        """Size at the index of an entity's futures and perpetuals, net per underlying, supposing that the account took
        signed lots; minor units or 1e-4 USD."""
        held = dict(self.held(account_id, entity))
        for instrument, lots in legs:
            held[instrument] = held.get(instrument, 0) + lots
        net = {}
        for instrument, lots in held.items():
            if self.instruments.at[<uint32_t>instrument].kind != KIND_OPTION:
                underlying = self.instruments.at[<uint32_t>instrument].underlying
                size = self.notional_e16(instrument, lots)
                net[underlying] = net.get(underlying, 0) + (size if lots > 0 else -size)
        usd_units = sum([abs(size) for size in net.values()]) // 10**12
        return usd_units if self.is_cross(account_id) else self.to_currency(entity, usd_units)

    def value_in(self, uint32_t instrument, int64_t lots, int currency):
        """What lots are worth at the mark (sign ignored), in minor units of a currency at the index, rounded down."""
        cdef Instrument* row = &self.instruments.at[instrument]
        value = abs(lots * int(row.mark_minor))
        if row.currency == currency:
            return value
        return self.converted(row.currency, currency, value)

    def from_currency(self, uint32_t instrument, int currency, amount):
        """An amount of a currency in minor units of the instrument's, at the index, rounded up."""
        cdef int own = self.instruments.at[instrument].currency
        return amount if own == currency else self.converted_up(currency, own, amount)

    def converted(self, int source, int target, amount):
        """An amount of one currency in minor units of another, at the index, towards minus infinity."""
        value = amount * self._price_q40(source)
        return value // self._price_q40(target)

    def converted_up(self, int source, int target, amount):
        """`converted`, towards plus infinity."""
        return -self.converted(source, target, -amount)

    def _price_q40(self, int currency):
        """1e-4 USD per minor unit, 2**-40."""
        cdef int u = self.exposure.currency_underlying[currency]
        if u >= 0:
            return int(self.exposure.rows.grid[u].coin_base_q40)
        return (1 << 40) // int(self.exposure.minor_per_unit[currency])

    def opposites(self, uint32_t account_id, uint32_t instrument, int64_t lots):
        """[(account, lots)] of the others who hold the other side of a position of signed lots, ascending id."""
        cdef uint32_t a
        cdef Position* p
        found = []
        for a in range(1, self.accounts.high):
            p = self.positions.find(a, instrument) if a != account_id else NULL
            if p != NULL and p.quantity_lots and (p.quantity_lots > 0) != (lots > 0):
                found.append((a, abs(p.quantity_lots)))
        return found

    def _entities(self, uint32_t account_id):
        return range(1 if is_cross(self.accounts.at[account_id].model) else self.exposure.currencies)

    def group_usd(self, uint32_t owner):
        """(maintenance requirement, equity) of all accounts of an owner in 1e-4 USD."""
        cdef uint32_t a, last = self.accounts.owner_last.get(owner, 0)
        requirement = equity = 0
        a = last
        while a:      # the ring of the owner's accounts
            a = self.accounts.at[a].owner_next
            for entity in self._entities(a):
                need, own = self.margins(a, entity)[2], self.worth(a, entity)
                if not is_cross(self.accounts.at[a].model):
                    need, own = self.exposure.usd_of(entity, need), self.exposure.usd_of(entity, own)
                requirement += need
                equity += own
            if a == last:
                break
        return requirement, equity

    def added_usd(self, uint32_t account_id, uint32_t instrument, int64_t lots):
        """What taking signed lots at the mark adds to an account's maintenance requirement, 1e-4 USD."""
        cdef int currency = self.instruments.at[instrument].currency
        cdef bint cross = is_cross(self.accounts.at[account_id].model)
        cdef list legs = [(instrument, lots)]
        before = self.margins(account_id, 0 if cross else currency)[2]
        self._shift_all(account_id, legs, 1)
        after = self.margins(account_id, 0 if cross else currency)[2]
        self._shift_all(account_id, legs, -1)
        return after - before if cross else self.exposure.usd_of(currency, after - before)

    # ------------------------------------------------------------------ changes

    def set_liquidation(self, uint32_t account_id, bint on, int reason):
        self.accounts.at[account_id].in_liquidation = on
        self.accounts.at[account_id].liquidation_reason = reason
        if not on:
            self.collateral.note(account_id)     # what is left of an empty bucket goes back

    def cancel_all(self, uint32_t account_id, int reason):
        """Cancel the account's open orders; returns how many."""
        return self.cancel_orders(account_id, reason)

    cdef int _shift_all(self, uint32_t account_id, list legs, int sign) except -1:
        cdef uint32_t instrument
        cdef int64_t lots, held
        cdef Position* position
        for instrument, lots in legs:
            self.exposure.ensure_book(account_id, self.instruments.at[instrument].chain)
            position = self.positions.find(account_id, instrument)
            held = 0 if position == NULL else position.quantity_lots
            if sign > 0:
                self.exposure.shift(account_id, instrument, held, lots, 0)
            else:
                self.exposure.shift(account_id, instrument, held + lots, -lots, 0)
        return 0

    cdef int _suppose(self, uint32_t account_id, list legs, dict payments, int sign) except -1:
        """Suppose that an account took the legs at the mark and were paid `payments` (undone with the other sign)."""
        cdef int currency
        cdef int64_t amount
        self._shift_all(account_id, legs, sign)
        for currency, amount in payments.items():
            self.ledger.post(account_id, currency, sign * amount)
        return 0

    def margins_with(self, uint32_t account_id, int entity, list legs, dict payments):
        """`margins`, supposing that the account took the legs at the mark and were paid {currency: minor units}."""
        self._suppose(account_id, legs, payments, 1)
        found = self.margins(account_id, entity)
        self._suppose(account_id, legs, payments, -1)
        return found

    def bidder_stands(self, uint32_t account_id, list legs, dict payments):
        """Whether the account, taking the legs at the mark and being paid `payments` {currency: minor units}, meets
        its initial margin everywhere, or has a requirement no larger than before and no less equity."""
        cdef Margin before, after
        cdef bint cross = is_cross(self.accounts.at[account_id].model)
        entities = {0} if cross else {self.instruments.at[<uint32_t>i].currency for i, _ in legs} | set(payments)
        stands = True
        for entity in sorted(entities):
            self.exposure.margin(account_id, entity, ALL_ORDERS, &before)
            self._suppose(account_id, legs, payments, 1)
            self.exposure.margin(account_id, entity, ALL_ORDERS, &after)
            self._suppose(account_id, legs, payments, -1)
            if after.equity < after.initial and (after.initial > before.initial or after.equity < before.equity):
                stands = False
        return stands

    def stands_without(self, uint32_t account_id, int currency, int64_t amount):
        """Whether the account, with `amount` (up to its cash) less, meets its initial margin with open orders."""
        cdef Margin after
        self.ledger.post(account_id, currency, -amount)
        self.exposure.margin(account_id, currency, ALL_ORDERS, &after)
        self.ledger.post(account_id, currency, amount)
        return after.equity >= after.initial

    def row_budget(self, uint32_t account_id, list legs):
        """Whether the legs, taken together, keep every scenario sum of the account exact."""
        cdef uint32_t instrument
        cdef int64_t lots
        gross = {}
        for instrument, lots in legs:
            chain = self.instruments.at[instrument].chain
            if chain not in gross:
                gross[chain] = int(self.exposure.ensure_book(account_id, chain).gross_row)
            gross[chain] += abs(lots) * int(self.exposure.rows.row_cap[instrument])
        return all(total <= 1 << 52 for total in gross.values())

    def transfer(self, uint32_t source, uint32_t target, uint32_t instrument, int64_t lots, auction_id):
        """Move signed lots between accounts at the mark."""
        cdef Instrument* row = &self.instruments.at[instrument]
        cdef int64_t cost = wide_mul(lots, row.mark_minor, &self.exposure.failed)
        cdef PositionTransferred* event
        self.exposure.trade(source, instrument, -lots, -cost, 0)
        self.exposure.trade(target, instrument, lots, cost, 0)
        event = <PositionTransferred*>self.events.emit(EventKind.POSITION_TRANSFERRED, 1, source)
        event.instrument = instrument
        event.to_account_id = target
        event.quantity_lots = lots
        event.cost_minor = cost
        event.auction_id = auction_id

    def is_bucket(self, uint32_t account_id):
        """Whether the account is an isolated position's bucket."""
        return self.accounts.is_bucket(account_id)

    def lots(self, uint32_t account_id, uint32_t instrument):
        return self.positions.lots(account_id, instrument)

    def opposite_buckets(self, uint32_t account_id, uint32_t instrument, int64_t lots):
        """The owner's other buckets with the other side of a position of signed lots: those in liquidation last."""
        cdef uint32_t a = self.accounts.at[account_id].owner_next
        cdef int64_t held
        found = []
        while a != account_id:
            held = self.positions.lots(a, instrument) if self.accounts.at[a].holder else 0
            if held and (held > 0) != (lots > 0):
                found.append((self.accounts.at[a].in_liquidation, a))
            a = self.accounts.at[a].owner_next
        return [a for _, a in sorted(found)]

    def close_against(self, uint32_t source, uint32_t target, uint32_t instrument, int64_t lots, int64_t shift):
        """Move signed lots of `source` to `target` at the mark, `target` paying `shift` minor units more; its cost."""
        cdef Instrument* row = &self.instruments.at[instrument]
        cdef int64_t cost = wide_mul(lots, row.mark_minor, &self.exposure.failed) + shift
        self.exposure.trade(source, instrument, -lots, -cost, 0)
        self.exposure.trade(target, instrument, lots, cost, 0)
        self.collateral.note(target)
        return cost

    def pay(self, uint32_t source, uint32_t target, int currency, int64_t amount):
        self.ledger.transfer(source, target, currency, amount)

    def pay_fund(self, uint32_t account_id, int currency, int64_t amount):
        """From an account to the fund (negative: from the fund)."""
        self.ledger.transfer_system(SYS_FUND, account_id, currency, -amount)

    def pay_capital(self, uint32_t account_id, int currency, int64_t amount):
        """From the venue's capital to an account."""
        self.ledger.transfer_system(SYS_CAPITAL, account_id, currency, amount)

    def convert_debts(self, uint32_t account_id, int currency, auction_id):
        """Settle a cross account's debts with what it has in other currencies, at the index and without a spread,
        against the world outside: first those in other currencies out of `currency`, then what that lacks out of the
        others, ascending. Where the account is worth nothing or less, all is in `currency` afterwards."""
        cdef int c
        before = [int(self.ledger.balance(account_id, c)) for c in range(self.exposure.currencies)]
        if min(before) >= 0 or max(before) <= 0:
            return
        now = list(before)
        for c in range(self.exposure.currencies):
            if c != currency and now[c] < 0:
                now[currency] += self.converted(c, currency, now[c])
                now[c] = 0
        for c in range(self.exposure.currencies):
            if c != currency and now[c] > 0 and now[currency] < 0:
                spent = min(now[c], self.converted_up(currency, c, -now[currency]))
                now[currency] += self.converted(c, currency, spent)
                now[c] -= spent
        for c in range(self.exposure.currencies):
            if now[c] != before[c]:
                self.ledger.transfer_system(SYS_OUTSIDE, account_id, c, now[c] - before[c])
                self._emit_balance(account_id, c, BalanceCause.CONVERSION, now[c] - before[c], now[c], auction_id)

    # ------------------------------------------------------------------ debts

    def debtors(self):
        """Cross accounts with a debt that are not in liquidation, ascending id."""
        return [a for a in self.ledger.debtors() if is_cross(self.accounts.at[<uint32_t>a].model)
                and not self.accounts.at[<uint32_t>a].in_liquidation]

    def cash(self, uint32_t account_id, int currency):
        return self.ledger.balance(account_id, currency)

    def priced(self, int currency, int64_t time_ns):
        """Whether a currency has a fresh price in USD."""
        cdef int u = self.exposure.currency_underlying[currency]
        return u < 0 or (self.marks.fresh(u, time_ns) and self.exposure.rows.grid[u].coin_base_q40 > 0)

    def exchange(self, uint32_t account_id, int source, int64_t spent, int target, int64_t bought):
        """Two legs against the world outside: `spent` is negative."""
        self.ledger.transfer_system(SYS_OUTSIDE, account_id, source, spent)
        self.ledger.transfer_system(SYS_OUTSIDE, account_id, target, bought)

    def pay_fees(self, uint32_t account_id, int currency, int64_t amount):
        """From an account to the venue's fees."""
        self.ledger.transfer_system(SYS_FEES, account_id, currency, -amount)

    def emit_balance(self, uint32_t account_id, int currency, int cause, int64_t amount):
        self._emit_balance(account_id, currency, cause, amount, self.ledger.balance(account_id, currency), 0)

    def after(self, uint32_t account_id):
        """Re-margin an account after its cash changed."""
        return self.monitor.check(account_id)

    # ------------------------------------------------------------------ events

    def emit_auction(self, int kind, uint32_t account_id, auction_id, int phase, int reason, int currency,
                     int64_t value, int64_t requirement, int64_t price):
        cdef AuctionEvent* event = <AuctionEvent*>self.events.emit(kind, 1, account_id)
        event.auction_id = auction_id
        event.phase = phase
        event.reason = reason
        event.currency = currency
        event.value_minor = value
        event.requirement_minor = requirement
        event.price_minor = price

    def emit_bid(self, int kind, uint32_t account_id, auction_id, bid_id, int64_t limit, share_ppm, int phase,
                 int reason):
        cdef BidEvent* event = <BidEvent*>self.events.emit(kind, 1, account_id)
        event.auction_id = auction_id
        event.bid_id = bid_id
        event.limit_minor = limit
        event.share_ppm = share_ppm
        event.phase = phase
        event.reason = reason

    def emit_sold(self, uint32_t account_id, auction_id, bid_id, uint32_t buyer, share_ppm, int64_t price,
                  int64_t fee, int64_t compensation, int currency, int phase):
        cdef AuctionLotSold* event = <AuctionLotSold*>self.events.emit(EventKind.AUCTION_LOT_SOLD, 2, account_id)
        event.auction_id = auction_id
        event.bid_id = bid_id
        event.buyer_account_id = buyer
        event.share_ppm = share_ppm
        event.price_minor = price
        event.fee_minor = fee
        event.compensation_minor = compensation
        event.currency = currency
        event.phase = phase

    def emit_deleveraged(self, uint32_t account_id, auction_id, uint32_t source, uint32_t instrument, int64_t lots,
                         int64_t cost, int64_t loss, rank, leverage_ppm, int64_t added,
                         int kind=EventKind.POSITION_DELEVERAGED):
        cdef PositionDeleveraged* event = <PositionDeleveraged*>self.events.emit(kind, 2, account_id)
        event.auction_id = auction_id
        event.instrument = instrument
        event.from_account_id = source
        event.quantity_lots = lots
        event.cost_minor = cost
        event.loss_minor = loss
        event.rank = rank
        event.leverage_ppm = leverage_ppm
        event.added_requirement_usd_e4 = added
        event.mark_price_e8 = self.instruments.at[instrument].mark_price_e8

    def emit_fund_credit(self, int currency, int64_t amount, reference):
        """A liquidation fee has gone to the fund; `reference` is the bid that paid it."""
        self._emit_balance(0, currency, BalanceCause.LIQUIDATION_FEE, amount,
                           self.ledger.system_of(SYS_FUND, currency), reference)

    def _emit_balance(self, uint32_t account_id, int currency, int cause, int64_t amount, int64_t balance, reference):
        cdef BalanceChanged* event = <BalanceChanged*>self.events.emit(EventKind.BALANCE_CHANGED, 1, account_id)
        event.currency = currency
        event.cause = cause
        event.instrument = 0xFFFFFFFF
        event.amount_minor = amount
        event.balance_minor = balance
        event.reference = reference

    def emit_fund(self, int kind, uint32_t account_id, lease_id, int64_t amount, int currency, int reason,
                  auction_id, int64_t remaining):
        cdef FundEvent* event = <FundEvent*>self.events.emit(kind, 1, account_id)
        event.lease_id = lease_id
        event.amount_minor = amount
        event.currency = currency
        event.reason = reason
        event.auction_id = auction_id
        event.remaining_minor = remaining

    def emit_terms(self, int kind, int underlying, version, terms):
        cdef AuctionTermsChanged* event = <AuctionTermsChanged*>self.events.emit(kind, 2, 0)
        event.underlying = underlying
        event.version = version
        event.buffer_ppm = terms.buffer_ppm
        event.discount_start_ppm = terms.discount_start_ppm
        event.discount_cutoff_ppm = terms.discount_cutoff_ppm
        event.compensation_cap_ppm = terms.compensation_cap_ppm
        event.fee_ppm = terms.fee_ppm
        event.fast_ns = terms.fast_ns
        event.slow_ns = terms.slow_ns
        event.insolvent_ns = terms.insolvent_ns
        event.batch_ns = terms.batch_ns

    def emit_covered(self, uint32_t account_id, auction_id, int currency, int reason, int64_t equity, int64_t capital,
                     int64_t fund, int64_t deleveraged):
        cdef DefaultCovered* event = <DefaultCovered*>self.events.emit(EventKind.DEFAULT_COVERED, 2, account_id)
        event.auction_id = auction_id
        event.currency = currency
        event.reason = reason
        event.equity_minor = equity
        event.capital_minor = capital
        event.fund_minor = fund
        event.deleveraged_minor = deleveraged

    @property
    def seq(self):
        """Number of the command that is being applied."""
        return self.events.seq

    @property
    def time_ns(self):
        return self.events.time_ns
