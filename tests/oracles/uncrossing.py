"""The naive end of an auction: one price for all that crosses. Rules: docs/orders.md."""

from exchange.commands import OrderFlag
from exchange.events import EventKind
from exchange.reasons import Reason
from tests.oracles.book import BUY, SELL, NaiveBook, Order
from tests.oracles.matching import Matching

STATES = ("free", "open", "halted", "close_only", "settling", "settled", "auction")


def crossing(book: NaiveBook, price: int) -> tuple[int, int]:
    """Lots that cross at a price, and bought less sold lots there."""
    buys = sum(o.remaining_lots for o in book.resting[BUY] if o.price_units >= price)
    sells = sum(o.remaining_lots for o in book.resting[SELL] if o.price_units <= price)
    return min(buys, sells), buys - sells


def auction_price(book: NaiveBook, mark_units: float) -> int | None:
    """Where most lots cross; of several prices by surplus, then by its sign or the nearness to the mark."""
    prices = sorted({o.price_units for side in (BUY, SELL) for o in book.resting[side]})
    at = {price: crossing(book, price) for price in prices}
    most = max((lots for lots, _ in at.values()), default=0)
    if most == 0:
        return None
    best = [p for p in prices if at[p][0] == most]
    least = min(abs(at[p][1]) for p in best)
    best = [p for p in best if abs(at[p][1]) == least]
    if all(at[p][1] > 0 for p in best):
        return best[-1]
    if all(at[p][1] < 0 for p in best):
        return best[0]
    return min(best, key=lambda p: (abs(p - mark_units), p))


class Uncrossing(Matching):
    """Ends auctions."""

    def enter(self, slot: int, state: str, until_ns: int = 0) -> None:
        """Change an instrument's state; what may trade from now on is uncrossed."""
        c = self.state.contracts[slot]
        self.state.emit(
            EventKind.INSTRUMENT_STATE_CHANGED, 0, instrument=slot, previous_state=STATES.index(c.state),
            state=STATES.index(state), instrument_id=c.instrument_id,
        )  # fmt: skip
        c.state, c.auction_until_ns = state, until_ns
        if state in ("open", "close_only"):
            self.uncross(slot)

    def cannot_open(self, slot: int) -> Reason:
        """Why a crossed book may not trade now."""
        book, c, s = self.state.books[slot], self.state.contracts[slot], self.state
        if auction_price(book, 0) is None:
            return Reason.NONE
        if s.switches & {("venue", 0), ("underlying", c.underlying)}:
            return Reason.TRADING_STOPPED
        if s.stages[c.underlying]:
            return Reason.MARK_STALE
        expired = c.spec.expiry_ns and s.time_ns >= c.spec.expiry_ns
        return Reason.INSTRUMENT_EXPIRED if expired else Reason.NONE

    def end_auctions(self) -> None:
        """Open what has been in an auction until its time, ascending instrument_id."""
        for c in sorted(self.state.contracts.values(), key=lambda c: c.instrument_id):
            due = c.state == "auction" and 0 < c.auction_until_ns <= self.state.time_ns
            if due and not self.cannot_open(c.slot):
                self.enter(c.slot, "open")

    def uncross(self, slot: int) -> None:
        """Trade until nothing crosses; cancels may ask for another price."""
        book = self.state.books[slot]
        c = self.state.contracts[slot]
        while True:
            price = auction_price(book, c.mark_price_e8 / c.spec.price_unit_e8)
            if price is None:
                return
            self.trade_at(slot, price)

    def trade_at(self, slot: int, price: int) -> None:
        book = self.state.books[slot]
        lots, surplus = crossing(book, price)
        said = False
        while True:
            buy, sell = book.best(BUY), book.best(SELL)
            if buy is None or sell is None or buy.price_units < price or sell.price_units > price:
                return
            taker, maker = (buy, sell) if self.arrived(buy) > self.arrived(sell) else (sell, buy)
            reason, lots_now = self.why_not(taker, maker, price)
            if reason is None and lots_now == 0:
                continue
            if reason:
                self.withdraw(reason[0], reason[1])
                continue
            if not said:
                self.state.emit(
                    EventKind.AUCTION_UNCROSSED, 0, instrument=slot, price_units=price, quantity_lots=lots,
                    surplus_lots=surplus,
                )  # fmt: skip
                said = True
            self.fill(taker, maker, lots_now, price)

    def arrived(self, order: Order) -> int:
        """Place in the order of arrival."""
        return order.order_id

    def why_not(self, taker: Order, maker: Order, price: int) -> tuple[tuple[Order, Reason] | None, int]:
        """(order that must go and why, 0), or (None, lots to trade); no lots where links have changed one."""
        for order in (maker, taker):
            if self.state.stopped(order.account_id, self.state.contracts[order.instrument].underlying):
                return (order, Reason.KILL_SWITCH), 0
        if self.same_trader(taker, maker):
            return (taker, Reason.SELF_TRADE), 0
        if any(self.gives_way(order) for order in (maker, taker)):
            return None, 0
        lots = min(maker.shown_lots, taker.shown_lots)
        for order in (maker, taker):
            if order.flags & OrderFlag.REDUCE_ONLY:
                lots = min(lots, self.reducible(self.state.accounts[order.account_id], order.instrument, order.side))
                if lots == 0:
                    return (order, Reason.REDUCE_ONLY_POSITION_GONE), 0
        for order in (maker, taker):
            if not self.stands(self.state.accounts[order.account_id], order, lots, price):
                return (order, Reason.MAINTENANCE_WOULD_BREACH), 0
        return None, lots
