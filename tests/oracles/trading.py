"""The naive life of an order: matching one fill at a time, edits and cancels. Rules: docs/architecture.md."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from exchange.commands import ANY_CURRENCY, ANY_KIND, LABEL_MAX_BYTES, NO_INSTRUMENT, OrderFlag, OrderType, TimeInForce
from exchange.config import INSTRUMENT_KINDS
from exchange.events import EventKind
from exchange.reasons import Reason
from tests.oracles.book import NaiveBook, Order, crosses
from tests.oracles.margin import Account
from tests.oracles.pretrade import Checks, Refused, require, sign
from tests.oracles.state import change_holding, copy_of

GIVEN_FLAGS = OrderFlag.POST_ONLY | OrderFlag.REJECT_POST_ONLY | OrderFlag.REDUCE_ONLY | OrderFlag.UNIQUE_LABEL
EDIT_FLAGS = OrderFlag.POST_ONLY | OrderFlag.REJECT_POST_ONLY | OrderFlag.REDUCE_ONLY


class Trading(Checks):
    """Order commands over a State."""

    # ------------------------------------------------------------------ place

    def place(self, command: Mapping[str, Any], account_id: int, label: bytes) -> None:
        try:
            order = self.admit(command, account_id, label)
        except Refused as refused:
            self.state.emit(
                EventKind.ORDER_REJECTED, account_id, instrument=command["instrument"], reason=refused.reason,
                side=command["side"], flags=command["flags"], price_units=command["price_units"],
                quantity_lots=command["quantity_lots"],
            )  # fmt: skip
            return
        self.state.next_order_id += 1
        self.state.emit(
            EventKind.ORDER_ACCEPTED, account_id, label, order_id=order.order_id, instrument=order.instrument,
            side=order.side, order_type=order.order_type, time_in_force=order.time_in_force,
            flags=order.flags, price_units=order.price_units, quantity_lots=order.quantity_lots,
            key_id=order.key_id, label_bytes=len(label),
        )  # fmt: skip
        self.settle(order)

    def admit(self, command: Mapping[str, Any], account_id: int, label: bytes) -> Order:
        """The order, counted as open, or Refused."""
        s = self.state
        slot, side, lots = command["instrument"], command["side"], command["quantity_lots"]
        tif, price = command["time_in_force"], command["price_units"]
        flags = command["flags"] & GIVEN_FLAGS
        require(command["order_type"] <= OrderType.MARKET and side <= 1, Reason.BAD_ORDER_TYPE)
        require(tif <= TimeInForce.FILL_OR_KILL, Reason.BAD_TIME_IN_FORCE)
        require(command["label_bytes"] <= LABEL_MAX_BYTES, Reason.LABEL_TOO_LONG)
        expired = command["valid_until_ns"] and s.time_ns > command["valid_until_ns"]
        require(not expired, Reason.VALID_UNTIL_PASSED)
        market = command["order_type"] == OrderType.MARKET
        self.check_static(account_id, slot, side, price, lots, market)
        account = s.accounts[account_id]
        if market:
            price = self.band_edge(slot, side)
        resting = not market and tif == TimeInForce.GOOD_TIL_CANCELLED
        require(resting or not flags & OrderFlag.POST_ONLY, Reason.POST_ONLY_NOT_ALLOWED)
        lots, flags = self.reduce_only(account, slot, side, lots, flags)
        price, flags = self.post_only(slot, side, price, flags)
        if flags & OrderFlag.UNIQUE_LABEL and label:
            require(all(o.label != label for o in account.orders.values()), Reason.DUPLICATE_LABEL)
        self.check_limits(account, slot, side, lots, True)
        require(len(s.orders) < s.config.limits.max_open_orders, Reason.BOOK_FULL)
        order = Order(
            s.next_order_id, account_id, account.owner_id, slot, side, price, lots, lots,
            command["order_type"], tif, flags, command["key_id"], label,
        )  # fmt: skip
        account.orders[order.order_id] = s.orders[order.order_id] = order
        try:
            self.fund(account, order)
            killed = tif == TimeInForce.FILL_OR_KILL and not self.fillable(order)
            require(not killed, Reason.FILL_OR_KILL_UNFILLABLE)
        except Refused:
            self.forget(order)
            raise
        return order

    # ------------------------------------------------------------------ matching

    def settle(self, order: Order) -> None:
        """Match, then rest, end or forget the order."""
        while order.remaining_lots:
            step = self.next_maker(order, self.state.books[order.instrument], self.state.accounts)
            if step is None:
                break
            maker, lots, reason = step
            if reason:
                self.withdraw(maker, reason)
            else:
                self.fill(order, maker, lots)
        if order.remaining_lots == 0:
            self.forget(order)
        elif order.order_type == OrderType.LIMIT and order.time_in_force == TimeInForce.GOOD_TIL_CANCELLED:
            self.state.books[order.instrument].rest(order)
        else:
            market = order.order_type == OrderType.MARKET
            self.withdraw(order, Reason.MARKET_REMAINDER if market else Reason.IMMEDIATE_OR_CANCEL)

    def next_maker(
        self, taker: Order, book: NaiveBook, accounts: Mapping[int, Account]
    ) -> tuple[Order, int, Reason] | None:
        """(maker, lots to trade, NONE), (maker, 0, why it must go), or None where nothing crosses."""
        maker = book.best(1 - taker.side)
        if maker is None or not crosses(taker.side, taker.price_units, maker.price_units):
            return None
        if maker.owner_id == taker.owner_id:
            return maker, 0, Reason.SELF_TRADE
        account = accounts[maker.account_id]
        lots = min(maker.remaining_lots, taker.remaining_lots)
        if maker.flags & OrderFlag.REDUCE_ONLY:
            lots = min(lots, self.reducible(account, maker.instrument, maker.side))
            if lots == 0:
                return maker, 0, Reason.REDUCE_ONLY_POSITION_GONE
        if not self.stands(account, maker, lots):
            return maker, 0, Reason.MAINTENANCE_WOULD_BREACH
        return maker, lots, Reason.NONE

    def stands(self, account: Account, maker: Order, lots: int) -> bool:
        """Whether the maker keeps its maintenance margin after the fill, or the fill lowers it."""
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
            if step is None:
                return False
            maker, lots, reason = step
            if not reason:
                self.try_fill(accounts[maker.account_id], maker, lots)
                taker.remaining_lots -= lots
                maker.remaining_lots -= lots
            if reason or maker.remaining_lots == 0:
                book.remove(maker)
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
            trade_seq=c.trade_seq, side=taker.side, tick_direction=c.tick_direction, taker_flags=taker.flags,
            maker_flags=maker.flags,
        )  # fmt: skip
        s.next_trade_id += 1
        if maker.remaining_lots == 0:
            s.books[c.slot].remove(maker)
            self.forget(maker)
        s.check_level(s.accounts[maker.account_id])
        s.check_level(s.accounts[taker.account_id])

    # ------------------------------------------------------------------ end and change

    def forget(self, order: Order) -> None:
        del self.state.orders[order.order_id]
        del self.state.accounts[order.account_id].orders[order.order_id]

    def withdraw(self, order: Order, reason: int) -> None:
        """End an order with its remainder unfilled."""
        book = self.state.books[order.instrument]
        if any(o is order for o in book.resting[order.side]):
            book.remove(order)
        self.forget(order)
        self.state.emit(
            EventKind.ORDER_CANCELLED, order.account_id, order_id=order.order_id, instrument=order.instrument,
            reason=reason, side=order.side, flags=order.flags, price_units=order.price_units,
            remaining_lots=order.remaining_lots, quantity_lots=order.quantity_lots,
        )  # fmt: skip

    def cancel(self, command: Mapping[str, Any], account_id: int) -> None:
        order = self.state.orders.get(command["order_id"])
        if order is None or order.account_id != account_id:
            self.state.emit(
                EventKind.COMMAND_REJECTED, account_id, command_kind=command["kind"],
                order_id=command["order_id"],
                reason=Reason.UNKNOWN_ORDER if order is None else Reason.NOT_OWNER_OF_ORDER,
            )  # fmt: skip
        else:
            self.withdraw(order, command["reason"])

    def cancel_all(self, command: Mapping[str, Any], account_id: int, label: bytes) -> None:
        """Every order of the account that all given filters name, ascending id."""
        account = self.state.accounts.get(account_id)
        count = 0
        for order_id in sorted(account.orders) if account else ():
            order = account.orders[order_id]
            c = self.state.contracts[order.instrument]
            named = (
                command["instrument"] in (NO_INSTRUMENT, order.instrument)
                and command["currency"] in (ANY_CURRENCY, c.currency)
                and command["instrument_kind"] in (ANY_KIND, INSTRUMENT_KINDS.index(c.spec.kind))
                and command["order_type"] in (ANY_KIND, order.order_type)
                and label in (b"", order.label)
            )
            if named:
                self.withdraw(order, command["reason"])
                count += 1
        self.state.emit(EventKind.COMMAND_DONE, account_id, command_kind=command["kind"], count=count)

    def edit(self, command: Mapping[str, Any], account_id: int) -> None:
        order = self.state.orders.get(command["order_id"])
        shown = None
        try:
            require(order is not None, Reason.UNKNOWN_ORDER)
            require(order.account_id == account_id, Reason.NOT_OWNER_OF_ORDER)
            shown = order
            kept = self.change(command, order)
        except Refused as refused:
            self.state.emit(
                EventKind.ORDER_REJECTED, account_id, reason=refused.reason, order_id=command["order_id"],
                instrument=shown.instrument if shown else NO_INSTRUMENT, side=shown.side if shown else 0,
                price_units=command["price_units"], quantity_lots=command["quantity_lots"],
            )  # fmt: skip
            return
        self.state.emit(
            EventKind.ORDER_EDITED, account_id, order_id=order.order_id, instrument=order.instrument,
            side=order.side, flags=order.flags, kept_priority=kept, price_units=order.price_units,
            quantity_lots=order.quantity_lots, remaining_lots=order.remaining_lots,
        )  # fmt: skip
        if not kept:
            self.settle(order)

    def change(self, command: Mapping[str, Any], order: Order) -> bool:
        """Change a resting order or raise Refused, nothing changed; whether it kept its priority."""
        s = self.state
        account, book = s.accounts[order.account_id], s.books[order.instrument]
        price, quantity = command["price_units"], command["quantity_lots"]
        filled = order.quantity_lots - order.remaining_lots
        require(quantity > 0, Reason.QUANTITY_NOT_POSITIVE)
        require(quantity > filled, Reason.EDIT_BELOW_FILLED)
        self.check_static(account.account_id, order.instrument, order.side, price, quantity, False)
        flags = command["flags"] & EDIT_FLAGS
        remaining, flags = self.reduce_only(account, order.instrument, order.side, quantity - filled, flags)
        price, flags = self.post_only(order.instrument, order.side, price, flags)
        kept = price == order.price_units and remaining <= order.remaining_lots
        trial = replace(order, price_units=price, remaining_lots=remaining, flags=flags)
        if kept:
            trial.flags |= order.flags & OrderFlag.RISK_REDUCING
        else:
            del account.orders[order.order_id]
            try:
                self.check_limits(account, order.instrument, order.side, remaining, False)
                account.orders[order.order_id] = trial
                self.fund(account, trial)
            finally:
                account.orders[order.order_id] = order
            book.remove(order)
        order.price_units, order.remaining_lots, order.flags = price, remaining, trial.flags
        order.quantity_lots = filled + remaining
        return kept
