"""Receipts of tear-ups, worked out again from what an engine held before the command. Rules: docs/liquidation.md."""

from typing import Any, NamedTuple

from exchange.commands import CommandKind
from exchange.engine import Engine
from exchange.events import EventKind

MOVES = frozenset({
    EventKind.TRADE_EXECUTED, EventKind.BALANCE_CHANGED, EventKind.POSITION_SETTLED, EventKind.POSITION_TRANSFERRED,
    EventKind.POSITION_DELEVERAGED, EventKind.FUND_DRAWN, EventKind.AUCTION_LOT_SOLD, EventKind.LIQUIDATION_STARTED,
    EventKind.LIQUIDATION_ENDED, EventKind.POSITION_TORN_UP,
})  # fmt: skip


class Held(NamedTuple):
    """A bucket's position and what it is worth with its collateral, minor units."""

    owner_id: int
    slot: int
    lots: int
    mark_minor: int
    worth: int
    in_liquidation: bool


class Receipts:
    """Follow an engine with `before` and `faults` around each command."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.held: dict[int, Held] = {}
        self.checked = 0

    def before(self, record: bytes) -> None:
        """Note what buckets hold before a Tick."""
        engine, self.held = self.engine, {}
        if int.from_bytes(record[:2], "little") != CommandKind.TICK:
            return
        for account_id in engine.account_ids():
            for bucket in engine.buckets(account_id):
                number, slot = bucket.bucket_account_id, bucket.instrument
                for p in engine.positions(number):
                    cash = engine.account(number).currencies
                    own = next(c for c in cash if c.currency == engine.instrument(slot).settlement)
                    worth = own.cash_minor + p.mark_value_minor - p.cost_minor + p.funding_accrued_minor
                    mark = p.mark_value_minor // p.quantity_lots if p.quantity_lots else 0
                    owner = engine.account(account_id).owner_id
                    self.held[number] = Held(owner, slot, p.quantity_lots, mark, worth, bucket.in_liquidation)

    def faults(self, happened: list[tuple[EventKind, Any, Any]]) -> list[str]:
        """Differences between a Tick's first receipts of a bucket and the rule, where nothing moved it before."""
        receipts: dict[int, list[Any]] = {}
        moved: set[int] = set()
        for kind, event, _ in happened:
            source = int(event["from_account_id"]) if kind == EventKind.POSITION_TORN_UP else 0
            if source and source not in moved:
                receipts.setdefault(source, []).append(event)
            elif kind in MOVES and not (
                kind == EventKind.LIQUIDATION_STARTED and int(event["account_id"]) in self.held
            ):
                moved |= {int(event[name]) for name in event.dtype.names if name.endswith("account_id")}
        found = []
        for source, events in receipts.items():
            others = {number for number in self.held if self._opposite(source, number)}
            if source in self.held and not others & moved and len(receipts) == 1:
                found += self._compare(source, events)
        return found

    def _opposite(self, source: int, number: int) -> bool:
        x, y = self.held.get(source), self.held[number]
        return x is not None and (x.owner_id, x.slot) == (y.owner_id, y.slot) and x.lots * y.lots < 0

    def _compare(self, source: int, events: list[Any]) -> list[str]:
        self.checked += 1
        x = self.held[source]
        size = left = abs(x.lots)
        deficit, told, wanted = -x.worth, 0, []
        for number in sorted(self.held, key=lambda n: (self.held[n].in_liquidation, n)):
            if not self._opposite(source, number):
                continue
            y = self.held[number]
            lots = min(left, abs(y.lots))
            while deficit > 0 and lots > 0 and lots * deficit > (y.worth - 1) * size:
                lots = max(0, min(lots - 1, (y.worth - 1) * size // deficit))
            if lots <= 0:
                continue
            left -= lots
            share = deficit * (size - left) // size - told
            told += share
            signed = lots if x.lots > 0 else -lots
            wanted.append((number, x.slot, signed, signed * x.mark_minor + share, share, len(wanted) + 1))
        names = ("account_id", "instrument", "quantity_lots", "cost_minor", "loss_minor", "rank")
        got = [tuple(int(event[name]) for name in names) for event in events]
        return [] if got == wanted else [f"bucket {source} torn up {got}, by the rule {wanted}"]
