"""Figures of one account in one chain of the naive venue."""

from typing import TYPE_CHECKING

from tests.oracles.quote_caps import QuoteSum

if TYPE_CHECKING:
    from tests.oracles.contract import Contract


class Risk:
    """One account's figures in one chain: `hurt[j]` is what its orders add to a scenario, never positive.

    `ordered`: there are orders.
    """

    def __init__(self, size: int) -> None:
        self.pnl = [0] * size
        self.hurt = [0] * size
        self.beyond = [0] * 16
        """What orders could add to twice the loss beyond price risk, under `span16`."""
        self.delta: dict[int, int] = {}
        self.delta_up: dict[int, int] = {}
        self.delta_down: dict[int, int] = {}
        self.held_lots = 0
        self.open_lots = 0
        self.order_cost = 0
        self.ordered = False
        self.held: dict[int, int] = {}
        self.sells: dict[int, int] = {}
        """Lots by slot: held, and what open orders would sell."""
        self.option_up = 0
        """What open orders could add to the option value, minor units."""
        self.quotes: dict[int, QuoteSum] = {}
        self.capped: list[tuple[int, QuoteSum]] = []
        """(most that it can move deltas, quotes) of groups beyond their cap."""

    def add_delta(self, expiry_ns: int, signed: int) -> None:
        """An order's delta, which may or may not come about."""
        into = self.delta_up if signed > 0 else self.delta_down
        into[expiry_ns] = into.get(expiry_ns, 0) + abs(signed)

    def add_options(self, parts: list[tuple["Contract", int]]) -> None:
        """An order's sells, and its option value where it adds any."""
        for part, moved in parts:
            if moved < 0:
                self.sells[part.slot] = self.sells.get(part.slot, 0) - moved
        self.option_up += max(0, sum(moved * part.mark_minor for part, moved in parts if part.is_option))

    def add_worse(self, first: "Risk", second: "Risk") -> None:
        """The worse of two orders' figures, one by one; the lots of both."""
        self.hurt = [h + min(pair) for h, *pair in zip(self.hurt, first.hurt, second.hurt, strict=True)]
        self.beyond = [b + max(pair) for b, *pair in zip(self.beyond, first.beyond, second.beyond, strict=True)]
        for into, one, other in (
            (self.delta_up, first.delta_up, second.delta_up),
            (self.delta_down, first.delta_down, second.delta_down),
        ):
            for expiry in {*one, *other}:
                into[expiry] = into.get(expiry, 0) + max(one.get(expiry, 0), other.get(expiry, 0))
        self.order_cost += max(first.order_cost, second.order_cost)
        self.open_lots += first.open_lots + second.open_lots
        self.option_up += max(first.option_up, second.option_up)
        for slot, lots in (*first.sells.items(), *second.sells.items()):
            self.sells[slot] = self.sells.get(slot, 0) + lots
        self.ordered = True
