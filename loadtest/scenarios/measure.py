"""What a run did to whom, found from the engine's state before and after each command and from its events.

`socialised` is computed, not declared: whenever a command that nobody but the venue or a bidder gave lowers the equity
(at unchanged marks) of an account that is neither in liquidation nor buying, by more than its receipts of deleveraging
and tear-ups say, the difference is counted. The bucket of an isolated position is looked at by itself, collateral that
it gives back to its account set off; who was liquidated or deleveraged is counted by account.
"""

from collections.abc import Callable
from typing import Any

import msgspec

from exchange.commands import CommandKind
from exchange.events import BalanceCause, EventKind
from gateway.records import decode
from loadtest.scenarios.market import Market
from loadtest.scenarios.venue import fund_total_usd_e4

WATCHED = frozenset(
    map(int, (CommandKind.TICK, CommandKind.PLACE_BID, CommandKind.GRANT_FUND_LEASE, CommandKind.SETTLE_FUND_LEASE))
)
Equities = dict[int, dict[int, int]]
"""{account: {currency: minor units at the marks}}"""


class Point(msgspec.Struct, frozen=True):
    """The venue at a second. Sums in USD."""

    second: int
    index: float
    below_maintenance: int
    in_liquidation: int
    fund: float
    liquidated: float
    deleveraged: float


class Tally(msgspec.Struct):
    """Sums of a run in 1e-4 USD, and counts."""

    liquidations: int = 0
    auctions: int = 0
    sales: int = 0
    closings: int = 0
    sold_notional: int = 0
    deleveraged_notional: int = 0
    adl_loss: int = 0
    torn_up_notional: int = 0
    torn_up_loss: int = 0
    """What opposite buckets of the same owners bore."""
    socialised: int = 0
    slippage: int = 0
    """What bidders gained against the marks by what they took."""
    compensation: int = 0
    """What the fund paid to have portfolios taken: their negative value, and bidders' compensation."""
    fees: int = 0
    drawn: int = 0
    trades: int = 0


class Meter:
    """Follows a venue's commands: `before(record)` answers what looks at the events."""

    def __init__(self, engine: Any, market: Market) -> None:
        self.engine, self.market = engine, market
        self.tally = Tally()
        self.liquidated: set[int] = set()
        self.deleveraged: set[int] = set()
        self.points: list[Point] = []
        self.listeners: list[Callable[[int, Any], None]] = []
        self.worst: list[tuple[int, int, int]] = []
        """(account, currency, minor units) that were taken without a receipt."""

    # ------------------------------------------------------------------ commands

    def before(self, record: bytearray) -> Callable[[bytes], None] | None:
        """Called before each command."""
        kind = int.from_bytes(record[:2], "little")
        counters = self.engine.counters()
        if kind in WATCHED and (counters.auctions_open or counters.below_maintenance):
            held, stood = self._equities(), self._in_liquidation()
            return lambda events: self._after(events, held, stood)
        return self._events

    def _equities(self) -> Equities:
        desk = self.engine.desk
        currencies = range(len(self.engine.config.currencies))
        return {
            account_id: dict(desk.equities(account_id, 0))
            if desk.is_cross(account_id)
            else {c: minor for entity in currencies for c, minor in desk.equities(account_id, entity)}
            for account_id in self.engine.account_ids()
        }

    def _in_liquidation(self) -> set[int]:
        return {account_id for account_id in self.engine.account_ids() if self.engine.desk.in_liquidation(account_id)}

    def _after(self, events: bytes, held: Equities, stood: set[int]) -> None:
        receipts: dict[tuple[int, int], int] = {}
        excused, buyers = set(stood), set()
        for kind, fields, _ in decode(events):
            if kind in (EventKind.POSITION_DELEVERAGED, EventKind.POSITION_TORN_UP):
                key = (fields.account_id, self.engine.desk.currency_of(fields.instrument))
                receipts[key] = receipts.get(key, 0) + fields.loss_minor
            elif kind == EventKind.BALANCE_CHANGED and fields.cause == BalanceCause.COLLATERAL:
                key = (fields.account_id, fields.currency)
                receipts[key] = receipts.get(key, 0) - fields.amount_minor
            elif kind == EventKind.AUCTION_LOT_SOLD:
                buyers.add(fields.buyer_account_id)
            elif kind == EventKind.LIQUIDATION_STARTED:
                excused.add(fields.account_id)
            elif kind == EventKind.TRADE_EXECUTED:
                excused |= {fields.account_id, fields.maker_account_id}
        self._events(events)
        excused |= buyers
        for account_id, now in self._equities().items():
            was = held[account_id]
            for currency in now.keys() | was.keys():
                gained = now.get(currency, 0) - was.get(currency, 0)
                if account_id in buyers:
                    self.tally.slippage += self.market.usd_e4(currency, gained)
                lost = -gained - receipts.get((account_id, currency), 0)
                if lost > 0 and account_id not in excused:
                    self.tally.socialised += max(1, self.market.usd_e4(currency, lost))
                    self.worst.append((account_id, currency, lost))

    def _events(self, events: bytes) -> None:
        for kind, fields, _ in decode(events):
            self._one(kind, fields)
            for listener in self.listeners:
                listener(kind, fields)

    def _one(self, kind: int, fields: Any) -> None:
        tally = self.tally
        if kind == EventKind.TRADE_EXECUTED:
            tally.trades += 1
        elif kind == EventKind.LIQUIDATION_STARTED:
            tally.liquidations += 1
            self.liquidated.add(self.engine.holder(fields.account_id))
        elif kind == EventKind.AUCTION_OPENED:
            tally.auctions += 1
        elif kind == EventKind.POSITION_TRANSFERRED:
            tally.sold_notional += self.market.notional_e4(fields.instrument, fields.quantity_lots)
        elif kind == EventKind.POSITION_DELEVERAGED:
            tally.closings += 1
            self.deleveraged.add(self.engine.holder(fields.account_id))
            tally.deleveraged_notional += self.market.notional_e4(fields.instrument, fields.quantity_lots)
            currency = self.engine.desk.currency_of(fields.instrument)
            tally.adl_loss += self.market.usd_e4(currency, fields.loss_minor)
        elif kind == EventKind.POSITION_TORN_UP:
            tally.torn_up_notional += self.market.notional_e4(fields.instrument, fields.quantity_lots)
            currency = self.engine.desk.currency_of(fields.instrument)
            tally.torn_up_loss += self.market.usd_e4(currency, max(0, fields.loss_minor))
        elif kind == EventKind.AUCTION_LOT_SOLD:
            tally.sales += 1
            tally.fees += self.market.usd_e4(fields.currency, fields.fee_minor)
            tally.compensation += self.market.usd_e4(fields.currency, fields.compensation_minor)
        elif kind == EventKind.FUND_DRAWN:
            tally.drawn += self.market.usd_e4(fields.currency, fields.amount_minor)

    # ------------------------------------------------------------------ the course

    def point(self, second: int) -> None:
        """Note where the venue stands."""
        counters = self.engine.counters()
        self.points.append(
            Point(
                second,
                self.engine.index_price(0) / 1e8,
                counters.below_maintenance,
                len(self._in_liquidation()),
                fund_total_usd_e4(self.engine, self.market.usd_e4) / 1e4,
                self.tally.sold_notional / 1e4,
                self.tally.deleveraged_notional / 1e4,
            )
        )
