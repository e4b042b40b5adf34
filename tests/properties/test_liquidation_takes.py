"""No sequence of marks, orders, bids and faults breaks conservation, takes anything from an account that is not in
liquidation except by a receipted deleveraging or tear-up, or takes more than the disclosed fee from an owner being
liquidated. Buckets of isolated positions are accounts here.

Faults: the fund's answers lost, late, twice, short or too large; stale marks; index jumps; restarts by replay.
"""

from types import SimpleNamespace

import numpy as np
import pytest

from exchange import commands, config, invariants, payloads
from exchange.commands import CommandKind
from exchange.engine import Engine
from exchange.events import BalanceCause, EventKind
from exchange.reasons import Reason
from exchange.sequencer import Sequencer
from tests.driver import COIN, DAY, SECOND, START_NS, USDC, Driver, linear_perpetual, make_config, option, perpetual

EXPIRY = START_NS // DAY * DAY + 40 * DAY + 8 * 3_600 * 10**9
MODELS = ("segregated_pm", "cross_pm", "segregated_sm", "cross_sm")
LINEAR, INVERSE = "BTC_USDC-PERPETUAL", "BTC-PERPETUAL"
TRADERS, BIDDERS = 12, 3
PPM = 1_000_000
MOVES = (0.0, 0.002, 0.01, 0.03, 0.07)
VOLS = (0.4, 0.6, 1.1)
OWN = frozenset({EventKind.TRADE_EXECUTED, EventKind.BALANCE_CHANGED, EventKind.POSITION_SETTLED})
"""Events that say that an account's equity changes by what it, or a trade of its own, did."""
TAKES = frozenset({
    *OWN, EventKind.AUCTION_LOT_SOLD, EventKind.POSITION_DELEVERAGED, EventKind.POSITION_TORN_UP, EventKind.FUND_DRAWN,
    EventKind.CAPITAL_DRAWN, EventKind.LIQUIDATION_STARTED,
})  # fmt: skip
"""What a mark alone never does."""
RECEIPTED = frozenset({BalanceCause.INTEREST, BalanceCause.CONVERSION, BalanceCause.TRANSFER})
"""Causes whose event is a receipt: it says to the unit by how much equity changes."""


LIQUIDATION = config.Liquidation(
    fast_ns=4 * SECOND, slow_ns=8 * SECOND, insolvent_ns=6 * SECOND, lease_wait_ns=5 * SECOND,
    fund_event_cap_ppm=300_000, lease_stress_ppm=60_000, buffer_move_ppm=5_000,
)  # fmt: skip


class Game:
    """A venue, players and what must hold after every command."""

    def __init__(self, rng):
        self.rng = rng
        self.most_lots = {INVERSE: 30_000, LINEAR: 3_500}  # of one order; of other contracts 30
        options = [option(strike, side, EXPIRY) for strike in (90_000, 110_000) for side in ("call", "put")]
        self.venue = Driver([perpetual(), linear_perpetual(), *options, *self.listed()], self.configuration())
        self.currencies = [one.name for one in self.venue.engine.config.currencies]
        self.index, self.vol = 100_000.0, 0.6
        self.venue.marks(self.index, self.vol)
        self.names = [self.venue.engine.instrument(slot).name for slot in self.venue.engine.instruments()]
        self.house = [self.venue.account(f"house{n}", btc=400, usdc=10**8, model=MODELS[n]) for n in range(4)]
        self.traders = [
            self.venue.account(f"t{n}", btc=1, usdc=100_000, model=MODELS[n % 4], owner=0 if n % 5 else self.house[0])
            for n in range(TRADERS)
        ]
        self.traders += self.isolated()
        self.bidders = [self.venue.account(f"b{n}", btc=30, usdc=3 * 10**6, model=MODELS[n]) for n in range(BIDDERS)]
        self.seen = {
            "sold": 0,
            "deleveraged": 0,
            "liquidated": 0,
            "drawn": 0,
            "capital": 0,
            "torn up": 0,
            "replays": 0,
            "refused answers": 0,
            "sales weighed": 0,
            "marks weighed": 0,
        }
        self.commands = 0
        self.lost: list[bytearray] = []

    def configuration(self):
        return make_config(liquidation=LIQUIDATION, checkpoint_every=500)

    def listed(self):
        """Contracts beside the usual ones."""
        return []

    def isolated(self):
        """Two owners with two accounts each, whose perpetuals are isolated at 25x."""
        found = []
        for number in range(4):
            owner = found[-1] if number % 2 else 0
            account = self.venue.account(f"i{number}", btc=1, usdc=100_000, model=MODELS[number], owner=owner)
            for name in (INVERSE, LINEAR):
                payload = config.SetMarginMode(name, "isolated", 2_500)
                self.venue.cold(CommandKind.SET_MARGIN_MODE, payload, account)
            found.append(account)
        return found

    # ------------------------------------------------------------------ what is watched

    def equities(self):
        engine = self.venue.engine
        found = {}
        for account in engine.account_ids():
            cross = engine.desk.is_cross(account)
            for entity in (0,) if cross else range(len(self.currencies)):
                for currency, minor in engine.desk.equities(account, entity):
                    found[account, currency] = minor
        return found

    def holdings(self):
        """Cash and lots of every account."""
        engine = self.venue.engine
        return [
            (
                [c.cash_minor for c in engine.account(a).currencies],
                [(p.instrument, p.quantity_lots) for p in engine.positions(a)],
            )
            for a in engine.account_ids()
        ]

    def funds(self):
        """This venue's claim and its capital, by currency."""
        ledgers = [self.venue.engine.ledger(name) for name in self.currencies]
        return [ledger[name] for name in ("fund", "capital") for ledger in ledgers]

    def submit(self, record):
        """One command, with everything that may not happen looked for."""
        kind = int.from_bytes(record[:2], "little")
        engine = self.venue.engine
        before, fund = self.equities(), self.funds()
        mark = kind == CommandKind.UPDATE_MARKS
        held = self.holdings() if mark and self.commands % 10 == 0 else None
        stood = {a for a in engine.account_ids() if engine.desk.in_liquidation(a)}
        found = self.venue.submit(record)
        self.commands += 1
        if mark:
            assert not TAKES & {event.kind for event in found}
            assert held is None or held == self.holdings()
            self.seen["marks weighed"] += held is not None
        else:
            after = self.equities()
            self.check(found, before, after, stood)
            self.check_sellers(found, before, after)
        self.check_fund(found, fund)
        for event in found:
            self.seen["sold"] += event.kind == EventKind.AUCTION_LOT_SOLD
            self.seen["deleveraged"] += event.kind == EventKind.POSITION_DELEVERAGED
            self.seen["liquidated"] += event.kind == EventKind.LIQUIDATION_STARTED
            self.seen["drawn"] += event.kind == EventKind.FUND_DRAWN
            self.seen["torn up"] += event.kind == EventKind.POSITION_TORN_UP
            self.seen["capital"] += event.kind == EventKind.CAPITAL_DRAWN
        if self.commands % 40 == 0:
            assert invariants.conserved(engine)
        for event in found:
            if event.kind == EventKind.AUCTION_CLOSED and event.reason == Reason.DELEVERAGED:
                self.nothing_owed(event.account_id)
        if self.commands % 1_000 == 0:
            assert invariants.audit(engine) == []
        return found

    def nothing_owed(self, account):
        """After deleveraging: no positions in what was liquidated, and no debt beside money in another currency."""
        desk = self.venue.engine.desk
        if desk.is_cross(account):
            assert desk.held(account, 0) == [] and all(minor >= 0 for _, minor in desk.equities(account, 0))

    def check(self, found, before, after, stood):
        """At unchanged marks nobody else loses, and a receipt is the whole of the loss."""
        engine = self.venue.engine
        excused, receipts = set(stood), {}
        for event in found:
            if event.kind == EventKind.BALANCE_CHANGED and event.cause in (BalanceCause.COLLATERAL, *RECEIPTED):
                key = (event.account_id, event.currency)  # to a bucket, another account, or what debts cost
                receipts[key] = receipts.get(key, 0) - event.amount_minor
            elif event.kind in OWN:
                excused |= {event.account_id, getattr(event, "maker_account_id", 0)}
            elif event.kind == EventKind.AUCTION_LOT_SOLD:
                excused.add(event.buyer_account_id)
            elif event.kind == EventKind.LIQUIDATION_STARTED:
                excused.add(event.account_id)
            elif event.kind in (EventKind.POSITION_DELEVERAGED, EventKind.POSITION_TORN_UP):
                key = (event.account_id, engine.desk.currency_of(event.instrument))
                receipts[key] = receipts.get(key, 0) + event.loss_minor
        for key in before.keys() | after.keys():
            if key[0] in excused:
                continue
            lost = before.get(key, 0) - after.get(key, 0)
            assert lost == receipts.get(key, 0), (key, lost, receipts.get(key, 0), [e.kind.name for e in found])

    def check_sellers(self, found, before, after):
        """An owner whose slice is sold keeps the rest of its equity and gets the price less the disclosed fee: no more
        is taken. A share is known to 1e-6."""
        cross, left, slack, disturbed = self.venue.engine.desk.is_cross, {}, {}, set()
        for event in found:
            if event.kind == EventKind.AUCTION_LOT_SOLD:
                account = event.account_id
                for currency in range(len(self.currencies)) if cross(account) else (event.currency,):
                    key = (account, currency)
                    was = left.get(key, before.get(key, 0))
                    left[key] = was - was * event.share_ppm // PPM
                    if currency == event.currency:
                        left[key] += event.price_minor - event.fee_minor + event.compensation_minor
                    slack[key] = slack.get(key, 200) + abs(was) // PPM
            elif event.kind in TAKES:
                others = [getattr(event, name, 0) for name in ("maker_account_id", "from_account_id")]
                disturbed |= {event.account_id, *others}
        for key, amount in left.items():
            if key[0] not in disturbed:
                assert after.get(key, 0) >= amount - slack[key], (key, before.get(key), amount, after.get(key))
                self.seen["sales weighed"] += 1

    def check_fund(self, found, fund):
        """The fund takes disclosed fees, at most their rate of the price, and fund and capital give what their events
        say."""
        number = len(self.currencies)
        fees, draws, given = [0] * number, [0] * 2 * number, [0] * 2 * number
        rate = self.venue.engine.config.liquidation.fee_ppm
        for event in found:
            if event.kind == EventKind.AUCTION_LOT_SOLD:
                fees[event.currency] += event.fee_minor
                assert 0 <= event.fee_minor <= max(event.price_minor, 0) * rate // PPM + 100
            elif event.kind in (EventKind.FUND_DRAWN, EventKind.CAPITAL_DRAWN):
                draws[event.currency + number * (event.kind == EventKind.CAPITAL_DRAWN)] += event.amount_minor
            elif event.kind == EventKind.BALANCE_CHANGED and event.account_id == 0:
                given[event.currency + number * (event.cause == BalanceCause.CAPITAL_ENDOWMENT)] += event.amount_minor
        moved = [now - then for now, then in zip(self.funds(), fund, strict=True)]
        # a fee is disclosed twice: with the sale and as the fund's credit
        assert moved == [gave - drew for gave, drew in zip(given, draws, strict=True)]
        assert all(gave >= fee for gave, fee in zip(given, fees, strict=False))

    # ------------------------------------------------------------------ moves

    def marks(self, jump=False):
        rng = self.rng
        size = 0.12 if jump else rng.choice(MOVES)
        self.index = float(np.clip(self.index * (1 + size * rng.choice((-1, 1))), 30_000, 300_000))
        self.vol = float(rng.choice(VOLS))
        engine = self.venue.engine
        vols = [(slot, round(self.vol * 1e6)) for slot, _, _ in engine.pairs(0)]
        price = round(self.index * 1e8)
        self.submit(commands.update_marks(0, price, self.venue.now, [(EXPIRY, price)], vols))

    def tick(self, most=3.0):
        self.venue.now += int(self.rng.random() * most * SECOND)
        self.submit(commands.record(CommandKind.TICK))

    def order(self):
        """Somebody takes a position against the house, or leaves an order in the book."""
        rng, engine = self.rng, self.venue.engine
        name = self.names[rng.integers(len(self.names))]
        slot = self.venue.slot(name)
        market, unit = engine.market(slot), engine.instrument(slot).price_unit_e8
        mark = max(1, market.mark_price_e8 // unit)
        most = self.most_lots.get(name, 30)
        lots, side = int(rng.integers(1, most)), int(rng.integers(2))
        maker, taker = self.house[rng.integers(4)], self.traders[rng.integers(len(self.traders))]
        self.place(maker, slot, 1 - side, int(mark), lots)
        self.place(taker, slot, side, int(mark), lots)
        if rng.random() < 0.7:
            cancel = {"instrument": commands.NO_INSTRUMENT, "currency": commands.ANY_CURRENCY,
                      "instrument_kind": commands.ANY_KIND, "order_type": commands.ANY_KIND}  # fmt: skip
            self.submit(commands.record(CommandKind.CANCEL_ALL, maker, **cancel))

    def place(self, account, slot, side, price, lots):
        fields = {"instrument": slot, "side": side, "price_units": price, "quantity_lots": lots}
        self.submit(commands.record(CommandKind.PLACE_ORDER, account, **fields))

    def bid(self):
        auctions = self.venue.engine.auctions()
        if not auctions:
            return
        rng, view = self.rng, auctions[self.rng.integers(len(auctions))]
        account = (self.bidders + self.traders)[rng.integers(BIDDERS + 3)]
        limit = view.price_minor if rng.random() < 0.7 else int(view.price_minor * rng.uniform(0.5, 1.5))
        share = int(rng.choice((PPM, 300_000, 20_000)))
        phase = view.phase if rng.random() < 0.9 else 3 - view.phase
        fields = {"auction_id": view.auction_id, "phase": phase, "share_ppm": share, "limit_minor": limit}
        self.submit(commands.record(CommandKind.PLACE_BID, account, **fields))

    def answer(self):
        """The fund's answers, or what becomes of them on the way."""
        rng = self.rng
        for lease in self.venue.engine.leases():
            fault = rng.random()
            if fault < 0.25:
                continue  # lost, or late
            if lease.state == "requested":
                amount = lease.requested_minor if fault < 0.7 else int(lease.requested_minor * rng.random())
                amount += int(fault > 0.97) * 10**9
                record = commands.record(
                    CommandKind.GRANT_FUND_LEASE,
                    lease_id=lease.lease_id,
                    amount_minor=max(amount, lease.granted_minor),
                    exhausted=int(fault >= 0.7),
                )
            elif lease.state == "settling":
                used = lease.used_minor + int(fault > 0.95)
                record = commands.record(CommandKind.SETTLE_FUND_LEASE, lease_id=lease.lease_id, used_minor=used)
            else:
                continue
            self.lost.append(bytearray(record))
            refused = [e for e in self.submit(record) if e.kind == EventKind.COMMAND_REJECTED]
            self.seen["refused answers"] += len(refused)
        if self.lost and rng.random() < 0.2:
            again = bytearray(self.lost[rng.integers(len(self.lost))])
            self.submit(again)  # twice, perhaps long after

    def money(self):
        rng = self.rng
        if rng.random() < 0.3:
            name, amount = ("BTC", COIN // 2) if rng.random() < 0.5 else ("USDC", 20_000 * USDC)
            kind = CommandKind.ENDOW_FUND if rng.random() < 0.6 else CommandKind.ENDOW_CAPITAL
            self.submit(commands.cold(kind, config.Transfer(name, amount)))
            return
        account = self.traders[rng.integers(TRADERS)]
        kind = CommandKind.DEPOSIT if rng.random() < 0.7 else CommandKind.WITHDRAW
        name, amount = ("BTC", COIN // 10) if rng.random() < 0.5 else ("USDC", 9_000 * USDC)
        self.submit(commands.cold(kind, config.Transfer(name, amount), account))

    def preferences(self):
        """Owners say what they would rather have sold; a bidder is retained, or no longer."""
        rng = self.rng
        if rng.random() < 0.7:
            word = str(rng.choice(("smallest", "proportional", "futures_first", "options_first")))
            account = self.traders[rng.integers(TRADERS)]
            self.submit(commands.cold(CommandKind.SET_UNWIND, payloads.SetUnwind(word), account))
            return
        most = int(rng.choice((0, 100_000, 10**8)))
        account = self.bidders[rng.integers(BIDDERS)]
        self.submit(commands.cold(CommandKind.SET_BACKSTOP, payloads.SetBackstop(most), account))

    def stale(self):
        """No marks for longer than they last: liquidations stand still."""
        self.venue.now += 15 * SECOND
        before = dict(self.seen)
        self.submit(commands.record(CommandKind.TICK))
        assert self.seen == before

    def replay(self):
        """A restart: the journal into a fresh engine, which goes on in place of the old one."""
        fresh = Engine()
        fresh.apply_many(b"".join(self.venue.journal.records))
        assert fresh.state_digest() == self.venue.engine.state_digest()
        fresh.take_events()
        self.venue.engine = fresh
        self.venue.sequencer = Sequencer(fresh, self.venue.journal, lambda: self.venue.now)
        self.seen["replays"] += 1

    def moves(self):
        """What may happen, with weights."""
        return (
            (self.marks, 30), (self.tick, 38), (self.order, 10), (self.bid, 12), (self.answer, 12), (self.money, 3),
            (lambda: self.marks(True), 1), (self.stale, 0.4), (self.preferences, 1),
        )  # fmt: skip

    def play(self, count):
        """Moves until so many commands have been given."""
        following = 4_000
        while self.commands < count:
            moves = self.moves()
            weights = np.array([weight for _, weight in moves], dtype=float)
            weights /= weights.sum()
            moves[self.rng.choice(len(moves), p=weights)][0]()
            if self.commands >= following:
                self.replay()
                following += 4_000
        self.replay()
        assert invariants.audit(self.venue.engine) == []


def played(rng, commands_to_give, history_note, seed):
    game = Game(rng)
    game.play(commands_to_give)
    history_note(f"liquidations, seed {seed}: {game.commands:,} commands, {game.seen}")
    return game.seen


def test_nothing_is_taken_that_no_receipt_states(rng, seed, history_note):
    seen = played(rng, 20_000, history_note, seed)
    assert all(count > 0 for count in seen.values()), seen


@pytest.mark.full
@pytest.mark.parametrize("number", range(20))
def test_nothing_is_taken_at_length(number, seed, history_note):
    seen = played(np.random.default_rng([seed, number]), 25_000, history_note, seed)
    assert seen["sold"] and seen["deleveraged"], seen


def test_the_check_itself_notices(rng):
    game = Game(rng)
    before = game.equities()
    after = dict(before)
    victim = (game.traders[0], 0)
    after[victim] -= 1
    with pytest.raises(AssertionError):
        game.check([], before, after, set())
    game.check([], before, after, {victim[0]})


def test_the_check_of_sales_notices(rng):
    """One unit in ten thousand more than price, share and fee say is seen."""
    game = Game(rng)
    seller = game.traders[0]
    sold = SimpleNamespace(kind=EventKind.AUCTION_LOT_SOLD, account_id=seller, currency=0, share_ppm=400_000,
                           price_minor=30_000_000, fee_minor=600_000, compensation_minor=0)  # fmt: skip
    before = {(seller, 0): 10**8}
    fair = 10**8 * 6 // 10 + 30_000_000 - 600_000
    game.check_sellers([sold], before, {(seller, 0): fair})
    with pytest.raises(AssertionError):
        game.check_sellers([sold], before, {(seller, 0): fair - 10_000})
