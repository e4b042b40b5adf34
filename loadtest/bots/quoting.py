"""What a market maker wants in the book: pure functions of market data and inventory, no I/O.

Half spreads scale with the volatility just seen, quotes lean against the inventory, and every price stays on
tick and inside the venue's bounds, so that the maker widens in a crash and goes on quoting.
"""

import math
from collections.abc import Iterable
from typing import Any, NamedTuple, Self

import msgspec

from loadtest.bots.contracts import E8, Contract

BUY, SELL = "buy", "sell"


class Market(msgspec.Struct, frozen=True):
    """The figures of a ticker that quoting needs; `vega` in USD per vol point, `mark_iv` in percent."""

    mark: float
    index: float
    min_price: float
    max_price: float
    delta: float = 1.0
    vega: float = 0.0
    mark_iv: float = 0.0
    open: bool = True

    @classmethod
    def from_wire(cls, ticker: dict[str, Any]) -> Self:
        """From a ticker object."""
        greeks = ticker.get("greeks") or {}
        return cls(
            mark=ticker["mark_price"],
            index=ticker["index_price"],
            min_price=ticker["min_price"],
            max_price=ticker["max_price"],
            delta=greeks.get("delta", 1.0),
            vega=greeks.get("vega", 0.0),
            mark_iv=ticker.get("mark_iv", 0.0),
            open=ticker.get("state", "open") == "open",
        )


class Turbulence:
    """Volatility of an index per square root of a second of wall time, an exponentially weighted mean."""

    def __init__(self, half_life_s: float = 10.0):
        self._half_life_s = half_life_s
        self._last: tuple[float, float] | None = None
        self._variance_per_s = 0.0

    def update(self, index: float, now_s: float) -> None:
        """Note the index at a time (monotonic seconds)."""
        if index <= 0.0:
            return
        if self._last is None:
            self._last = (index, now_s)
            return
        last_index, last_s = self._last
        elapsed_s = now_s - last_s
        if elapsed_s < 0.05:
            return
        move = math.log(index / last_index)
        keep = 0.5 ** (elapsed_s / self._half_life_s)
        self._variance_per_s = keep * self._variance_per_s + (1.0 - keep) * move * move / elapsed_s
        self._last = (index, now_s)

    def sigma(self, horizon_s: float) -> float:
        """Standard deviation of the log return over `horizon_s`."""
        return math.sqrt(self._variance_per_s * horizon_s)


class Style(msgspec.Struct, frozen=True):
    """How a maker quotes. Spreads and skews are shares of the price (1e-4: one basis point)."""

    levels: int = 5
    half_spread: float = 3e-4
    widest_half_spread: float = 0.03
    level_step: float = 4e-4
    skew: float = 8e-4
    """Shift of both sides at a full inventory."""
    reaction_s: float = 0.5
    """Quotes must survive this long: the horizon of the volatility in the spread."""
    option_vol_points: float = 0.75
    option_vol_share: float = 0.015
    """Half spread of options in vol points: the first plus this share of the mark vol."""
    option_levels: int = 2


class Quote(NamedTuple):
    """An order that should rest."""

    side: str
    level: int
    price_e8: int
    amount_e8: int


def future_quotes(
    contract: Contract, market: Market, style: Style, inventory: float, sigma: float, amount_e8: int
) -> list[Quote]:
    """Quotes of a perpetual or future. `inventory`: -1 (full short) to 1 (full long); `sigma` over the
    reaction time. The side that would add to a full inventory is left out."""
    if not market.open or market.index <= 0.0 or market.mark <= 0.0:
        return []
    inventory = max(-1.0, min(1.0, inventory))
    # Half way between mark and index: the maker's own book feeds the mark, the index holds it.
    fair = 0.5 * (market.mark + market.index) if contract.kind == "perpetual" else market.mark
    half = min(style.widest_half_spread, max(style.half_spread, 2.0 * sigma))
    centre = fair * (1.0 - inventory * (style.skew + half))
    step = max(style.level_step, 0.5 * half)
    found = []
    for level in range(style.levels):
        away = half + level * step
        for side in (BUY, SELL):
            lean = inventory if side == BUY else -inventory
            if lean >= 1.0:
                continue
            size = amount_e8 * (1 + level) * min(1.0, 1.0 - lean)
            price = centre * (1.0 - away) if side == BUY else centre * (1.0 + away)
            found.append(_quote(contract, market, side, level, price, int(size)))
    return [quote for quote in found if quote is not None]


def option_quotes(
    contract: Contract, market: Market, style: Style, inventory: float, sigma: float, amount_e8: int
) -> list[Quote]:
    """Quotes of an option around its mark. Half spread: vega times a share of the vol, plus what its delta
    costs while the underlying moves, at least a tick. Arguments as for `future_quotes`."""
    if not market.open or market.index <= 0.0:
        return []
    inventory = max(-1.0, min(1.0, inventory))
    coin_price = 1.0 if contract.inverse else market.index
    points = style.option_vol_points + style.option_vol_share * market.mark_iv
    vega = market.vega / market.index * coin_price
    delta_cost = abs(market.delta) * max(style.half_spread, 2.0 * sigma) * coin_price
    tick = contract.tick_at_e8(int(market.mark * E8)) / E8
    half = max(tick, vega * points + delta_cost)
    half = min(half, max(tick, 0.05 * coin_price))
    centre = market.mark - inventory * half
    found = []
    for level in range(style.option_levels):
        away = half * (1.0 + 0.7 * level)
        for side in (BUY, SELL):
            lean = inventory if side == BUY else -inventory
            if lean >= 1.0:
                continue
            price = centre - away if side == BUY else centre + away
            found.append(_quote(contract, market, side, level, price, amount_e8 * (1 + level)))
    return [quote for quote in found if quote is not None]


def _quote(contract: Contract, market: Market, side: str, level: int, price: float, size_e8: int) -> Quote | None:
    """A quote on tick and within bounds; None where no price is left or the size is too small."""
    amount_e8 = size_e8 - size_e8 % contract.step_e8
    if amount_e8 < contract.min_amount_e8:
        return None
    if side == BUY:
        price_e8 = contract.price_down_e8(min(price, market.max_price))
        return Quote(side, level, price_e8, amount_e8) if price_e8 > 0 else None
    return Quote(side, level, contract.price_up_e8(max(price, market.min_price)), amount_e8)


class Resting(msgspec.Struct):
    """A live order of the maker. `asked_e8` is the price it asked for (post-only may have moved it)."""

    order_id: str
    asked_e8: int
    amount_e8: int
    filled_e8: int

    @property
    def remaining_e8(self) -> int:
        """What is still in the book."""
        return self.amount_e8 - self.filled_e8


class Change(NamedTuple):
    """One order to send: place `quote`, move `resting` to it, or (no quote) cancel `resting`."""

    quote: Quote | None
    resting: Resting | None
    key: tuple[str, int]


def tolerance_e8(quotes: Iterable[Quote]) -> int:
    """How far an order may be from its wanted price: a quarter of the half spread between the best quotes."""
    best = {quote.side: quote.price_e8 for quote in quotes if quote.level == 0}
    return (best[SELL] - best[BUY]) // 8 if len(best) == 2 else 0


def changes(resting: dict[tuple[str, int], Resting], wanted: Iterable[Quote], within_e8: int) -> list[Change]:
    """The orders that turn `resting` (by side and level) into `wanted`.

    An order stays where its price is within `within_e8` and at least half and at most twice its amount
    remains. Cancels come first; then the side that moves away from the other, so that the maker does not
    run into itself.
    """
    quotes = {(quote.side, quote.level): quote for quote in wanted}
    cancels = [Change(None, order, key) for key, order in resting.items() if key not in quotes]
    moves: list[Change] = []
    rise = 0
    for key, quote in quotes.items():
        order = resting.get(key)
        if order is not None:
            near = abs(order.asked_e8 - quote.price_e8) <= within_e8
            if near and quote.amount_e8 <= 2 * order.remaining_e8 <= 4 * quote.amount_e8:
                continue
            rise += quote.price_e8 - order.asked_e8
        moves.append(Change(quote, order, key))
    first = SELL if rise > 0 else BUY
    moves.sort(key=lambda change: (change.key[0] != first, change.key[1]))
    return cancels + moves
