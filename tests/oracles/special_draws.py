"""Random orders with special terms: icebergs, advanced orders, linked orders."""

from typing import Any

from exchange import commands, config, payloads
from exchange.commands import Advanced, CommandKind, FillCondition, LinkType, OrderFlag, OrderType, TimeInForce
from tests.oracles.cold_draws import ColdDraws


class SpecialDraws(ColdDraws):
    """Draws over what its subclass follows."""

    iceberg: set[int]
    advanced: dict[int, int]

    def _slots(self) -> list[int]:
        return [slot for slot, spec in sorted(self.specs.items()) if spec.kind not in config.COMBO_KINDS]

    def _slot(self) -> int:
        slots = self._slots()
        return self.random.choices(slots, [{0: 8, 6: 5, 9: 4}.get(slot, 1.5) for slot in slots])[0]

    def _terms_order(self, slot: int, lots: int, terms: dict[str, int], **fields: int) -> bytearray:
        label = b"" if self.random.random() < 0.7 else f"label-{self.random.randint(1, 12)}".encode()
        values: dict[str, int] = {
            "instrument": slot, "side": self.random.randint(0, 1), "price_units": self._price(slot),
            "quantity_lots": lots, "key_id": 9, "label_bytes": len(label),
        } | fields  # fmt: skip
        return commands.record(
            CommandKind.PLACE_ORDER, self._account(), commands.order_terms(**terms) + label, terms_slots=1, **values
        )

    # ------------------------------------------------------------------ icebergs, edits with terms

    def _iceberg(self) -> bytearray:
        """Small tranches of a large order; some that cannot be."""
        r = self.random
        slot = self._slot()
        lots = self._lots(slot) * r.choice((1, 2, 4))
        display = max(1, round(lots * r.choice((0.05, 0.1, 0.25, 0.4, 0.7))))
        fields = {"time_in_force": r.choice((0, 0, 0, TimeInForce.GOOD_TIL_DAY))}
        wrong = r.random()
        if wrong < 0.02:
            display = r.choice((-1, lots, lots + 1, max(1, lots // 120), 2**62))
        elif wrong < 0.04:
            fields["time_in_force"] = r.choice((1, 2, 7))
        elif wrong < 0.06:
            fields["order_type"] = r.choice((1, 2))
        elif wrong < 0.12:
            fields["flags"] = r.choice((OrderFlag.POST_ONLY, OrderFlag.POST_ONLY | OrderFlag.REJECT_POST_ONLY))
        elif wrong < 0.18:
            fields["flags"] = OrderFlag.REDUCE_ONLY
        return self._terms_order(slot, lots, {"display_lots": display}, **fields)

    def _edit_terms(self) -> bytearray:
        """An edit with a slot of terms: a new tranche, a new trailing distance, the value of an advanced order."""
        r = self.random
        among = r.choice((self.iceberg, self.advanced, self.waiting)) or self.live or self.waiting
        if not among:
            return self._iceberg()
        order_id = r.choice(list(among))
        account_id, slot, _, price, quantity = (self.live.get(order_id) or self.waiting[order_id])[:5]
        terms: dict[str, int] = {}
        what = r.random()
        if order_id in self.iceberg or what < 0.1:
            terms["display_lots"] = max(1, round(quantity * r.choice((0.1, 0.3, 0.5))))
        if order_id in self.advanced and r.random() < 0.9:
            terms |= self._advanced_terms(slot, self.advanced[order_id])
        if order_id in self.waiting:
            terms["trigger_offset_e8"] = round(self._watched_e8(slot, r.randrange(3)) * r.choice((0.001, 0.01, 2)))
        keeps = r.random() < 0.7
        return commands.record(
            CommandKind.EDIT_ORDER, self._owner(account_id), commands.order_terms(**terms), terms_slots=1,
            order_id=order_id, price_units=price if keeps else self._price(slot),
            quantity_lots=max(1, round(quantity * r.choice((0.5, 0.8, 1, 1, 1, 1.5)))),
        )  # fmt: skip

    # ------------------------------------------------------------------ advanced orders

    def _advanced_terms(self, slot: int, kind: int) -> dict[str, int]:
        r = self.random
        if kind == Advanced.USD:
            value = self._mark_units(slot) * self.specs[slot].price_unit_e8 * self.index[0] * r.uniform(0.7, 1.3)
        else:
            value = (self.vol + slot * 0.01) * r.uniform(0.8, 1.2) * 1e8
        return {"advanced": kind, "advanced_value_e8": round(value)}

    def _advance(self) -> bytearray:
        """An option order priced in dollars or by vol; some that cannot be."""
        r = self.random
        slot = r.choice([s for s in self._slots() if self.specs[s].kind == "option"] or self._slots())
        kind = r.choice((Advanced.USD, Advanced.IMPLIED_VOL))
        terms = self._advanced_terms(slot, kind)
        fields = {"flags": OrderFlag.REDUCE_ONLY if r.random() < 0.1 else 0, "price_units": r.choice((0, 1))}
        wrong = r.random()
        if wrong < 0.03:
            terms["advanced_value_e8"] = r.choice((0, -1, 2**62, 1))
        elif wrong < 0.05:
            terms["advanced"] = 3
        elif wrong < 0.07:
            fields["flags"] = OrderFlag.POST_ONLY
        elif wrong < 0.09:
            fields["time_in_force"] = r.choice((1, 2))
        elif wrong < 0.11:
            slot = r.choice(self._slots())
        elif wrong < 0.13:
            terms["display_lots"] = 1
        return self._terms_order(slot, self._lots(slot), terms, **fields)

    # ------------------------------------------------------------------ linked orders

    def _linked_order(self, slot: int, side: int, waits: bool) -> payloads.LinkedOrder:
        r = self.random
        fields: dict[str, Any] = {"price_units": self._price(slot), "order_type": OrderType.LIMIT}
        if waits:
            order_type, source = r.choice((3, 4, 5, 6, 7)), r.choices((0, 1, 2), (3, 2, 4))[0]
            fields |= {"order_type": order_type, "trigger_source": source}
            if order_type == OrderType.TRAILING_STOP:
                fields["trigger_offset_e8"] = round(self._watched_e8(slot, source) * r.choice((0.0005, 0.002, 0.01)))
            else:
                fields["trigger_price_e8"] = self._trigger_price(slot, side, order_type, source)
        elif r.random() < 0.08:
            fields["order_type"] = r.choice((OrderType.MARKET_LIMIT, OrderType.MARKET))
        if r.random() < 0.25:
            fields["flags"] = r.choice((OrderFlag.POST_ONLY, OrderFlag.REDUCE_ONLY, OrderFlag.UNIQUE_LABEL))
        return payloads.LinkedOrder(
            instrument=slot, side=side, quantity_lots=self._lots(slot), label=r.choice(("", "", "label-1", "linked")),
            time_in_force=r.choices((0, 3, 1, 2), (80, 15, 3, 2))[0], **fields,
        )  # fmt: skip

    def _link(self) -> bytearray:
        """A bracket around a price, an order with its take and stop, a pair of orders; some malformed."""
        r = self.random
        link = r.choice(tuple(LinkType))
        slot, side = self._slot(), r.randint(0, 1)
        count = 3 if link == LinkType.ONE_TRIGGERS_ONE_CANCELS_OTHER else 2
        orders = [self._linked_order(slot, side, link == LinkType.ONE_CANCELS_OTHER and r.random() < 0.3)]
        for _ in range(count - 1):
            other = slot if r.random() < 0.8 else self._slot()
            opposite = side if link == LinkType.ONE_CANCELS_OTHER and r.random() < 0.4 else 1 - side
            orders.append(self._linked_order(other, opposite, r.random() < 0.55))
        if r.random() < 0.03:
            orders = orders[: r.randint(0, 2)]
        payload = payloads.PlaceLinked(
            link_type=link if r.random() < 0.98 else 9,
            fill_condition=r.choice(tuple(FillCondition)) if r.random() < 0.98 else 7,
            key_id=3, orders=tuple(orders), valid_until_ns=1 if r.random() < 0.01 else 0,
        )  # fmt: skip
        return commands.cold(CommandKind.PLACE_LINKED, payload, self._account() if r.random() < 0.98 else 99)
