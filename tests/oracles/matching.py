"""Naive matching: one maker at a time, each asked whether it may and can trade."""

from collections.abc import Mapping
from dataclasses import replace

from exchange.commands import OrderFlag, OrderType, TimeInForce
from exchange.events import EventKind
from exchange.reasons import Reason
from tests.oracles.account import Account
from tests.oracles.book import NaiveBook, Order, crosses
from tests.oracles.ending import Ending
from tests.oracles.pretrade import sign
from tests.oracles.state import change_holding, copy_of

RESTING = (TimeInForce.GOOD_TIL_CANCELLED, TimeInForce.GOOD_TIL_DAY)
# a maker, lots to trade with it, or why it must go; without a maker: why the taker must
Step = tuple[Order | None, int, Reason]


class Matching(Ending):
    """Executes orders that are counted as open."""

    def settle(self, order: Order) -> None:
        """Match, then rest, end or forget the order."""
        while order.remaining_lots:
            step = self.next_maker(order, self.state.books[order.instrument], self.state.accounts)
            if step is None:
                break
            maker, lots, reason = step
            if maker is None:
                self.withdraw(order, reason)
                return
            if reason:
                self.withdraw(maker, reason)
            else:
                self.fill(order, maker, lots)
        if order.remaining_lots == 0:
            self.forget(order)
        elif order.order_type != OrderType.MARKET and order.time_in_force in RESTING:
            self.state.books[order.instrument].rest(order)
        else:
            market = order.order_type == OrderType.MARKET
            self.withdraw(order, Reason.MARKET_REMAINDER if market else Reason.IMMEDIATE_OR_CANCEL)

    def next_maker(self, taker: Order, book: NaiveBook, accounts: Mapping[int, Account]) -> Step | None:
        """The next step of a taker, None where nothing crosses."""
        maker = book.best(1 - taker.side)
        if maker is None or not crosses(taker.side, taker.price_units, maker.price_units):
            return None
        setting = self.state.accounts[taker.account_id]
        alone = setting.own_account_only and maker.account_id != taker.account_id
        if maker.owner_id == taker.owner_id and not alone:
            return (None if setting.reject_taker else maker), 0, Reason.SELF_TRADE
        account = accounts[maker.account_id]
        lots = min(maker.shown_lots, taker.remaining_lots)
        if maker.flags & OrderFlag.REDUCE_ONLY:
            lots = min(lots, self.reducible(account, maker.instrument, maker.side))
            if lots == 0:
                return maker, 0, Reason.REDUCE_ONLY_POSITION_GONE
        if not self.stands(account, maker, lots):
            return maker, 0, Reason.MAINTENANCE_WOULD_BREACH
        return maker, lots, Reason.NONE

    def stands(self, account: Account, maker: Order, lots: int) -> bool:
        """Whether the maker keeps its maintenance margin after the fill, or the fill lowers it."""
        if self.state.ample:
            return True
        currency = self.state.contracts[maker.instrument].currency
        tried = copy_of(account)
        self.try_fill(tried, maker, lots)
        after = self.state.model.margin(tried, currency, False)
        if after.equity >= after.maintenance:
            return True
        return after.maintenance < self.state.model.margin(account, currency, False).maintenance

    def try_fill(self, account: Account, maker: Order, lots: int) -> None:
        """Book a maker's fill on a copied account."""
        c = self.state.contracts[maker.instrument]
        cost = c.trade_cost(maker.price_units, lots)
        fee = c.fee(cost, lots, c.spec.fees.maker_ppm, self.state.index_e8[c.underlying])
        funding, cash, _ = change_holding(account, c, sign(maker.side) * lots, sign(maker.side) * cost)
        account.cash[c.currency] += funding + cash - fee

    def fillable(self, order: Order) -> bool:
        """Fill-or-kill: the same walk on copies."""
        real = self.state.books[order.instrument]
        book = NaiveBook()
        for side in range(2):
            book.resting[side].extend(replace(o) for o in real.resting[side])
        makers = {o.account_id for o in book.resting[1 - order.side]}
        accounts = {i: copy_of(self.state.accounts[i]) for i in makers}
        taker = replace(order)
        while taker.remaining_lots:
            step = self.next_maker(taker, book, accounts)
            if step is None or step[0] is None:
                return False
            maker, lots, reason = step
            if not reason:
                self.try_fill(accounts[maker.account_id], maker, lots)
                taker.remaining_lots -= lots
                maker.remaining_lots -= lots
            if reason or maker.remaining_lots == 0:
                book.remove(maker)
            else:
                book.replenish(maker)
        return True

    def fill(self, taker: Order, maker: Order, lots: int) -> None:
        """One trade at the maker's price."""
        s = self.state
        c = s.contracts[taker.instrument]
        index = s.index_e8[c.underlying]
        cost = c.trade_cost(maker.price_units, lots)
        fees = {
            "maker": c.fee(cost, lots, c.spec.fees.maker_ppm, index),
            "taker": c.fee(cost, lots, c.spec.fees.taker_ppm, index),
        }
        realised = {}
        for role, order in (("maker", maker), ("taker", taker)):
            order.remaining_lots -= lots
            order.filled_cost_minor += cost
            account, way = s.accounts[order.account_id], sign(order.side)
            realised[role] = s.book_fill(account, c, way * lots, way * cost, fees[role])
        last = c.last_price_units
        if last and maker.price_units != last:
            c.tick_direction = 0 if maker.price_units > last else 2
        elif last:
            c.tick_direction |= 1
        c.last_price_units = maker.price_units
        c.trade_seq += 1
        s.emit(
            EventKind.TRADE_EXECUTED, taker.account_id, trade_id=s.next_trade_id, instrument=c.slot,
            maker_account_id=maker.account_id, taker_order_id=taker.order_id, maker_order_id=maker.order_id,
            price_units=maker.price_units, quantity_lots=lots, taker_fee_minor=fees["taker"],
            maker_fee_minor=fees["maker"], taker_realised_minor=realised["taker"],
            maker_realised_minor=realised["maker"], mark_price_e8=c.mark_price_e8, index_price_e8=index,
            trade_seq=c.trade_seq, side=taker.side, tick_direction=c.tick_direction, taker_flags=taker.flags & 0xFF,
            maker_flags=maker.flags & 0xFF,
        )  # fmt: skip
        s.next_trade_id += 1
        if maker.remaining_lots == 0:
            s.books[c.slot].remove(maker)
            self.forget(maker)
        elif s.books[c.slot].replenish(maker):
            s.emit(
                EventKind.ORDER_REPLENISHED, maker.account_id, order_id=maker.order_id, instrument=c.slot,
                side=maker.side, price_units=maker.price_units, shown_lots=maker.shown_lots,
                remaining_lots=maker.remaining_lots,
            )  # fmt: skip
        s.check_level(s.accounts[maker.account_id])
        s.check_level(s.accounts[taker.account_id])
