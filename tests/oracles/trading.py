"""Orders placed and edited in the naive venue. Rules: docs/architecture.md, docs/protocol.md."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from exchange.commands import LABEL_MAX_BYTES, NO_INSTRUMENT, OrderFlag, OrderType, TimeInForce
from exchange.events import EventKind
from exchange.reasons import Reason
from tests.oracles.book import BUY, Order
from tests.oracles.matching import RESTING, Matching
from tests.oracles.pretrade import Refused, require

GIVEN_FLAGS = OrderFlag.POST_ONLY | OrderFlag.REJECT_POST_ONLY | OrderFlag.REDUCE_ONLY | OrderFlag.UNIQUE_LABEL
EDIT_FLAGS = OrderFlag.POST_ONLY | OrderFlag.REJECT_POST_ONLY | OrderFlag.REDUCE_ONLY


class Trading(Matching):
    """Order commands over a State."""

    # ------------------------------------------------------------------ place

    def place(self, command: Mapping[str, Any], terms: Mapping[str, Any], account_id: int, label: bytes) -> None:
        try:
            order = self.admit(command, terms, account_id, label)
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

    def admit(self, command: Mapping[str, Any], terms: Mapping[str, Any], account_id: int, label: bytes) -> Order:
        """The order, counted as open, or Refused."""
        s = self.state
        slot, side, lots = command["instrument"], command["side"], command["quantity_lots"]
        tif, price = command["time_in_force"], command["price_units"]
        flags = command["flags"] & GIVEN_FLAGS
        require(command["order_type"] <= OrderType.MARKET_LIMIT and side <= 1, Reason.BAD_ORDER_TYPE)
        require(tif <= TimeInForce.GOOD_TIL_DAY, Reason.BAD_TIME_IN_FORCE)
        require(command["label_bytes"] <= LABEL_MAX_BYTES, Reason.LABEL_TOO_LONG)
        expired = command["valid_until_ns"] and s.time_ns > command["valid_until_ns"]
        require(not expired, Reason.VALID_UNTIL_PASSED)
        special = terms["advanced"] or terms["protection_group"] or terms["display_lots"]
        require(not special, Reason.BAD_TERMS)
        market = command["order_type"] in (OrderType.MARKET, OrderType.MARKET_LIMIT)
        self.check_static(account_id, slot, side, price, lots, market)
        account = s.accounts[account_id]
        resting = not market and tif in RESTING
        require(resting or not flags & OrderFlag.POST_ONLY, Reason.POST_ONLY_NOT_ALLOWED)
        if market:
            price = self.priceless(slot, side, command["order_type"])
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

    def priceless(self, slot: int, side: int, order_type: int) -> int:
        """The limit of an order without one: the edge of the band, or the best opposite price within it."""
        edge = self.band_edge(slot, side)
        if order_type == OrderType.MARKET:
            return edge
        best = self.state.books[slot].best_price(1 - side)
        require(best is not None, Reason.NO_LIQUIDITY)
        return min(edge, best) if side == BUY else max(edge, best)

    # ------------------------------------------------------------------ edit

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
