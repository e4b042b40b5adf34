"""The same as test_liquidation_takes.py on a wider venue: `span16` underlyings, ETH as a second coin, debts that cost
interest and are converted, transfers between an owner's accounts, governed marks.

Faults beside the usual ones: only one underlying's marks grow old, marks that nobody could mean, jumps that nobody
confirms, circuit breakers, kill switches, announced margin, commands that come twice, clocks that leap by hours,
crashes that lose the commands that nobody was told of.
"""

from collections import Counter, deque
from types import SimpleNamespace

import msgspec
import numpy as np
import pytest

from exchange import commands, config, payloads
from exchange.commands import CommandKind
from exchange.engine import Engine
from exchange.events import BalanceCause, EventKind
from exchange.governance import AnnounceMargin, Governance
from exchange.mark_events import JumpOutcome
from exchange.parameters_span import SpanCredit, SpanCredits, SpanParameters, SpreadLeg
from exchange.sequencer import Sequencer
from tests.driver import COIN, DAY, SECOND, USDC, make_config, option, perpetual
from tests.properties.test_liquidation_takes import EXPIRY, LIQUIDATION, MOVES, PPM, RECEIPTED, TRADERS, Game

HOUR = 3_600 * SECOND
COINS = ("BTC", "ETH")
ETH = 2
"""Its number as a currency; as an underlying it is 1."""
MINORS = {"BTC": COIN, "USDC": USDC, "ETH": COIN}
INTEREST_PPM, SPREAD_PPM = 900_000, 3_000
LIMITS = {"BTC": 0, "USDC": 2_000 * USDC, "ETH": COIN // 2}
"""Debts above are converted; in BTC they stay and cost interest."""
SPAN = SpanParameters(short_option_minimum_ppm=20_000)
CREDIT = SpanCredit(
    priority=1,
    legs=(SpreadLeg(underlying="BTC", ratio_ppm=PPM, side="long"),
          SpreadLeg(underlying="ETH", ratio_ppm=25 * PPM, side="short")),
    rate_ppm=500_000,
)  # fmt: skip
MOVED = {EventKind.POSITION_TRANSFERRED, EventKind.POSITION_DELEVERAGED, EventKind.POSITION_TORN_UP}
MET = (
    "span16:started span16:sold span16:deleveraged ETH:sold ETH:fee ETH:drawn interest conversion conversion:free "
    "debt:started debt:sold transfer transfer:refused transfer:again trading_stopped margin_announced marks:refused "
    "jump:HELD jump:LAPSED jump:CONFIRMED breaker_tripped one:stale crash seen:sold seen:deleveraged"
).split()
"""What must really occur."""
HISTORIES = 4


TERMS = {"debt_interest_ppm": INTEREST_PPM, "conversion_spread_ppm": SPREAD_PPM}
ETH_USDC = {"underlying": "ETH", "settlement": "USDC", "inverse": False, "price_unit_e8": 10**6, "lot_size_e8": 10**6}
HAIRCUT = {"haircut_ppm": 50_000, "debt_ppm": 1_025_000}
CURRENCIES = (
    config.Currency("BTC", 10, underlying="BTC", debt_limit_minor=LIMITS["BTC"], **TERMS),
    config.Currency("USDC", 6, debt_limit_minor=LIMITS["USDC"], **TERMS),
    config.Currency("ETH", 10, underlying="ETH", debt_limit_minor=LIMITS["ETH"], **HAIRCUT, **TERMS),
)


def eth_option(strike, side):
    made = option(strike, side, EXPIRY, lot_size_e8=10**8)
    return msgspec.structs.replace(made, name=f"ETH-{strike}-{side[0]}", underlying="ETH", settlement="ETH")


class WideGame(Game):
    """`both`: BTC is margined by `span16` as well, with credits between the two."""

    def __init__(self, rng, both):
        self.both, self.eth, self.met = both, 4_000.0, Counter()
        self.hours = deque(maxlen=64)
        """(commands in the journal, hour up to which debts have been charged) after each of the last Ticks."""
        self.before = deque(maxlen=3)
        """(commands in the journal, cash of everybody) before each of the last commands."""
        self.given = deque(maxlen=40)
        """Orders and bids that may come again."""
        self.transfers: dict[str, tuple[bytes, int]] = {}
        """By nonce, of those that were done: the command, when."""
        self.stopped: list[payloads.KillSwitch] = []
        super().__init__(rng)
        self.most_lots = {**self.most_lots, "ETH-PERPETUAL": 20_000, "ETH_USDC-PERPETUAL": 6_000}
        self.mark_eth()
        for number, account in enumerate([*self.house, *self.bidders, *self.traders]):
            coins = 10_000 if number < 4 else 800 if number < 7 else 20
            self.submit(commands.cold(CommandKind.DEPOSIT, config.Transfer("ETH", coins * COIN), account))
        engine = self.venue.engine
        for account in self.traders[:TRADERS]:
            if engine.desk.is_cross(account):  # money in coins, losses in dollars
                left = config.Transfer("USDC", 99_000 * USDC)
                self.submit(commands.cold(CommandKind.WITHDRAW, left, account))
        everybody = [*self.house, *self.traders]
        by_owner = {owner: [a for a in everybody if engine.desk.owner(a) == owner] for owner in everybody}
        self.groups = [(owner, ids) for owner, ids in by_owner.items() if len(ids) > 1]

    def configuration(self):
        eth = config.Underlying(
            "ETH", "eth_usd", span=SPAN, jump_sources=2, jump_hold_ns=5 * SECOND, breaker_move_ppm=100_000,
            breaker_window_ns=4 * SECOND, breaker_pause_ns=3 * SECOND,
        )  # fmt: skip
        btc = config.Underlying("BTC", "btc_usd", span=SPAN) if self.both else config.Underlying("BTC", "btc_usd")
        more = {"span_credits": SpanCredits(credits=(CREDIT,))} if self.both else {}
        return make_config(
            currencies=CURRENCIES, underlyings=(btc, eth), liquidation=LIQUIDATION, checkpoint_every=500,
            governance=Governance(margin_notice_ns=5 * SECOND), **more,
        )  # fmt: skip

    def listed(self):
        return [
            perpetual("ETH-PERPETUAL", underlying="ETH", settlement="ETH", price_unit_e8=5_000_000),
            perpetual("ETH_USDC-PERPETUAL", **ETH_USDC),
            *(eth_option(strike, side) for strike in (3_500, 4_500) for side in ("call", "put")),
        ]

    # ------------------------------------------------------------------ what is watched

    def cash(self):
        engine = self.venue.engine
        return {a: [engine.desk.cash(a, c) for c in range(3)] for a in engine.account_ids()}

    def submit(self, record):
        engine, kind = self.venue.engine, int.from_bytes(record[:2], "little")
        cash, number = self.cash(), len(self.venue.journal.records)
        stood = {account for account in engine.account_ids() if engine.desk.in_liquidation(account)}
        self.before.append((number, cash))
        found = super().submit(record)
        now_hour = self.venue.now // HOUR
        hours = now_hour - self.hours[-1][1] if self.hours else 0
        if kind == CommandKind.TICK:
            self.hours.append((len(self.venue.journal.records), now_hour))
        self.check_moved(found)
        self.check_debts(found, stood, hours)
        self.check_transfers(found, stood)
        self.count(found, cash)
        return found

    def check_moved(self, found):
        """A liquidation starts below maintenance, and what has no fresh marks neither starts nor moves."""
        engine = self.venue.engine
        for event in found:
            if event.kind == EventKind.LIQUIDATION_STARTED:
                assert event.value_minor < event.requirement_minor, event
                moved = engine.desk.underlyings(event.account_id)
            elif event.kind in MOVED:
                moved = {COINS.index(engine.instrument(event.instrument).underlying)}
            else:
                continue
            assert all(engine.mark_state(underlying).stage == "live" for underlying in moved), event

    def usd(self, event):
        name = self.currencies[event.currency]
        price = 1.0 if name == "USDC" else self.venue.engine.index_price(COINS.index(name)) / 1e8
        return event.amount_minor / MINORS[name] * price

    def check_debts(self, found, stood, hours):
        """Interest is the disclosed rate of the debt, to the unit; a conversion costs the index and, outside a
        liquidation, the disclosed spread, and takes no more than the debt."""
        is_cross, groups, stood = self.venue.engine.desk.is_cross, {}, set(stood)
        for event in found:
            if event.kind == EventKind.LIQUIDATION_STARTED:
                stood.add(event.account_id)  # from here on in this command
            if event.kind != EventKind.BALANCE_CHANGED:
                continue
            if event.cause == BalanceCause.INTEREST:
                debt = event.amount_minor - event.balance_minor
                assert debt > 0 and is_cross(event.account_id) and event.account_id not in stood, event
                assert -event.amount_minor == -(-debt * INTEREST_PPM * hours // (PPM * 8_760)), (event, hours)
            elif event.cause == BalanceCause.CONVERSION:
                # money that is spent is not overdrawn, a debt that is settled does not become money
                was = event.balance_minor - event.amount_minor
                free = event.account_id not in stood
                groups.setdefault((event.account_id, free), []).append(event)
                assert not free or (0 <= event.balance_minor < was or was < event.balance_minor <= 0), event
                assert event.amount_minor < 0 or not free or -was > LIMITS[self.currencies[event.currency]], event
        for (account, free), group in groups.items():
            assert is_cross(account)
            amounts = [self.usd(event) for event in group]
            spent = -sum(amount for amount in amounts if amount < 0)
            spread = spent * SPREAD_PPM / (PPM + SPREAD_PPM) if free else 0.0
            assert abs(sum(amounts) + spread) <= 1e-4 * len(group) + 1e-9 * spent, (group, sum(amounts), spread)

    def check_transfers(self, found, stood):
        """What one account gives another of the same owner gets, and the giver keeps its initial margin."""
        desk = self.venue.engine.desk
        told = [e for e in found if e.kind == EventKind.BALANCE_CHANGED and e.cause == BalanceCause.TRANSFER]
        assert sum(event.amount_minor for event in told) == 0 and len(told) in (0, 2)
        for event in told:
            assert desk.owner(event.account_id) == desk.owner(told[0].account_id)
            if event.amount_minor < 0:
                entity = 0 if desk.is_cross(event.account_id) else event.currency
                equity, initial, _ = desk.margins(event.account_id, entity)
                assert event.account_id not in stood and equity >= initial and event.balance_minor >= 0

    def span16(self, account, instruments):
        """Whether a portfolio account has one of these where `span16` margins it."""
        engine = self.venue.engine
        spanned = COINS if self.both else COINS[1:]
        return engine.account(account).margin_model.endswith("_pm") and any(
            engine.instrument(slot).underlying in spanned for slot in instruments
        )

    def count(self, found, cash):
        met, engine = self.met, self.venue.engine
        met["marks:refused"] += any(event.kind == EventKind.MARKS_REJECTED for event in found)
        gone = {}
        for event in found:
            if event.kind == EventKind.POSITION_TRANSFERRED:
                gone.setdefault(event.account_id, []).append(event.instrument)
        for event in found:
            kind, account = event.kind, event.account_id
            if kind == EventKind.LIQUIDATION_STARTED:
                own = [p.instrument for p in engine.positions(account) if p.quantity_lots]
                met["span16:started"] += self.span16(account, own)
                met["debt:started"] += engine.desk.is_cross(account) and min(cash.get(account, [0])) < 0
            elif kind == EventKind.AUCTION_LOT_SOLD:
                met["span16:sold"] += self.span16(account, gone.get(account, ()))
                met["ETH:sold"] += any(engine.instrument(slot).underlying == "ETH" for slot in gone.get(account, ()))
                met["ETH:fee"] += event.currency == ETH and event.fee_minor > 0
                met["debt:sold"] += engine.desk.is_cross(account) and min(cash[account]) < 0
            elif kind == EventKind.POSITION_DELEVERAGED:
                met["span16:deleveraged"] += self.span16(account, (event.instrument,))
            elif kind in (EventKind.FUND_DRAWN, EventKind.CAPITAL_DRAWN):
                met["ETH:drawn"] += event.currency == ETH
            elif kind == EventKind.BALANCE_CHANGED and event.cause in RECEIPTED:
                met[BalanceCause(event.cause).name.lower()] += 1
                met["conversion:free"] += event.cause == BalanceCause.CONVERSION and event.reference == 0
            elif kind == EventKind.MARK_JUMP:
                met[f"jump:{JumpOutcome(event.outcome).name}"] += 1
            elif kind in (EventKind.BREAKER_TRIPPED, EventKind.MARGIN_ANNOUNCED, EventKind.TRADING_STOPPED):
                met[kind.name.lower()] += 1

    # ------------------------------------------------------------------ moves

    def mark_eth(self, size=0.0, sources=0, factor=1.0):
        """ETH's own marks, `size` away from the last; `factor`: said, but not meant."""
        self.eth = float(np.clip(self.eth * (1 + size), 1_000, 16_000))
        price = round(self.eth * factor * 1e8)
        vols = [(slot, round(self.vol * 1.2e6)) for slot, _, _ in self.venue.engine.pairs(1)]
        return self.submit(commands.update_marks(1, price, self.venue.now, [(EXPIRY, price)], vols, sources))

    def marks(self, jump=False):
        rng, last = self.rng, self.index
        which = rng.random()
        if which < 0.8 or jump:
            super().marks(jump)
        if which >= 0.2 or jump:
            own = rng.choice(MOVES) * rng.choice((-1, 1))
            self.mark_eth(self.index / last - 1 + own if which < 0.8 else own)

    def one_stale(self):
        """One underlying's marks grow old while the other's are fresh."""
        self.venue.now += 11 * SECOND
        if self.rng.random() < 0.5:
            super().marks()
        else:
            self.mark_eth(float(self.rng.choice(MOVES)))
        self.submit(commands.record(CommandKind.TICK))
        stages = {self.venue.engine.mark_state(underlying).stage for underlying in range(2)}
        self.met["one:stale"] += len(stages) == 2 and "live" in stages

    def leap(self):
        """The clock is hours further on."""
        self.venue.now += int(self.rng.uniform(0.5, 5) * HOUR)
        self.submit(commands.record(CommandKind.TICK))
        self.marks()

    def bad_marks(self):
        """Marks that nobody could mean, a jump that one source alone says, or one that a second confirms."""
        rng, kind = self.rng, self.rng.integers(3)
        if kind == 0:
            self.mark_eth(factor=float(rng.choice((1e-7, 1e6))), sources=3)
            return
        factor = float(rng.choice((0.7, 1.35)))
        self.mark_eth(factor=factor, sources=1)
        if kind == 1:
            self.venue.now += 6 * SECOND
            self.submit(commands.record(CommandKind.TICK))
        else:
            self.mark_eth(factor - 1, sources=2)

    def transfer(self):
        rng, desk = self.rng, self.venue.engine.desk
        if self.transfers and rng.random() < 0.2:
            self.transfer_again()
            return
        main, ids = self.groups[rng.integers(len(self.groups))]
        source, destination = (ids[n] for n in rng.integers(len(ids), size=2))
        if rng.random() < 0.1:
            destination = self.bidders[0]
        by = main if rng.random() < 0.6 else source
        currency = int(rng.integers(3))
        has = max(1, desk.cash(source, currency))
        amount = max(1, int(min(has, 100 * MINORS[self.currencies[currency]] * (1_000 if currency == 1 else 1))
                            * rng.choice((0.01, 0.2, 0.6, 1.0, 1.2))))  # fmt: skip
        nonce = f"transfer-{self.commands}" if rng.random() < 0.6 else ""
        payload = payloads.SubmitTransfer(self.currencies[currency], amount, destination, source, nonce)
        record = commands.cold(CommandKind.SUBMIT_TRANSFER, payload, by)
        done = any(event.kind == EventKind.FUNDS_TRANSFERRED for event in self.submit(bytearray(record)))
        self.met["transfer:refused"] += not done
        if done and nonce:
            self.transfers[nonce] = bytes(record), self.venue.now

    def transfer_again(self):
        """A client that lost the answer asks again: nothing is paid twice within a day."""
        nonce = str(self.rng.choice(list(self.transfers)))
        record, when = self.transfers.pop(nonce)
        found = self.submit(bytearray(record))
        if self.venue.now < when + DAY:
            assert [event.kind for event in found if event.kind != EventKind.MARK_STAGE_CHANGED] == [
                EventKind.COMMAND_DONE
            ], found
            self.met["transfer:again"] += 1

    def switch(self):
        """Trading is stopped somewhere, or no longer."""
        rng = self.rng
        if self.stopped:
            last = self.stopped.pop()
            self.submit(commands.cold(CommandKind.KILL_SWITCH, msgspec.structs.replace(last, on=False)))
            return
        scope = str(rng.choice(("venue", "underlying", "account", "owner")))
        number = self.traders[rng.integers(TRADERS)]
        target = {"venue": "", "underlying": str(rng.choice(COINS)), "owner": str(number),
                  "account": self.venue.engine.account(number).name}[scope]  # fmt: skip
        self.stopped.append(payloads.KillSwitch(scope, target, True, bool(rng.random() < 0.5)))
        self.submit(commands.cold(CommandKind.KILL_SWITCH, self.stopped[-1]))

    def announce(self):
        rng = self.rng
        payload = AnnounceMargin(
            underlying=str(rng.choice(COINS)), scale_ppm=int(rng.choice((800_000, 1_000_000, 1_300_000))),
            effective_ns=self.venue.now + 6 * SECOND, operator=1,
        )  # fmt: skip
        self.submit(commands.cold(CommandKind.ANNOUNCE_MARGIN, payload))

    def place(self, account, slot, side, price, lots):
        super().place(account, slot, side, price, lots)
        self.given.append(self.venue.journal.records[-1])

    def again(self):
        """A client's order comes a second time."""
        if self.given:
            self.submit(bytearray(self.given[self.rng.integers(len(self.given))]))

    def spend(self):
        """A cross account takes its dollars out, so that losses become debts."""
        account = self.traders[self.rng.integers(TRADERS)]
        cash = self.venue.engine.desk.cash(account, 1)
        if cash > 0 and self.venue.engine.desk.is_cross(account):
            self.submit(commands.cold(CommandKind.WITHDRAW, config.Transfer("USDC", cash), account))

    def money(self):
        super().money()
        rng = self.rng
        kind = CommandKind.DEPOSIT if rng.random() < 0.7 else CommandKind.ENDOW_FUND
        account = self.traders[rng.integers(TRADERS)] if kind == CommandKind.DEPOSIT else 0
        self.submit(commands.cold(kind, config.Transfer("ETH", 2 * COIN), account))

    def crash(self):
        """The process dies before its last commands are durable: they never were, and nobody was told of them."""
        number, cash = self.before[0]
        del self.venue.journal.records[number:]
        self.venue.journal.durable_seq = number
        fresh = Engine()
        fresh.apply_many(b"".join(self.venue.journal.records))
        fresh.take_events()
        self.venue.engine = fresh
        self.venue.sequencer = Sequencer(fresh, self.venue.journal, lambda: self.venue.now)
        assert self.cash() == cash
        self.before.clear()
        self.hours = deque([one for one in self.hours if one[0] <= number], maxlen=64)
        self.transfers.clear()
        self.met["crash"] += 1

    def moves(self):
        return (
            *super().moves(), (self.one_stale, 0.6), (self.leap, 0.5), (self.bad_marks, 1.0), (self.transfer, 3.0),
            (self.switch, 1.0 + 6.0 * bool(self.stopped)), (self.announce, 0.5), (self.again, 1.0), (self.spend, 1.0),
            (self.crash, 0.05 * (len(self.before) == 3)),
        )  # fmt: skip


def wide(rng, both, commands_to_give, history_note, seed):
    game = WideGame(rng, both)
    game.play(commands_to_give)
    history_note(f"liquidations on the wide venue, seed {seed}: {game.commands:,} commands, {game.seen} {game.met}")
    met = game.met
    met.update({f"seen:{name}": count for name, count in game.seen.items()})
    return met


def lacking(met):
    return [name for name in MET if not met[name]]


def test_nothing_is_taken_with_span16_two_coins_debts_and_transfers(seed, history_note):
    met = Counter()
    for number in range(HISTORIES):
        met += wide(np.random.default_rng([seed, number]), number % 2 == 0, 8_000, history_note, seed)
        if not lacking(met):
            return
    pytest.fail(f"{HISTORIES} histories have not met {lacking(met)}")


@pytest.mark.full
@pytest.mark.parametrize("number", range(20))
def test_nothing_is_taken_on_the_wide_venue_at_length(number, seed, history_note):
    met = Counter()
    for following in range(HISTORIES):
        rng = np.random.default_rng([seed, number, following])
        met += wide(rng, number % 2 == 0, 25_000, history_note, seed)
        if not lacking(met):
            return
    pytest.fail(f"{HISTORIES} histories have not met {lacking(met)}")


def test_the_checks_of_debts_notice(rng):
    """One unit more of interest, a unit of spread too much, a sum that does not arrive."""
    game = WideGame(rng, both=True)
    debtor = next(a for a in game.traders if game.venue.engine.desk.is_cross(a))

    def told(cause, currency, amount, balance):
        return SimpleNamespace(kind=EventKind.BALANCE_CHANGED, account_id=debtor, cause=cause, currency=currency,
                               amount_minor=amount, balance_minor=balance)  # fmt: skip

    debt = 8_760 * 10**6
    due = debt * INTEREST_PPM * 2 // (PPM * 8_760)
    game.check_debts([told(BalanceCause.INTEREST, 1, -due, -debt - due)], set(), 2)
    with pytest.raises(AssertionError):
        game.check_debts([told(BalanceCause.INTEREST, 1, -due - 1, -debt - due - 1)], set(), 2)
    with pytest.raises(AssertionError):
        game.check_debts([told(BalanceCause.INTEREST, 1, -due, -debt - due)], {debtor}, 2)
    spent, bought = COIN // 10, 10_000 * USDC  # at 100,000
    spread = spent * SPREAD_PPM // PPM
    for dearer, fair in ((0, True), (spent // 1_000, False)):
        out = told(BalanceCause.CONVERSION, 0, -spent - spread - dearer, COIN)
        into = told(BalanceCause.CONVERSION, 1, bought, 0)
        if fair:
            game.check_debts([out, into], set(), 0)
            continue
        with pytest.raises(AssertionError):
            game.check_debts([out, into], set(), 0)
    out = told(BalanceCause.TRANSFER, 0, -100, COIN)
    with pytest.raises(AssertionError):
        game.check_transfers([out, told(BalanceCause.TRANSFER, 0, 99, COIN)], set())
