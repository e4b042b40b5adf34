"""Random waiting orders for generated histories, near what they watch so that they fire; now and then a crowd."""

import numpy as np

from exchange import commands, config
from exchange.commands import CommandKind, OrderFlag, OrderType, TimeInForce, TriggerSource
from tests.oracles.draws import OrderDraws, Placed

TYPES = tuple(range(OrderType.STOP_LIMIT, OrderType.TRAILING_STOP + 1))
WRONG_TERMS = (
    ("trigger_source", 3), ("trigger_price_e8", 0), ("trigger_price_e8", -1), ("trigger_price_e8", 2 * 10**17),
    ("trigger_offset_e8", 0), ("trigger_offset_e8", 10**17),
)  # fmt: skip
CROWD_EVERY, CROWD_FROM, CROWD_OVER = 3_000, 2_780, 2_930


class WaitingDraws(OrderDraws):
    """Draws over the waiting orders that its subclass follows."""

    waiting: dict[int, Placed]

    @property
    def gathering(self) -> bool:
        """From time to time everybody waits for the same price, more than are placed at once."""
        return CROWD_FROM <= self.seq % CROWD_EVERY < CROWD_OVER

    def _watched_e8(self, slot: int, source: int) -> float:
        """About the price that a trigger on an instrument watches."""
        if source == TriggerSource.INDEX_PRICE:
            return self.index[1 if self.specs[slot].underlying == "ETH" else 0] * 1e8
        return self._mark_units(slot) * self.specs[slot].price_unit_e8

    def _trigger_price(self, slot: int, side: int, order_type: int, source: int) -> int:
        r = self.random
        rising = (side == 0) != (order_type in (OrderType.TAKE_LIMIT, OrderType.TAKE_MARKET))
        away = r.choice((0.0005, 0.002, 0.006, 0.03)) * r.uniform(0.3, 1.0)
        if self.specs[slot].kind == "option" and source != TriggerSource.INDEX_PRICE:
            away *= 8
        if r.random() < 0.06:
            away = -away
        return round(self._watched_e8(slot, source) * (1 + away if rising else 1 - away))

    def _wait(self) -> bytearray:
        """Any waiting order, a few of them wrong."""
        r = self.random
        if self.gathering:
            return self._wait_with_everybody()
        slot = r.choices(sorted(self.specs), [{0: 8, 6: 5, 9: 4}.get(slot, 1) for slot in sorted(self.specs)])[0]
        side, order_type, source = r.randint(0, 1), r.choice(TYPES), r.choices((0, 1, 2), (3, 2, 4))[0]
        trails = order_type == OrderType.TRAILING_STOP
        offset = round(self._watched_e8(slot, source) * r.choice((0.0005, 0.002, 0.01))) if trails else 0
        flags = OrderFlag.REDUCE_ONLY if r.random() < 0.15 else 0
        if r.random() < 0.1:
            flags |= OrderFlag.POST_ONLY | (OrderFlag.REJECT_POST_ONLY if r.random() < 0.4 else 0)
        label = b"" if r.random() < 0.7 else f"label-{r.randint(1, 12)}".encode() * r.randint(1, 3)
        price = self._price(slot) if order_type in (OrderType.STOP_LIMIT, OrderType.TAKE_LIMIT) else r.randint(0, 1)
        trigger = 0 if trails else self._trigger_price(slot, side, order_type, source)
        terms = commands.order_terms(trigger_price_e8=trigger, trigger_offset_e8=offset, trigger_source=source)
        record = commands.record(
            CommandKind.PLACE_ORDER, self._account(), terms + label, terms_slots=1, instrument=slot,
            side=side, order_type=order_type, time_in_force=r.choices(range(4), (8, 2, 1, 5))[0],
            flags=flags, price_units=price, quantity_lots=self._lots(slot), key_id=7, label_bytes=len(label),
            valid_until_ns=self.time_ns + 10**9 if r.random() < 0.1 else 0,
        )  # fmt: skip
        if r.random() < 0.05:
            return self._wrong_terms(record)
        return self._spoiled(record) if r.random() < 0.03 else record

    def _wrong_terms(self, record: bytearray) -> bytearray:
        field, value = self.random.choice(WRONG_TERMS)
        np.frombuffer(record, commands.ORDER_TERMS, 1, commands.SLOT_BYTES)[field] = value
        return record

    def _wait_with_everybody(self) -> bytearray:
        """A stop buy or a take sell just above the index."""
        r = self.random
        slot, side = r.choice((0, 0, 0, 1, 6)), r.randint(0, 1)
        order_type = OrderType.TAKE_LIMIT if side else OrderType.STOP_LIMIT
        price = round(self.index[0] * r.uniform(1.003, 1.006) * 1e8)
        return commands.record(
            CommandKind.PLACE_ORDER, r.randint(1, self.account_count), commands.order_terms(trigger_price_e8=price),
            terms_slots=1, instrument=slot, side=side, order_type=order_type,
            time_in_force=r.choice((0, TimeInForce.GOOD_TIL_DAY)),
            price_units=self._price(slot, 0.97 if side == 0 else 1.03),
            quantity_lots=self.specs[slot].min_quantity_lots,
        )  # fmt: skip

    def _edit_waiting(self) -> bytearray:
        """New terms for a waiting order, mostly of the account's own."""
        r = self.random
        if not self.waiting:
            return self._wait()
        order_id = r.choice(list(self.waiting))
        account_id, slot, side, _, quantity = self.waiting[order_id]
        order_type, source = r.choice(TYPES), r.choice((0, 0, 1, 2))
        trigger = 0 if r.random() < 0.4 else self._trigger_price(slot, side, order_type, source)
        return commands.record(
            CommandKind.EDIT_ORDER, self._owner(account_id), order_id=order_id, price_units=self._price(slot),
            quantity_lots=max(0, round(quantity * r.choice((0, 0.5, 1, 1, 1, 2)))),
            trigger_price_e8=trigger if r.random() < 0.97 else -5,
            flags=OrderFlag.REDUCE_ONLY if r.random() < 0.2 else 0,
        )  # fmt: skip

    def _self_trade(self) -> bytearray:
        r = self.random
        setting = config.SelfTrade(
            mode=r.choice(("cancel_maker", "reject_taker")), extended_to_subaccounts=r.random() < 0.5
        )
        return commands.cold(CommandKind.SET_SELF_TRADE, setting, self._account() if r.random() < 0.97 else 99)
