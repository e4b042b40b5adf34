"""A naive order book: two plain lists, sorted again whenever priority matters."""

from dataclasses import dataclass

BUY, SELL = 0, 1


@dataclass
class Order:
    """A live order. `filled_cost_minor` and `label` are carried for whoever wants them.

    Of `remaining_lots` the book does not show `hidden_lots`; `display_lots` is the tranche of an iceberg.
    `both_count` says that margin counts it beside the other of its one-cancels-other.
    """

    order_id: int
    account_id: int
    owner_id: int
    instrument: int
    side: int
    price_units: int
    remaining_lots: int
    quantity_lots: int
    order_type: int = 0
    time_in_force: int = 0
    flags: int = 0
    key_id: int = 0
    label: bytes = b""
    filled_cost_minor: int = 0
    display_lots: int = 0
    hidden_lots: int = 0
    protection_group: int = 0
    advanced: int = 0
    advanced_value_e8: int = 0
    linked_order_id: int = 0
    both_count: bool = False

    @property
    def shown_lots(self) -> int:
        return self.remaining_lots - self.hidden_lots

    def show_tranche(self) -> None:
        """A fresh tranche of an iceberg; other orders show all."""
        shown = min(self.display_lots or self.remaining_lots, self.remaining_lots)
        self.hidden_lots = self.remaining_lots - shown


@dataclass(frozen=True)
class Fill:
    """`lots` traded at the maker's price."""

    maker_order_id: int
    price_units: int
    lots: int


def crosses(side: int, limit_units: int, opposite_units: int) -> bool:
    """Whether a limit of a side reaches a price of the other side."""
    return opposite_units <= limit_units if side == BUY else opposite_units >= limit_units


class NaiveBook:
    """Resting orders of one instrument, in order of arrival."""

    def __init__(self) -> None:
        self.resting: tuple[list[Order], list[Order]] = ([], [])

    def queue(self, side: int) -> list[Order]:
        """A side by price, then time (the sort is stable)."""
        sign = -1 if side == BUY else 1
        return sorted(self.resting[side], key=lambda order: sign * order.price_units)

    def best(self, side: int) -> Order | None:
        """First in time at the best price."""
        sign = -1 if side == BUY else 1
        return min(self.resting[side], key=lambda order: sign * order.price_units, default=None)

    def best_price(self, side: int) -> int | None:
        order = self.best(side)
        return None if order is None else order.price_units

    def rest(self, order: Order) -> None:
        order.show_tranche()
        self.resting[order.side].append(order)

    def replenish(self, order: Order) -> bool:
        """Where the shown tranche is used up the next one stands last; whether there was one."""
        if order.shown_lots or not order.hidden_lots:
            return False
        self.remove(order)
        self.rest(order)
        return True

    def remove(self, order: Order) -> None:
        self.resting[order.side].remove(order)

    def level_lots(self, side: int, price_units: int) -> int:
        return sum(o.shown_lots for o in self.resting[side] if o.price_units == price_units)

    def depth(self, levels: int) -> tuple[list[tuple[int, int]], list[tuple[int, int]]]:
        """Best `levels` prices of bids and asks with their lots."""
        out: tuple[list[tuple[int, int]], list[tuple[int, int]]] = ([], [])
        for side in (BUY, SELL):
            prices = sorted({o.price_units for o in self.resting[side]}, reverse=side == BUY)
            out[side].extend((price, self.level_lots(side, price)) for price in prices[:levels])
        return out

    def match(self, taker: Order) -> tuple[list[Fill], list[Order]]:
        """Trade what crosses; makers of the taker's owner are cancelled instead. (fills, cancelled)."""
        fills: list[Fill] = []
        cancelled: list[Order] = []
        while taker.remaining_lots:
            maker = self.best(1 - taker.side)
            if maker is None or not crosses(taker.side, taker.price_units, maker.price_units):
                break
            if maker.owner_id == taker.owner_id:
                self.remove(maker)
                cancelled.append(maker)
                continue
            lots = min(maker.remaining_lots, taker.remaining_lots)
            fills.append(Fill(maker.order_id, maker.price_units, lots))
            taker.remaining_lots -= lots
            maker.remaining_lots -= lots
            if maker.remaining_lots == 0:
                self.remove(maker)
        return fills, cancelled
