"""Orders placed and edited in the naive venue. Rules: docs/architecture.md, docs/protocol.md."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from exchange.commands import LABEL_MAX_BYTES, NO_INSTRUMENT, OrderFlag, OrderType, TimeInForce
from exchange.events import EventKind
from exchange.reasons import Reason
from tests.oracles.bands import advanced_price
from tests.oracles.book import BUY, SELL, Order
from tests.oracles.matching import RESTING
from tests.oracles.pretrade import Refused, require
from tests.oracles.uncrossing import Uncrossing

GIVEN_FLAGS = OrderFlag.POST_ONLY | OrderFlag.REJECT_POST_ONLY | OrderFlag.REDUCE_ONLY | OrderFlag.UNIQUE_LABEL
EDIT_FLAGS = OrderFlag.POST_ONLY | OrderFlag.REJECT_POST_ONLY | OrderFlag.REDUCE_ONLY


ADVANCED_END_NS = 15 * 60 * 10**9
LASTING_FLAGS = OrderFlag.LINKED | OrderFlag.QUOTE | OrderFlag.PROTECTED | OrderFlag.ADVANCED | OrderFlag.ICEBERG
SPECIAL = OrderFlag.LINKED | OrderFlag.PROTECTED | OrderFlag.ADVANCED | OrderFlag.ICEBERG


def terms_of(order: Order) -> dict[str, int]:
    """An order's special terms as its events show them."""
    names = ("display_lots", "protection_group", "advanced", "advanced_value_e8", "linked_order_id")
    return {name: getattr(order, name) for name in names}


class Trading(Uncrossing):
    """Order commands over a State."""

    # ------------------------------------------------------------------ place

    def place(
        self, command: Mapping[str, Any], terms: Mapping[str, Any], account_id: int, label: bytes, special: int = 0
    ) -> bool:
        """Accept and match an order with `special` flags beside its own, or reject it; whether it was accepted."""
        try:
            order = self.admit(command, terms, account_id, label, special)
        except Refused as refused:
            self.refuse(command, account_id, refused.reason)
            return False
        self.state.next_order_id += 1
        self.say_accepted(order)
        self.settle(order)
        return True

    def refuse(self, command: Mapping[str, Any], account_id: int, reason: Reason) -> None:
        """Say that a new order is not taken."""
        self.state.emit(
            EventKind.ORDER_REJECTED, account_id, instrument=command["instrument"], reason=reason,
            side=command["side"], flags=command["flags"], price_units=command["price_units"],
            quantity_lots=command["quantity_lots"], order_id=command.get("announced_id", 0),
        )  # fmt: skip

    def say_accepted(self, order: Order) -> None:
        self.state.note(order, "sized", order.quantity_lots)
        special = terms_of(order) if order.flags & SPECIAL else {}
        self.state.emit(
            EventKind.ORDER_ACCEPTED, order.account_id, order.label, order_id=order.order_id,
            instrument=order.instrument, side=order.side, order_type=order.order_type,
            time_in_force=order.time_in_force, terms_slots=order.flags & SPECIAL != 0, flags=order.flags,
            price_units=order.price_units, quantity_lots=order.quantity_lots, key_id=order.key_id,
            label_bytes=len(order.label), **special,
        )  # fmt: skip

    def admit(
        self, command: Mapping[str, Any], terms: Mapping[str, Any], account_id: int, label: bytes, special: int
    ) -> Order:
        """The order, counted as open, or Refused."""
        s = self.state
        slot, side, lots = command["instrument"], command["side"], command["quantity_lots"]
        tif, price = command["time_in_force"], command["price_units"]
        flags = (command["flags"] & GIVEN_FLAGS) | special
        require(command["order_type"] <= OrderType.MARKET_LIMIT and side <= 1, Reason.BAD_ORDER_TYPE)
        require(tif <= TimeInForce.GOOD_TIL_DAY, Reason.BAD_TIME_IN_FORCE)
        require(command["label_bytes"] <= LABEL_MAX_BYTES, Reason.LABEL_TOO_LONG)
        expired = command["valid_until_ns"] and s.time_ns > command["valid_until_ns"]
        require(not expired, Reason.VALID_UNTIL_PASSED)
        market = command["order_type"] in (OrderType.MARKET, OrderType.MARKET_LIMIT)
        advanced = terms["advanced"] != 0
        self.check_static(account_id, slot, side, price, lots, market or advanced)
        account = s.accounts[account_id]
        resting = not market and tif in RESTING
        require(resting or not flags & OrderFlag.POST_ONLY, Reason.POST_ONLY_NOT_ALLOWED)
        gathers = resting and not flags & OrderFlag.POST_ONLY
        require(gathers or s.contracts[slot].state != "auction", Reason.AUCTION_ONLY)
        flags |= self.check_terms(command, terms, account_id)
        if advanced:
            price = self.check_advanced(terms, slot, side)
            self.check_static(account_id, slot, side, price, lots, False)
        if market:
            price = self.priceless(slot, side, command["order_type"])
        reduces = flags & OrderFlag.REDUCE_ONLY or self.closes_only(slot)
        require(not (reduces and s.contracts[slot].legs), Reason.BAD_TERMS)
        lots, flags = self.reduce_only(account, slot, side, lots, flags)
        price, flags = self.post_only(slot, side, price, flags)
        if flags & OrderFlag.UNIQUE_LABEL and label:
            require(all(o.label != label for o in account.orders.values()), Reason.DUPLICATE_LABEL)
        self.check_limits(account, slot, side, lots, True)
        require(len(s.orders) < s.config.limits.max_open_orders, Reason.BOOK_FULL)
        order = Order(
            s.next_order_id, account_id, account.owner_id, slot, side, price, lots, lots,
            command["order_type"], tif, flags, command["key_id"], label, display_lots=terms["display_lots"],
            protection_group=terms["protection_group"], advanced=terms["advanced"],
            advanced_value_e8=terms["advanced_value_e8"] if terms["advanced"] else 0,
            linked_order_id=terms["linked_order_id"] if special & OrderFlag.LINKED else 0,
            both_count=bool(terms.get("both_count")),
        )  # fmt: skip
        account.orders[order.order_id] = s.orders[order.order_id] = order
        try:
            self.fund(account, order)
            killed = tif == TimeInForce.FILL_OR_KILL and not self.fillable(order)
            require(not killed, Reason.FILL_OR_KILL_UNFILLABLE)
        except Refused:
            self.forget(order)
            self.isolating.drawn(account_id, slot, order.order_id, False)
            raise
        self.isolating.drawn(account_id, slot, order.order_id, True)
        return order

    def check_group(self, command: Mapping[str, Any], terms: Mapping[str, Any], account_id: int) -> None:
        """Whether an order may belong to the protection group that it names."""
        underlying = self.state.contracts[command["instrument"]].underlying
        group = self.state.groups.get((account_id, underlying, terms["protection_group"]))
        require(group is not None, Reason.UNKNOWN_GROUP)
        require(not group.frozen(self.state.time_ns), Reason.QUOTES_FROZEN)

    def check_terms(self, command: Mapping[str, Any], terms: Mapping[str, Any], account_id: int) -> int:
        """The flags that special terms give an order, or Refused."""
        flags = 0
        rests = command["order_type"] == OrderType.LIMIT and command["time_in_force"] in RESTING
        if terms["advanced"]:
            fits = rests and not command["flags"] & OrderFlag.POST_ONLY and not terms["display_lots"]
            require(fits, Reason.BAD_TERMS)
            flags |= OrderFlag.ADVANCED
        if terms["display_lots"]:
            require(rests and not self.state.contracts[command["instrument"]].legs, Reason.BAD_TERMS)
            self.check_display(command, terms["display_lots"], command["instrument"])
            flags |= OrderFlag.ICEBERG
        if terms["protection_group"]:
            require(command["order_type"] == OrderType.LIMIT, Reason.BAD_TERMS)
            self.check_group(command, terms, account_id)
            flags |= OrderFlag.PROTECTED
        return flags

    def price_of(self, slot: int, side: int, kind: int, value_e8: int) -> int | None:
        """The price of an advanced order at the last marks."""
        s, c = self.state, self.state.contracts[slot]
        band = (self.band_edge(slot, BUY), self.band_edge(slot, SELL)) if c.marked else (0, 0)
        return advanced_price(s.grids[c.underlying], c, side, kind, value_e8, band, s.index_e8[c.underlying])

    def check_advanced(self, terms: Mapping[str, Any], slot: int, side: int) -> int:
        """The price that the terms mean, or Refused."""
        late = self.state.time_ns >= self.state.contracts[slot].spec.expiry_ns - ADVANCED_END_NS
        price = self.price_of(slot, side, terms["advanced"], terms["advanced_value_e8"])
        require(price is not None and not late, Reason.BAD_TERMS)
        return price

    def check_display(self, command: Mapping[str, Any], display: int, slot: int) -> None:
        """Whether an iceberg of the command's quantity may show so much; it may not move off the other side."""
        quantity, flags = command["quantity_lots"], command["flags"]
        moves = flags & OrderFlag.POST_ONLY and not flags & OrderFlag.REJECT_POST_ONLY
        fits = self.state.contracts[slot].spec.min_quantity_lots <= display < quantity <= 100 * display
        require(fits and not moves, Reason.BAD_TERMS)

    def priceless(self, slot: int, side: int, order_type: int) -> int:
        """The limit of an order without one: the edge of the band, or the best opposite price within it."""
        edge = self.band_edge(slot, side)
        if order_type == OrderType.MARKET:
            return edge
        best = self.state.books[slot].best_price(1 - side)
        require(best is not None, Reason.NO_LIQUIDITY)
        return min(edge, best) if side == BUY else max(edge, best)

    # ------------------------------------------------------------------ edit

    def edit(self, command: Mapping[str, Any], terms: Mapping[str, Any], account_id: int) -> None:
        order = self.state.orders.get(command["order_id"])
        shown = None
        try:
            require(order is not None, Reason.UNKNOWN_ORDER)
            require(order.account_id == account_id, Reason.NOT_OWNER_OF_ORDER)
            shown = order
            require(not order.flags & OrderFlag.QUOTE, Reason.QUOTE_NOT_EDITABLE)
            kept = self.change(command, terms, order)
        except Refused as refused:
            self.state.emit(
                EventKind.ORDER_REJECTED, account_id, reason=refused.reason, order_id=command["order_id"],
                instrument=shown.instrument if shown else NO_INSTRUMENT, side=shown.side if shown else 0,
                price_units=command["price_units"], quantity_lots=command["quantity_lots"],
            )  # fmt: skip
            return
        self.say_edited(order, kept)
        self.state.note(order, "sized", order.quantity_lots)
        if not kept:
            self.settle(order)

    def say_edited(self, order: Order, kept: bool) -> None:
        self.state.touched.add(order.account_id)
        special = terms_of(order) if order.flags & SPECIAL else {}
        self.state.emit(
            EventKind.ORDER_EDITED, order.account_id, order_id=order.order_id, instrument=order.instrument,
            side=order.side, flags=order.flags & 0xFF, kept_priority=kept, price_units=order.price_units,
            terms_slots=order.flags & SPECIAL != 0, quantity_lots=order.quantity_lots,
            remaining_lots=order.remaining_lots, **special,
        )  # fmt: skip

    def change(self, command: Mapping[str, Any], terms: Mapping[str, Any], order: Order) -> bool:
        """Change a resting order or raise Refused, nothing changed; whether it kept its priority."""
        price, quantity = command["price_units"], command["quantity_lots"]
        filled = order.quantity_lots - order.remaining_lots
        require(quantity > 0, Reason.QUANTITY_NOT_POSITIVE)
        require(quantity > filled, Reason.EDIT_BELOW_FILLED)
        self.check_edit_terms(command, terms, order)
        if order.flags & OrderFlag.ADVANCED:
            price = self.check_advanced(terms, order.instrument, order.side)
        kept = self.change_terms(order, price, quantity - filled, quantity, command["flags"])
        order.display_lots = terms["display_lots"] or order.display_lots
        if order.flags & OrderFlag.ADVANCED:
            order.advanced_value_e8 = terms["advanced_value_e8"]
        return kept

    def check_edit_terms(self, command: Mapping[str, Any], terms: Mapping[str, Any], order: Order) -> None:
        """Whether an order may have the terms of an edit beside those it keeps."""
        posts = order.advanced and command["flags"] & OrderFlag.POST_ONLY
        require(terms["advanced"] == order.advanced and not posts, Reason.BAD_TERMS)
        if order.flags & OrderFlag.ICEBERG:
            display = terms["display_lots"] or order.display_lots
            shrinks = not terms["display_lots"] and command["quantity_lots"] <= order.quantity_lots
            moves = command["flags"] & (OrderFlag.POST_ONLY | OrderFlag.REJECT_POST_ONLY) == OrderFlag.POST_ONLY
            require(not moves, Reason.BAD_TERMS)
            if not shrinks:
                self.check_display(command, display, order.instrument)
        else:
            require(terms["display_lots"] == 0, Reason.BAD_TERMS)

    def change_terms(self, order: Order, price: int, remaining: int, sized: int, flags: int) -> bool:
        """Give a resting order its terms after all checks, sizes against `sized`; whether it keeps its place."""
        self.check_static(order.account_id, order.instrument, order.side, price, sized, False)
        flags &= EDIT_FLAGS
        auction = self.state.contracts[order.instrument].state == "auction"
        require(not (auction and flags & OrderFlag.POST_ONLY), Reason.AUCTION_ONLY)
        account = self.state.accounts[order.account_id]
        remaining, flags = self.reduce_only(account, order.instrument, order.side, remaining, flags)
        price, flags = self.post_only(order.instrument, order.side, price, flags)
        return self.reterm(order, price, remaining, flags)

    def reterm(self, order: Order, price: int, remaining: int, flags: int) -> bool:
        """New price, remainder and flags of a resting order, or Refused; whether it keeps its place.

        One that does not is out of the book and counted as open.
        """
        account, book = self.state.accounts[order.account_id], self.state.books[order.instrument]
        filled = order.quantity_lots - order.remaining_lots
        flags |= order.flags & LASTING_FLAGS
        kept = price == order.price_units and remaining <= order.remaining_lots
        if kept:
            flags |= order.flags & OrderFlag.RISK_REDUCING
            order.hidden_lots = max(0, order.hidden_lots - (order.remaining_lots - remaining))
        else:
            trial = replace(order, price_units=price, remaining_lots=remaining, flags=flags)
            del account.orders[order.order_id]
            try:
                self.check_limits(account, order.instrument, order.side, remaining, False)
                account.orders[order.order_id] = trial
                self.fund(account, trial)
            finally:
                account.orders[order.order_id] = order
            self.isolating.drawn(order.account_id, order.instrument, 0, True)
            book.remove(order)
            flags = trial.flags
        order.price_units, order.remaining_lots, order.flags = price, remaining, flags
        order.quantity_lots = filled + remaining
        return kept
