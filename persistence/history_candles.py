"""Candles gathered from trades: minutes first, every other resolution from the minutes."""

from __future__ import annotations

from typing import Any

from persistence.history_schema import MINUTE_NS, RESOLUTIONS


class Candles:
    """Minutes by (instrument_id, minute): [open, high, low, close, lots, value, base_e12].

    Prices in price units, `value` the sum of price x lots, `base_e12` the coins behind an inverse future's dollars.
    Trades made outside the book (of blocks, of the legs of a combo) are volume without a price: a minute that has no
    others has the prices None.
    """

    def __init__(self) -> None:
        self._minutes: dict[tuple[int, int], list[Any]] = {}

    def add(
        self, instrument_id: int, time_ns: int, price_units: int, lots: int, base_e12: int, in_book: bool = True
    ) -> None:
        """Count a trade; trades come in order."""
        key = (instrument_id, time_ns // MINUTE_NS)
        trade = [price_units if in_book else None] * 4 + [lots, price_units * lots, base_e12]
        candle = self._minutes.get(key)
        if candle is None:
            self._minutes[key] = trade
        else:
            extend(candle, trade)

    def rows(self) -> list[tuple[Any, ...]]:
        """(instrument_id, resolution, start, candle) of every resolution, in order of time."""
        found: dict[tuple[int, int, int], list[Any]] = {}
        for (instrument_id, minute), part in sorted(self._minutes.items()):
            for resolution in RESOLUTIONS:
                key = (instrument_id, resolution, minute // resolution * resolution * MINUTE_NS)
                if key in found:
                    extend(found[key], part)
                else:
                    found[key] = part.copy()
        return [(*key, *candle) for key, candle in found.items()]


def extend(candle: list[Any], later: list[Any]) -> None:
    """Add what came later to a candle."""
    if candle[0] is None:
        candle[:4] = later[:4]
    elif later[0] is not None:
        candle[1], candle[2], candle[3] = max(candle[1], later[1]), min(candle[2], later[2]), later[3]
    for place in (4, 5, 6):
        candle[place] += later[place]
