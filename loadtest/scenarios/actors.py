"""Who acts while a script runs: market makers, takers, bidders in auctions, and the predator."""

import random
from typing import Any

from exchange import commands
from exchange.commands import ANY_CURRENCY, ANY_KIND, NO_INSTRUMENT, CommandKind, TimeInForce
from exchange.events import EventKind
from gateway import records
from gateway.records import decode
from loadtest.scenarios.market import E8, PPM, Market
from loadtest.scenarios.population import Submit
from loadtest.scenarios.scripts import Bidder, Script

LEVELS = ((1, 200_000), (4, 300_000), (12, 500_000))
"""Of a maker's quotes: distance in half widths, and the share of the depth."""
SMALLEST_SHARE_PPM = 2_000
SOLVENT = 1


class Desk:
    """Orders in the perpetuals."""

    def __init__(self, engine: Any, submit: Submit, market: Market) -> None:
        self.engine, self.submit, self.market = engine, submit, market
        self.perpetuals = [view for view in market.views.values() if view.kind == "perpetual"]

    def place(self, account_id: int, view: Any, side: int, price_units: int, lots: int, now: bool) -> bytes:
        """A limit order; `now`: immediate or cancel."""
        force = TimeInForce.IMMEDIATE_OR_CANCEL if now else TimeInForce.GOOD_TIL_CANCELLED
        return self.submit(
            records.place_order(
                account_id=account_id,
                instrument=view.instrument,
                side=side,
                price_units=price_units,
                quantity_lots=lots,
                time_in_force=force,
            )
        )

    def withdraw(self, account_id: int) -> None:
        """Cancel everything of an account."""
        self.submit(
            records.cancel_all(
                account_id=account_id,
                instrument=NO_INSTRUMENT,
                currency=ANY_CURRENCY,
                instrument_kind=ANY_KIND,
                order_type=ANY_KIND,
            )
        )

    def index_units(self, view: Any) -> int:
        """The index in the instrument's price units."""
        return int(self.engine.index_price(self.market.number[view.underlying])) // view.price_unit_e8

    def quote(self, account_id: int, script: Script) -> None:
        """Replace a maker's quotes in every perpetual, around the index."""
        self.withdraw(account_id)
        if self.engine.desk.in_liquidation(account_id):
            return
        for view in self.perpetuals:
            index = self.index_units(view)
            for steps, share_ppm in LEVELS:
                away = max(1, index * script.width_ppm * steps // (2 * PPM))
                lots = self.market.lots(view.name, script.depth_usd * share_ppm // PPM)
                self.place(account_id, view, 0, index - away, lots, False)
                self.place(account_id, view, 1, index + away, lots, False)


class Takers:
    """Small trades of the population through the makers' quotes, so that books and fees live."""

    def __init__(self, desk: Desk, accounts: list[int], seed: int) -> None:
        self.desk, self.accounts = desk, accounts
        self.random = random.Random(seed * 1_000_003 + 1)

    def act(self) -> None:
        """One small trade of somebody who is not in liquidation."""
        account_id = self.random.choice(self.accounts)
        view, side = self.random.choice(self.desk.perpetuals), self.random.randrange(2)
        lots = self.desk.market.lots(view.name, 500 + self.random.randrange(2_000))
        if not self.desk.engine.desk.in_liquidation(account_id):
            index = self.desk.index_units(view)
            self.desk.place(account_id, view, side, index + (index // 200 if side == 0 else -index // 200), lots, True)


class Bidding:
    """Bidders wait until the asking price is theirs, then bid for as much as their margin carries."""

    def __init__(self, engine: Any, submit: Submit, bidders: list[tuple[int, Bidder]]) -> None:
        self.engine, self.submit, self.bidders = engine, submit, bidders
        self.share_ppm = {account_id: PPM for account_id, _ in bidders}
        self.refused: set[int] = set()

    def observe(self, kind: int, fields: Any) -> None:
        """A bidder that could not carry its share asks for half the next time, one that could for more."""
        if kind == EventKind.BID_REJECTED and fields.account_id in self.share_ppm:
            self.refused.add(fields.account_id)
            self.share_ppm[fields.account_id] = max(SMALLEST_SHARE_PPM, self.share_ppm[fields.account_id] // 2)
        elif kind == EventKind.AUCTION_LOT_SOLD and fields.buyer_account_id in self.share_ppm:
            buyer = fields.buyer_account_id
            self.share_ppm[buyer] = min(PPM, self.share_ppm[buyer] * 3 // 2)

    def act(self, second: int) -> None:
        """Every bidder looks at every auction that has no bid."""
        for view in self.engine.auctions():
            if view.bids:
                continue
            for account_id, bidder in self.bidders:
                if second < bidder.from_second or self.engine.desk.in_liquidation(account_id):
                    continue
                if view.phase == SOLVENT:
                    own = view.value_minor * (PPM - bidder.discount_ppm) // PPM
                else:
                    own = min(view.value_minor, 0) - view.requirement_minor * bidder.compensation_ppm // PPM
                if view.price_minor <= own:
                    self._bid(account_id, view)

    def _bid(self, account_id: int, view: Any) -> None:
        self.submit(
            commands.record(
                CommandKind.PLACE_BID,
                account_id,
                auction_id=view.auction_id,
                phase=view.phase,
                share_ppm=self.share_ppm[account_id],
                limit_minor=view.price_minor,
            )
        )


class Predator:
    """Sells the perpetuals down and stands in the way of their recovery, so that their marks fall below the index as
    far as they may; what is liquidated by that it bids for. It buys its shorts back in the last third."""

    PUSH_SHARE_PPM = 900_000
    FROM_SECOND = 200

    def __init__(self, desk: Desk, account_id: int, seconds: int) -> None:
        self.desk, self.account_id = desk, account_id
        self.from_second, self.until_second = self.FROM_SECOND, max(self.FROM_SECOND, seconds * 2 // 3)
        self.traded_usd_e4 = 0

    def act(self, second: int) -> None:
        """Push, or buy back."""
        if second < self.from_second or self.desk.engine.desk.in_liquidation(self.account_id):
            return
        self.desk.withdraw(self.account_id)
        for view in self.desk.perpetuals:
            if second < self.until_second:
                self._push(view)
            else:
                self._buy_back(view)

    def _push(self, view: Any) -> None:
        """Take the bids but for the last, and offer just above that one."""
        bids, _ = self.desk.engine.depth(view.instrument, 1 << 20)
        if len(bids) < 2:
            return
        last = min(price for price, _ in bids)
        lots = sum(lots for price, lots in bids if price > last) * self.PUSH_SHARE_PPM // PPM
        self._trade(view, 1, last + 1, max(1, lots))
        self.desk.place(self.account_id, view, 1, last + 1, self.desk.market.lots(view.name, 50_000), False)

    def _buy_back(self, view: Any) -> None:
        held = self.desk.engine.positions_room.lots(self.account_id, view.instrument)
        if held < 0:
            index = self.desk.index_units(view)
            self._trade(view, 0, index + index // 100, min(-held, self.desk.market.lots(view.name, 400_000)))

    def _trade(self, view: Any, side: int, price_units: int, lots: int) -> None:
        for kind, fields, _ in decode(self.desk.place(self.account_id, view, side, price_units, lots, True)):
            if kind == EventKind.TRADE_EXECUTED:
                self.traded_usd_e4 += self.desk.market.notional_e4(view.instrument, fields.quantity_lots)


__all__ = ["E8", "Bidding", "Desk", "Predator", "Takers"]
