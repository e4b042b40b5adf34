"""Candles gathered from trades: minutes first, every other resolution from the minutes."""

from __future__ import annotations

from persistence.history_schema import MINUTE_NS, RESOLUTIONS


class Candles:
    """Minutes by (instrument_id, minute): [open, high, low, close, lots, value, base_e12].

    Prices in price units, `value` the sum of price x lots, `base_e12` the coins behind an inverse future's dollars.
    """

    def __init__(self) -> None:
        self._minutes: dict[tuple[int, int], list[int]] = {}

    def add(self, instrument_id: int, time_ns: int, price_units: int, lots: int, base_e12: int) -> None:
        """Count a trade; trades come in order."""
        key = (instrument_id, time_ns // MINUTE_NS)
        candle = self._minutes.get(key)
        if candle is None:
            self._minutes[key] = [price_units] * 4 + [lots, price_units * lots, base_e12]
        else:
            extend(candle, [price_units] * 4 + [lots, price_units * lots, base_e12])

    def rows(self) -> list[tuple[int, ...]]:
        """(instrument_id, resolution, start, candle) of every resolution, in order of time."""
        found: dict[tuple[int, int, int], list[int]] = {}
        for (instrument_id, minute), part in sorted(self._minutes.items()):
            for resolution in RESOLUTIONS:
                key = (instrument_id, resolution, minute // resolution * resolution * MINUTE_NS)
                if key in found:
                    extend(found[key], part)
                else:
                    found[key] = part.copy()
        return [(*key, *candle) for key, candle in found.items()]


def extend(candle: list[int], later: list[int]) -> None:
    """Add what came later to a candle."""
    candle[1], candle[2], candle[3] = max(candle[1], later[1]), min(candle[2], later[2]), later[3]
    for place in (4, 5, 6):
        candle[place] += later[place]
