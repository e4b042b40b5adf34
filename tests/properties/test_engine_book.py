"""Price-time priority: hypothesis plays orders, edits and cancels against the engine and a naive book."""

from dataclasses import replace

import hypothesis.strategies as st
from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from exchange.commands import TimeInForce
from exchange.config import Fees, Instrument, Limits
from exchange.events import EventKind
from tests.oracles import world
from tests.oracles.bench import Bench, only
from tests.oracles.book import Fill, NaiveBook, Order

PRICES = st.integers(930, 1070)
LOTS = st.integers(1, 40)
SIDES = st.integers(0, 1)
OWNERS = (1, 2, 3, 1)
TIMES = (TimeInForce.GOOD_TIL_CANCELLED, TimeInForce.IMMEDIATE_OR_CANCEL, TimeInForce.FILL_OR_KILL)


def venue() -> Bench:
    """One linear perpetual marked at 1,000 price units, four rich accounts; the last shares the first's owner."""
    contract = Instrument(
        name="X-PERPETUAL", kind="perpetual", underlying="BTC", settlement="USDC", inverse=False,
        price_unit_e8=10**8, lot_size_e8=10**5, fees=Fees(maker_ppm=0, taker_ppm=0),
    )  # fmt: skip
    bench = Bench(world.configuration(instruments=(contract,), limits=Limits()))
    for number, owner in enumerate(OWNERS):
        bench.account(f"a{number}", owner_id=owner, USDC=10**15)
    bench.marks(1_000.0)
    return bench


class BookMachine(RuleBasedStateMachine):
    @initialize()
    def open(self) -> None:
        self.bench = venue()
        self.book = NaiveBook()
        self.live: dict[int, Order] = {}
        self.next_id = 1

    def expect(self, taker: Order, happened: list) -> None:
        """The naive book's fills and self-trade cancels are the engine's, in order."""
        fills, cancelled = self.book.match(taker)
        trades = only(happened, EventKind.TRADE_EXECUTED)
        assert [Fill(t.maker_order_id, t.price_units, t.quantity_lots) for t in trades] == fills
        assert {t.taker_order_id for t in trades} <= {taker.order_id}
        gone = [e.order_id for e in only(happened, EventKind.ORDER_CANCELLED) if e.order_id != taker.order_id]
        assert gone == [o.order_id for o in cancelled]
        for order_id in [o for o, order in self.live.items() if order.remaining_lots == 0] + gone:
            del self.live[order_id]

    @rule(account=st.integers(0, 3), side=SIDES, price=PRICES, lots=LOTS, tif=st.sampled_from(TIMES))
    def place(self, account: int, side: int, price: int, lots: int, tif: TimeInForce) -> None:
        happened = self.bench.place(account + 1, 0, side, price, lots, time_in_force=tif)
        taker = Order(self.next_id, account + 1, OWNERS[account], 0, side, price, lots, lots)
        if tif == TimeInForce.FILL_OR_KILL:
            trial = NaiveBook()
            for one in range(2):
                trial.resting[one].extend(replace(o) for o in self.book.resting[one])
            attempt = replace(taker)
            trial.match(attempt)
            if attempt.remaining_lots:
                assert [e.kind for e in happened] == [EventKind.ORDER_REJECTED]
                return
        assert happened[0].kind == EventKind.ORDER_ACCEPTED
        assert happened[0].order_id == self.next_id
        self.next_id += 1
        self.expect(taker, happened)
        if taker.remaining_lots and tif == TimeInForce.GOOD_TIL_CANCELLED:
            self.book.rest(taker)
            self.live[taker.order_id] = taker

    @precondition(lambda self: self.live)
    @rule(pick=st.randoms(use_true_random=False))
    def cancel(self, pick) -> None:
        order = self.live.pop(pick.choice(sorted(self.live)))
        happened = self.bench.cancel(order.account_id, order.order_id)
        assert [e.remaining_lots for e in happened] == [order.remaining_lots]
        self.book.remove(order)

    @precondition(lambda self: self.live)
    @rule(pick=st.randoms(use_true_random=False), price=PRICES, lots=LOTS, move=st.booleans())
    def edit(self, pick, price: int, lots: int, move: bool) -> None:
        order = self.live[pick.choice(sorted(self.live))]
        price = price if move else order.price_units
        filled = order.quantity_lots - order.remaining_lots
        happened = self.bench.edit(order.account_id, order.order_id, price, lots)
        if lots <= filled:
            assert [e.kind for e in happened] == [EventKind.ORDER_REJECTED]
            return
        kept = price == order.price_units and lots - filled <= order.remaining_lots
        assert happened[0].kept_priority == kept
        if not kept:
            self.book.remove(order)
        order.price_units, order.quantity_lots, order.remaining_lots = price, lots, lots - filled
        if not kept:
            self.expect(order, happened)
            if order.remaining_lots:
                self.book.rest(order)

    @invariant()
    def same_book(self) -> None:
        engine = self.bench.engine
        assert tuple(engine.depth(0, 1_000)) == self.book.depth(1_000)
        for side in range(2):
            assert engine.books.queue(0, side) == [o.order_id for o in self.book.queue(side)]
            best = self.book.best_price(side)
            market = engine.market(0)
            assert (market.best_ask_units if side else market.best_bid_units) == best
            if best is not None:
                assert engine.level_lots(0, side, best) == self.book.level_lots(side, best)

    def teardown(self) -> None:
        if hasattr(self, "bench"):
            assert self.bench.engine.audit() == []


BookMachine.TestCase.settings = settings(stateful_step_count=40, deadline=None)
TestBook = BookMachine.TestCase
