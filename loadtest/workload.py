"""Seeded order flow for the benches, prepared as stamped command records before anything is timed.

The flow is planned against a real engine, so that cancels name live orders and adds stand near the touch; what
is timed afterwards is the same records against a fresh engine.
"""

import math
import random
from typing import Any, NamedTuple

import numpy as np

from exchange import commands, config, events
from exchange.commands import CommandKind, OrderType, Side, TimeInForce
from exchange.engine import Engine
from loadtest.bench_venue import E8, START_NS, venue_config

MESSAGE_NS = 1_000
INDEX_USD = 100_000
VOL_E6 = 600_000
_HEAD = np.dtype(commands.HEADER)


class Mix(NamedTuple):
    """Shares of the messages; the rest are adds. `crossing` is the share of adds priced through the touch."""

    cancel: float = 0.40
    market: float = 0.05
    crossing: float = 0.14
    near_ticks: float = 8.0
    """Mean distance of an add from its own side's best price."""
    perpetual: float = 0.5
    """Share of the messages for the perpetual where there are options."""
    apart: bool = False
    """Buyers and sellers are different accounts, so that self-trade prevention never acts."""


class Operation(NamedTuple):
    """A message in a form that other libraries can be fed with. `order` numbers the placements from 0."""

    kind: str
    """limit, market or cancel"""
    buy: bool
    price_units: int
    lots: int
    order: int


class Flow(NamedTuple):
    """`setup` builds the venue, `records` are the messages; the counts are those of the planning run."""

    setup: list[bytes]
    records: list[bytes]
    operations: list[Operation]
    placed: int
    cancelled: int
    trades: int
    trading_messages: int
    rejected: int
    marks: int
    digest: bytes


class _Planner:
    """Stamps and applies records one by one, keeping the bytes."""

    def __init__(self) -> None:
        self.engine = Engine()
        self.seq, self.time_ns = 0, START_NS

    def apply(self, record: bytearray) -> tuple[bytes, list[tuple[Any, Any]]]:
        """(the stamped record, its events)."""
        self.seq, self.time_ns = self.seq + 1, self.time_ns + MESSAGE_NS
        head = np.frombuffer(record, dtype=_HEAD, count=1)
        head["seq"], head["time_ns"] = self.seq, self.time_ns
        self.engine.apply(record)
        found = [(kind, fields) for kind, fields, _ in events.records(self.engine.take_events())]
        return bytes(record), found

    def marks(self, index_usd: float) -> bytearray:
        """Marks of everything around an index."""
        index_e8 = round(index_usd * E8)
        pairs = self.engine.pairs(0)
        vols = np.array([(slot, VOL_E6) for slot, _, _ in pairs], dtype=commands.VOL_ENTRY)
        forwards = [(expiry_ns, index_e8) for expiry_ns in sorted({pair[1] for pair in pairs})]
        return commands.update_marks(0, index_e8, self.time_ns, forwards, vols)


def plan(
    seed: int,
    messages: int,
    *,
    options: bool = True,
    accounts: int = 100,
    marks_every: int = 0,
    mix: Mix | None = None,
) -> Flow:
    """A flow of `messages` order messages (plus a mark after each `marks_every` of them, 0: none)."""
    planner, rng, mix = _Planner(), random.Random(seed), mix or Mix()
    setup = [planner.apply(commands.cold(CommandKind.GENESIS, venue_config(options)))[0]]
    for number in range(1, accounts + 1):
        model = "cross_pm" if number % 2 else "segregated_pm"
        created = config.CreateAccount(name=f"trader{number}", margin_model=model)
        setup.append(planner.apply(commands.cold(CommandKind.CREATE_ACCOUNT, created))[0])
        for currency, minor in (("BTC", 500 * 10**10), ("USDC", 10**13)):
            funding = commands.cold(CommandKind.DEPOSIT, config.Transfer(currency, minor), number)
            setup.append(planner.apply(funding)[0])
    setup.append(planner.apply(planner.marks(INDEX_USD))[0])
    drawn = _Flow(planner, rng, mix, accounts, options)
    records: list[bytes] = []
    index, marks = float(INDEX_USD), 0
    for number in range(messages):
        records.append(drawn.message())
        if marks_every and number % marks_every == marks_every - 1:
            index *= math.exp(rng.gauss(0.0, 2e-4))
            records.append(planner.apply(planner.marks(index))[0])
            marks += 1
    faults = planner.engine.audit()
    if faults:
        raise RuntimeError(f"the planned flow breaks an invariant: {faults[0]}")
    counts = drawn.counts
    return Flow(
        setup=setup,
        records=records,
        operations=drawn.operations,
        placed=counts["placed"],
        cancelled=counts["cancelled"],
        trades=counts["trades"],
        trading_messages=counts["trading"],
        rejected=counts["rejected"],
        marks=marks,
        digest=planner.engine.state_digest(),
    )


class _Flow:
    """Draws one message after the other and follows the orders that live."""

    def __init__(self, planner: _Planner, rng: random.Random, mix: Mix, accounts: int, options: bool):
        self._planner, self._rng, self._mix, self._accounts = planner, rng, mix, accounts
        slots = planner.engine.instruments()
        self._perpetual, self._options = slots[0], slots[1:] if options else []
        self._live: list[tuple[int, int]] = []
        """(order id, account) in no particular order."""
        self._place: dict[int, int] = {}
        self._number: dict[int, int] = {}
        self.operations: list[Operation] = []
        self.counts = dict.fromkeys(("placed", "cancelled", "trades", "trading", "rejected"), 0)

    def message(self) -> bytes:
        """The next message, applied."""
        draw = self._rng.random()
        if draw < self._mix.cancel and len(self._live) > 50:
            return self._cancel()
        return self._order(market=draw > 1.0 - self._mix.market)

    def _forget(self, order_id: int) -> tuple[int, int]:
        """Drop an order from the live ones, filling its place with the last."""
        place = self._place.pop(order_id)
        gone, last = self._live[place], self._live.pop()
        if gone != last:
            self._live[place] = last
            self._place[last[0]] = place
        return gone

    def _cancel(self) -> bytes:
        # Young orders go first, as in real flow: half of the cancels hit the last fifty.
        count = len(self._live)
        young = self._rng.random() < 0.5
        order_id, account = self._live[self._rng.randrange(max(0, count - 50) if young else 0, count)]
        record = commands.record(CommandKind.CANCEL_ORDER, account_id=account, order_id=order_id, reason=60)
        stamped, found = self._planner.apply(record)
        self._note(found, 0)
        self.operations.append(Operation("cancel", False, 0, 0, self._number[order_id]))
        return stamped

    def _order(self, market: bool) -> bytes:
        rng, engine = self._rng, self._planner.engine
        option = self._options and rng.random() > self._mix.perpetual
        slot = rng.choice(self._options) if option else self._perpetual
        account = rng.randrange(1, self._accounts + 1)
        buy = rng.random() < 0.5
        if self._mix.apart:
            account = 2 * rng.randrange(1, self._accounts // 2 + 1) - buy
        lots = 1 + int(rng.expovariate(1.0) * (3 if option else 100))
        view = engine.market(slot)
        units = 0 if market else self._price(view, buy, engine.instrument(slot).price_unit_e8)
        record = commands.record(
            CommandKind.PLACE_ORDER,
            account_id=account,
            instrument=slot,
            side=int(Side.BUY if buy else Side.SELL),
            order_type=int(OrderType.MARKET if market else OrderType.LIMIT),
            time_in_force=int(TimeInForce.IMMEDIATE_OR_CANCEL if market else TimeInForce.GOOD_TIL_CANCELLED),
            price_units=units,
            quantity_lots=lots,
        )
        stamped, found = self._planner.apply(record)
        self._note(found, account)
        kind = "market" if market else "limit"
        self.operations.append(Operation(kind, buy, units, lots, self.counts["placed"]))
        self.counts["placed"] += 1
        return stamped

    def _price(self, view: Any, buy: bool, unit_e8: int) -> int:
        rng = self._rng
        mark = round(view.mark_price_e8 / unit_e8)
        bid = view.best_bid_units or mark - 2
        ask = view.best_ask_units or mark + 2
        if rng.random() < self._mix.crossing:
            through = int(rng.expovariate(1.0))
            units = ask + through if buy else bid - through
        else:
            # Anchored half at the book and half at the mark, so that the book does not wander off.
            away = int(rng.expovariate(1.0 / self._mix.near_ticks))
            touch = (bid + ask) // 2 if rng.random() < 0.5 else mark
            units = min(touch, ask - 1) - away if buy else max(touch, bid + 1) + away
        return min(max(units, view.min_price_units, 1), view.max_price_units)

    def _note(self, found: list[tuple[Any, Any]], account: int) -> None:
        """Follow what lives and count what happened."""
        kinds = events.EventKind
        left: dict[int, int] = {}
        traded = False
        for kind, fields in found:
            if kind == kinds.ORDER_ACCEPTED:
                order_id = int(fields["order_id"])
                self._number[order_id] = self.counts["placed"]
                self._place[order_id] = len(self._live)
                self._live.append((order_id, account))
                left[order_id] = int(fields["quantity_lots"])
            elif kind == kinds.TRADE_EXECUTED:
                traded = True
                self.counts["trades"] += 1
                left[int(fields["taker_order_id"])] -= int(fields["quantity_lots"])
                maker = int(fields["maker_order_id"])
                if self._planner.engine.order(maker) is None and maker in self._place:
                    self._forget(maker)
            elif kind == kinds.ORDER_CANCELLED:
                order_id = int(fields["order_id"])
                if order_id in self._place:
                    self._forget(order_id)
                left.pop(order_id, None)
                self.counts["cancelled"] += 1
            elif kind in (kinds.ORDER_REJECTED, kinds.COMMAND_REJECTED):
                self.counts["rejected"] += 1
        for order_id, lots in left.items():
            if lots == 0 and order_id in self._place:
                self._forget(order_id)
        self.counts["trading"] += traded


def replayed(flow: Flow) -> Engine:
    """A fresh engine with the setup of a flow applied."""
    engine = Engine()
    for record in flow.setup:
        engine.apply(record)
    engine.take_events()
    return engine
