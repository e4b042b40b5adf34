"""Naive matching: one maker at a time, each asked whether it may and can trade."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from exchange.commands import OrderFlag, OrderType, TimeInForce, TradeFlag
from exchange.events import EventKind
from exchange.reasons import Reason
from tests.oracles.account import Account
from tests.oracles.book import BUY, SELL, NaiveBook, Order, crosses
from tests.oracles.combo import Combo
from tests.oracles.contract import Contract
from tests.oracles.ending import Ending
from tests.oracles.pretrade import sign
from tests.oracles.protection import Group, Key
from tests.oracles.state import WaitingOrder, change_holding, copy_of

RESTING = (TimeInForce.GOOD_TIL_CANCELLED, TimeInForce.GOOD_TIL_DAY)
# a maker, lots to trade with it, or why it must go; without a maker: why the taker must
Step = tuple[Order | None, int, Reason]


class Matching(Ending):
    """Executes orders that are counted as open."""

    links: Any = None
    """What linked orders do to each other (tests.oracles.links)."""

    def settle(self, order: Order) -> None:
        """Match, then rest, end or forget the order."""
        auction = self.state.contracts[order.instrument].state == "auction"
        while order.remaining_lots and not auction:
            step = self.next_maker(order, self.state.books[order.instrument], self.state.accounts)
            if step is None:
                break
            maker, lots, reason = step
            if maker is None:
                self.withdraw(order, reason)
                return
            if reason:
                self.withdraw(maker, reason)
            elif lots and self.fill(order, maker, lots) and order.remaining_lots:
                self.withdraw(order, Reason.PROTECTION_TRIGGERED)
                return
        if order.remaining_lots == 0:
            self.forget(order)
        elif order.order_type != OrderType.MARKET and order.time_in_force in RESTING:
            self.state.books[order.instrument].rest(order)
        else:
            market = order.order_type == OrderType.MARKET
            self.withdraw(order, Reason.MARKET_REMAINDER if market else Reason.IMMEDIATE_OR_CANCEL)

    def next_maker(
        self, taker: Order, book: NaiveBook, accounts: Mapping[int, Account], traded: dict[int, int] | None = None
    ) -> Step | None:
        """The next step of a taker, None where nothing crosses; no lots and no reason: look again.

        `traded` {order id: lots}: the fills so far of a dry run.
        """
        maker = book.best(1 - taker.side)
        if maker is None or not crosses(taker.side, taker.price_units, maker.price_units):
            return None
        underlying = self.state.contracts[taker.instrument].underlying
        if self.state.stopped(taker.account_id, underlying):
            return None, 0, Reason.KILL_SWITCH
        if self.state.stopped(maker.account_id, underlying):
            return maker, 0, Reason.KILL_SWITCH
        if self.same_trader(taker, maker):
            stops = self.state.accounts[taker.account_id].reject_taker
            return (None if stops else maker), 0, Reason.SELF_TRADE
        account = accounts[maker.account_id]
        lots = min(maker.shown_lots, taker.remaining_lots)
        if traded is None and self.gives_way(maker):
            return maker, 0, Reason.NONE
        if maker.flags & OrderFlag.LINKED and traded is not None:
            lots = min(lots, self.links.would_leave(maker.order_id, traded))
            if lots == 0:
                return maker, 0, Reason.OTHER_CLOSED
        if maker.flags & OrderFlag.REDUCE_ONLY:
            lots = min(lots, self.reducible(account, maker.instrument, maker.side))
            if lots == 0:
                return maker, 0, Reason.REDUCE_ONLY_POSITION_GONE
        c = self.state.contracts[maker.instrument]
        if isinstance(c, Combo) and not c.leg_prices(maker.price_units)[1]:
            return maker, 0, Reason.BAND_PASSED
        if not self.stands(account, maker, lots):
            return maker, 0, Reason.MAINTENANCE_WOULD_BREACH
        return maker, lots, Reason.NONE

    def gives_way(self, order: Order | WaitingOrder) -> bool:
        """Whether what its linked order traded in this command has cancelled or shrunk an order."""
        other_id = order.linked_id if isinstance(order, WaitingOrder) else order.linked_order_id
        return bool(order.flags & OrderFlag.LINKED and self.links.before(order.order_id, other_id))

    def same_trader(self, taker: Order, maker: Order) -> bool:
        """Whether a trade of the two would be a self-trade under the taker's setting."""
        alone = self.state.accounts[taker.account_id].own_account_only and maker.account_id != taker.account_id
        return maker.owner_id == taker.owner_id and not alone

    def stands(self, account: Account, maker: Order, lots: int, price: int | None = None) -> bool:
        """Whether the maker keeps its maintenance margin after the fill, or the fill lowers it."""
        if self.state.ample and not account.holder:
            return True
        currency = self.state.contracts[maker.instrument].currency
        tried = copy_of(account)
        self.try_fill(tried, maker, lots, price)
        after = self.state.model.margin(tried, currency, False)
        if after.equity >= after.maintenance:
            return True
        return after.maintenance < self.state.model.margin(account, currency, False).maintenance

    def try_fill(self, account: Account, maker: Order, lots: int, price: int | None = None) -> None:
        """Book a maker's fill, at its own price or another, on a copied account."""
        c = self.state.contracts[maker.instrument]
        index = self.state.index_e8[c.underlying]
        at = price or maker.price_units
        fills = c.leg_fills(at, lots, False, index) if isinstance(c, Combo) else [(at, *c.fill(at, lots, False, index))]
        for (part, moved), (_, cost, fee) in zip(c.parts(sign(maker.side) * lots), fills, strict=True):
            signed_cost = cost if moved > 0 else -cost
            funding, cash, _ = change_holding(account, part, moved, signed_cost)
            account.cash[part.currency] += funding + cash - fee

    def fillable(self, order: Order) -> bool:
        """Fill-or-kill: the same walk on copies."""
        real = self.state.books[order.instrument]
        book = NaiveBook()
        for side in range(2):
            book.resting[side].extend(replace(o) for o in real.resting[side])
        makers = {o.account_id for o in book.resting[1 - order.side]}
        accounts = {i: copy_of(self.state.accounts[i]) for i in makers}
        groups = {key: replace(group) for key, group in self.state.groups.items()}
        taker = replace(order)
        traded: dict[int, int] = {}
        while taker.remaining_lots:
            step = self.next_maker(taker, book, accounts, traded)
            if step is None or step[0] is None:
                return False
            maker, lots, reason = step
            if not reason:
                self.try_fill(accounts[maker.account_id], maker, lots)
                taker.remaining_lots -= lots
                maker.remaining_lots -= lots
                traded[maker.order_id] = traded.get(maker.order_id, 0) + lots
            if reason or maker.remaining_lots == 0:
                book.remove(maker)
            else:
                book.replenish(maker)
            if not reason and self.stops(taker, maker, lots, book, groups):
                break
        return taker.remaining_lots == 0

    def stops(self, taker: Order, maker: Order, lots: int, book: NaiveBook, groups: dict[Key, Group]) -> bool:
        """Protection in a dry run: whether the taker's group stops it; the orders of the maker's leave the book."""
        s = self.state
        c = s.contracts[taker.instrument]
        triggered = []
        for order, signed in ((maker, -sign(taker.side) * lots), (taker, sign(taker.side) * lots)):
            found = s.group_of(order)
            if found and groups[found[0]].add(c, signed, s.index_e8[c.underlying], s.time_ns):
                triggered.append(found[0])
                for resting in book.resting:
                    resting[:] = [o for o in resting if not s.in_group(o, found[0])]
        return any(s.in_group(taker, key) for key in triggered)

    def fill(self, taker: Order, maker: Order, lots: int, price: int | None = None) -> bool:
        """One trade at the maker's price; whether the taker must stop.

        With `price`, of an uncrossing: both orders rest, and both pay the maker's rate.
        """
        s = self.state
        c = s.contracts[taker.instrument]
        at = price or maker.price_units
        for order in (maker, taker):
            order.remaining_lots -= lots
            s.note(order, "filled", lots)
            s.touched.add(order.account_id)
        if isinstance(c, Combo):
            self.trade_combo(c, taker, maker, lots)
        else:
            self.trade_one(c, taker, maker, lots, at, price is not None)
        for order in (maker, taker) if price else (maker,):
            self.reduced(order)
        s.check_level(s.accounts[maker.account_id])
        s.check_level(s.accounts[taker.account_id])
        self.protect(maker, -sign(taker.side) * lots, None)
        return self.protect(taker, sign(taker.side) * lots, None if price else taker) and not price

    def trade_one(self, c: Contract, taker: Order, maker: Order, lots: int, at: int, uncrossed: bool) -> None:
        """Book a fill of an ordinary contract."""
        index = self.state.index_e8[c.underlying]
        cost, maker_fee = c.fill(at, lots, False, index)
        _, taker_fee = c.fill(at, lots, not uncrossed, index)
        way = sign(taker.side)
        booked = self.book_both(c, taker, maker, way * lots, way * cost, taker_fee, maker_fee)
        self.note_price(c, at)
        flag = TradeFlag.UNCROSSED if uncrossed else 0
        self.say_traded(EventKind.TRADE_EXECUTED, c, taker, maker, at, lots, maker_also=flag, **booked)

    def trade_combo(self, c: Combo, taker: Order, maker: Order, lots: int) -> None:
        """Book a fill's legs; the combo itself has neither fee nor position."""
        index = self.state.index_e8[c.underlying]
        at = maker.price_units
        self.note_price(c, at)
        self.say_traded(EventKind.TRADE_EXECUTED, c, taker, maker, at, lots)
        fills = zip(
            c.parts(sign(taker.side) * lots), c.leg_fills(at, lots, True, index),
            c.leg_fills(at, lots, False, index), strict=True,
        )  # fmt: skip
        for (leg, moved), (price, cost, taker_fee), (*_, maker_fee) in fills:
            leg.trade_seq += 1
            signed_cost = cost if moved > 0 else -cost
            booked = self.book_both(leg, taker, maker, moved, signed_cost, taker_fee, maker_fee)
            self.say_traded(
                EventKind.LEG_TRADE_EXECUTED, leg, taker, maker, price, abs(moved), side=BUY if moved > 0 else SELL,
                taker_also=TradeFlag.COMBO_LEG, **booked,
            )  # fmt: skip

    def book_both(
        self, c: Contract, taker: Order, maker: Order, signed: int, cost: int, taker_fee: int, maker_fee: int
    ) -> dict[str, int]:
        """Book `signed` lots for the taker and the opposite for the maker; fees and realised P&L of the event."""
        s = self.state
        maker_realised = s.book_fill(s.accounts[maker.account_id], c, -signed, -cost, maker_fee)
        taker_realised = s.book_fill(s.accounts[taker.account_id], c, signed, cost, taker_fee)
        return {
            "taker_fee_minor": taker_fee, "maker_fee_minor": maker_fee, "taker_realised_minor": taker_realised,
            "maker_realised_minor": maker_realised,
        }  # fmt: skip

    def say_traded(
        self, kind: EventKind, c: Contract, taker: Order, maker: Order, price: int, lots: int,
        side: int | None = None, taker_also: int = 0, maker_also: int = 0, **booked: int,
    ) -> None:  # fmt: skip
        s = self.state
        s.emit(
            kind, taker.account_id, trade_id=s.next_trade_id, instrument=c.slot, maker_account_id=maker.account_id,
            taker_order_id=taker.order_id, maker_order_id=maker.order_id, price_units=price, quantity_lots=lots,
            mark_price_e8=c.mark_price_e8, index_price_e8=s.index_e8[c.underlying], trade_seq=c.trade_seq,
            side=taker.side if side is None else side, tick_direction=c.tick_direction,
            taker_flags=(taker.flags & 0xFF) | taker_also, maker_flags=(maker.flags & 0xFF) | maker_also, **booked,
        )  # fmt: skip
        s.next_trade_id += 1

    def protect(self, order: Order, signed_lots: int, taker: Order | None) -> bool:
        """Count a fill towards the order's group; whether that triggered it. The taker's own end is its caller's."""
        s = self.state
        found = s.group_of(order)
        if found is None:
            return False
        key, group = found
        c = s.contracts[order.instrument]
        cause = group.add(c, signed_lots, s.index_e8[c.underlying], s.time_ns)
        if cause is None:
            return False
        mine = [o for _, o in sorted(s.accounts[order.account_id].orders.items()) if s.in_group(o, key)]
        group.freeze(s.time_ns)
        s.emit(
            EventKind.PROTECTION_TRIGGERED, order.account_id, underlying=c.underlying,
            protection_group=order.protection_group, cause=cause, frozen_until_ns=group.frozen_until_ns,
            cancelled=sum(o.remaining_lots > 0 for o in mine), **group.sums(),
        )  # fmt: skip
        group.clear()
        for other in mine:
            if other is not taker:
                self.withdraw(other, Reason.PROTECTION_TRIGGERED)
        return True

    def note_price(self, c: Contract, price: int) -> None:
        """Last price and tick direction."""
        last = c.last_price_units
        if last and price != last:
            c.tick_direction = 0 if price > last else 2
        elif last:
            c.tick_direction |= 1
        c.last_price_units = price
        c.trade_seq += 1

    def reduced(self, order: Order) -> None:
        """A resting order has traded: it leaves the book when it is filled, or shows its next tranche."""
        book = self.state.books[order.instrument]
        if order.remaining_lots == 0:
            book.remove(order)
            self.forget(order)
        elif book.replenish(order):
            self.state.emit(
                EventKind.ORDER_REPLENISHED, order.account_id, order_id=order.order_id, instrument=order.instrument,
                side=order.side, price_units=order.price_units, shown_lots=order.shown_lots,
                remaining_lots=order.remaining_lots,
            )  # fmt: skip
