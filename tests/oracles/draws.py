"""Random orders, edits and cancels for generated histories, a few of them wrong on purpose."""

import random

import numpy as np

from exchange import commands, config
from exchange.commands import CommandKind, OrderFlag, OrderType, TimeInForce
from exchange.reasons import Reason

WRONG_FIELDS = (
    ("account_id", 99), ("account_id", 0), ("instrument", 63), ("instrument", commands.NO_INSTRUMENT),
    ("side", 2), ("order_type", 200), ("time_in_force", 200), ("label_bytes", 65), ("label_bytes", 9_999),
    ("valid_until_ns", 1), ("quantity_lots", 0), ("quantity_lots", -5), ("quantity_lots", 1),
    ("quantity_lots", 150_000), ("quantity_lots", 2 * 10**9), ("price_units", -1), ("price_units", 1),
    ("price_units", 10**8), ("price_units", 200_003), ("price_units", 51), ("price_units", 262_143),
    ("quantity_lots", 9_000_000), ("flags", 0xFF), ("terms_slots", 0), ("terms_slots", 1), ("terms_slots", 2),
)  # fmt: skip
TIMES = tuple(TimeInForce)
# account, instrument, side, price, quantity of an order that was accepted
Placed = tuple[int, int, int, int, int]


class OrderDraws:
    """Needs the market's figures and the live orders from its subclass."""

    random: random.Random
    specs: dict[int, config.Instrument]
    crowded: bool
    index: dict[int, float]
    live: dict[int, Placed]
    waiting: dict[int, Placed]
    gone: list[int]
    breached: set[int]
    holders: dict[int, int]
    premium: float
    account_count: int
    time_ns: int
    seq: int

    def _account(self) -> int:
        if self.breached and self.random.random() < 0.25:
            breached = self.random.choice(sorted(self.breached))
            return self.holders.get(breached, breached)
        return self.random.randint(1, self.account_count)

    def _mark_units(self, slot: int) -> float:
        spec = self.specs[slot]
        if spec.legs:
            legs = {leg.instrument: leg.ratio for leg in spec.legs}
            held = [(slot, legs[other.name]) for slot, other in self.specs.items() if other.name in legs]
            return spec.zero_units + sum(ratio * self._mark_units(leg) for leg, ratio in held)
        index = self.index[1 if spec.underlying == "ETH" else 0]
        if spec.kind != "option":
            price = index * (1 + (self.premium if spec.kind == "future" else 0.0))
        else:
            strike = spec.strike_e8 / 1e8
            intrinsic = max(0.0, index - strike) if spec.option_type == "call" else max(0.0, strike - index)
            price = intrinsic + (0.004 if "SHORT" in spec.name else 0.03) * index
            price = price / index if spec.inverse else price
        return price * 1e8 / spec.price_unit_e8

    def _price(self, slot: int, around: float = 1.0) -> int:
        spread = self.random.choice((0.0, 0.001, 0.001, 0.003, 0.01, 0.03, 0.15))
        if self.specs[slot].kind == "option":
            spread *= 4
        units = self._mark_units(slot)
        if self.specs[slot].legs:
            off = self.random.choice((0, 0, 1, 5, 50, 3_000)) * self.random.uniform(-1, 1)
            return min(max(1, round(units + off)), self.specs[slot].max_price_units)
        units = units * around * (1 + self.random.uniform(-spread, spread))
        ticks = self.specs[slot].tick_steps
        tick = [s.tick_units for s in ticks if units >= s.above_units][-1] if units > 0 else 1
        return max(1, round(units / tick)) * tick

    def _lots(self, slot: int) -> int:
        spec = self.specs[slot]
        dollars = self.random.choice((50, 500, 2_000, 5_000, 12_000, 30_000, 70_000))
        if spec.inverse and "option" not in spec.kind:
            value = spec.lot_size_e8 / 1e8
        else:
            value = spec.lot_size_e8 / 1e8 * self.index[0]
        return max(spec.min_quantity_lots, round(dollars / value * self.random.uniform(0.5, 1.5)))

    def _order_of_anybody(self) -> bytearray:
        account_id = self._account()
        slots = sorted(self.specs)
        weights = [{0: 8, 6: 5, 9: 4}.get(slot, 2.5) for slot in slots]
        slot = self.random.choices(slots, weights)[0]
        if self.crowded:
            few = self.random.random() < 0.5
            return self._passive(self.random.choice((1, 2, 9, 10)) if few else account_id, slot)
        record = self._order(account_id, slot)
        return self._spoiled(record) if self.random.random() < 0.03 else record

    def _order(self, account_id: int, slot: int) -> bytearray:
        r = self.random
        market = r.random() < 0.1
        order_type = r.choice((OrderType.MARKET, OrderType.MARKET_LIMIT)) if market else OrderType.LIMIT
        tif = r.choices(TIMES, (65, 8, 12, 15))[0]
        flags = 0
        if r.random() < 0.15:
            flags |= OrderFlag.POST_ONLY | (OrderFlag.REJECT_POST_ONLY if r.random() < 0.4 else 0)
        if r.random() < 0.12:
            flags |= OrderFlag.REDUCE_ONLY
        label = b"" if r.random() < 0.6 else f"label-{r.randint(1, 12)}".encode() * r.randint(1, 3)
        if label and r.random() < 0.5:
            flags |= OrderFlag.UNIQUE_LABEL
        return commands.record(
            CommandKind.PLACE_ORDER, account_id, label, instrument=slot, side=r.randint(0, 1),
            order_type=order_type, time_in_force=tif, flags=flags,
            price_units=0 if market else self._price(slot), quantity_lots=self._lots(slot), key_id=account_id + 100,
            label_bytes=len(label), valid_until_ns=self.time_ns + 10**9 if r.random() < 0.1 else 0,
        )  # fmt: skip

    def _passive(self, account_id: int, slot: int) -> bytearray:
        """A small order away from the market: many of these fill the limits on open orders."""
        side = self.random.randint(0, 1)
        away = self.random.uniform(0.01, 0.15) * (1 if side else -1)
        return commands.record(
            CommandKind.PLACE_ORDER, account_id, instrument=slot, side=side, flags=OrderFlag.POST_ONLY,
            price_units=self._price(slot, 1 + away), quantity_lots=self.specs[slot].min_quantity_lots,
        )  # fmt: skip

    def _spoiled(self, record: bytearray) -> bytearray:
        """One field of an order made wrong."""
        field, value = self.random.choice(WRONG_FIELDS)
        if value == 65:
            record += bytes(2 * commands.SLOT_BYTES)
            record[2:4] = (len(record) // commands.SLOT_BYTES).to_bytes(2, "little")
        view = np.frombuffer(record, commands.PLACE_ORDER, 1)
        if field == "price_units":
            view["order_type"] = OrderType.LIMIT
        if value == 150_000:
            view["instrument"] = 4
        view[field] = value
        return record

    def _any_order(self) -> tuple[int, tuple[int, int, int, int, int]]:
        if self.gone and self.random.random() < 0.05:
            return self.random.choice(self.gone[-50:]), (1, 0, 0, 1, 1)
        among = self.waiting if self.random.random() < 0.15 else self.live
        if not among:
            return 10**9, (1, 0, 0, 1, 1)
        order_id = self.random.choice(list(among))
        return order_id, among[order_id]

    def _owner(self, account_id: int) -> int:
        return account_id if self.random.random() < 0.97 else self._account()

    def _cancel(self) -> bytearray:
        order_id, (account_id, *_) = self._any_order()
        return commands.record(
            CommandKind.CANCEL_ORDER, self._owner(account_id), order_id=order_id, reason=Reason.USER_REQUEST
        )

    def _edit(self) -> bytearray:
        r = self.random
        order_id, (account_id, slot, _, price, quantity) = self._any_order()
        if r.random() < 0.7:
            price = self._price(slot)
        quantity = max(0, round(quantity * r.choice((0, 0.3, 0.7, 1, 1, 1, 1.5, 3)))) if r.random() < 0.7 else quantity
        flags = OrderFlag.POST_ONLY if r.random() < 0.2 else 0
        flags |= OrderFlag.REDUCE_ONLY if r.random() < 0.1 else 0
        flags |= OrderFlag.REJECT_POST_ONLY if r.random() < 0.1 else 0
        return commands.record(
            CommandKind.EDIT_ORDER, self._owner(account_id), order_id=order_id, price_units=price,
            quantity_lots=quantity, flags=flags,
        )  # fmt: skip

    def _cancel_all(self) -> bytearray:
        r = self.random
        label = f"label-{r.randint(1, 12)}".encode() if r.random() < 0.3 else b""
        return commands.record(
            CommandKind.CANCEL_ALL, self._account() if r.random() < 0.97 else 99, label, label_bytes=len(label),
            instrument=r.choice((commands.NO_INSTRUMENT, *sorted(self.specs))),
            currency=r.choice((commands.ANY_CURRENCY, r.randrange(3))),
            instrument_kind=r.choice((commands.ANY_KIND, r.randrange(3))),
            order_type=r.choice((*[commands.ANY_KIND] * 6, 0, 2, 3, 7)), reason=Reason.USER_REQUEST,
        )  # fmt: skip
