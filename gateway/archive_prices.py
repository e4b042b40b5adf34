"""Candles, funding and settlements of all time, as the methods and channels need them."""

from typing import Any, NamedTuple

from gateway.archive import Archive, Selection
from gateway.history import BAR_NS, DAY_NS, TradeRecord
from gateway.listing import Listing
from gateway.units import E8, E12
from persistence.history_candles import extend
from persistence.history_reads import HistoryReader
from persistence.history_schema import HOUR_NS, MINUTE_NS, RESOLUTIONS

RESOLUTION_WORDS = {("1D" if minutes == 1440 else str(minutes)): minutes for minutes in RESOLUTIONS}
MAX_CANDLES = 5_000
MAX_FUNDING_HOURS = 31 * 24
_FUNDING_PERIOD_HOURS = 8


class Candle(NamedTuple):
    """A candle in the engine's integers: prices in price units, `value` the sum of price x lots.

    Without prices where nothing was traded in the book: what trades outside it (of blocks, of the legs of combos) is
    volume, not price.
    """

    start_ns: int
    open: int | None
    high: int | None
    low: int | None
    close: int | None
    lots: int
    value: int
    base_e12: int

    @classmethod
    def of(cls, start_ns: int, listing: Listing, record: TradeRecord) -> "Candle":
        """A candle of one trade."""
        event = record.event
        price, lots = event.price_units, event.quantity_lots
        shown = price if record.in_book else None
        return cls(start_ns, shown, shown, shown, shown, lots, price * lots, listing.coins_e12(event))

    def with_later(self, later: "Candle") -> "Candle":
        """This candle and what came after it in the same interval."""
        parts = list(self[1:])
        extend(parts, list(later[1:]))
        return Candle(self.start_ns, *parts)

    def after(self, close: int | None) -> "Candle":
        """With the price that stood before where it has none of its own."""
        return self if self.close is not None else self._replace(open=close, high=close, low=close, close=close)

    def wire(self, listing: Listing) -> dict[str, float]:
        """Prices, `volume` in coins and `cost` in the quote currency (of inverse futures: dollars)."""
        amount = listing.amount(self.lots)
        inverse = listing.counts_dollars
        cost = (self.value - self.lots * listing.zero_units) * listing.unit_e8 * listing.lot_e8 / (E8 * E8)
        return {
            "tick": self.start_ns // 1_000_000,
            "open": listing.price(self.open),
            "high": listing.price(self.high),
            "low": listing.price(self.low),
            "close": listing.price(self.close),
            "volume": self.base_e12 / E12 if inverse else amount,
            "cost": amount if inverse else cost,
        }


def traded_candles(
    archive: Archive, listing: Listing, minutes: int, first: int, last: int
) -> tuple[int | None, dict[int, Candle]]:
    """(price that stood before `first`, candles of the intervals with trades that start there to `last`)."""
    step = minutes * MINUTE_NS
    traded: dict[int, Candle] = {}
    close, covered = None, 0
    if archive.reader is not None:
        rows, before, covered = archive.reader.candles(listing.view.instrument_id, minutes, first, last, MAX_CANDLES)
        traded = {row[0]: Candle(*row) for row in rows}
        close = None if before is None else Candle(*before).close
    for record in archive.fresh_trades(listing, covered):
        candle = Candle.of(record.event.time_ns // step * step, listing, record)
        if candle.start_ns < first:
            close = candle.after(close).close
        elif candle.start_ns <= last:
            known = traded.get(candle.start_ns)
            traded[candle.start_ns] = candle if known is None else known.with_later(candle)
    return close, traded


def candles(archive: Archive, listing: Listing, minutes: int, start_ns: int, end_ns: int) -> list[Candle]:
    """One candle per interval from the first trade in the book on; intervals without one repeat the close.

    At most MAX_CANDLES, the newest; nothing beyond `end_ns`.
    """
    step = minutes * MINUTE_NS
    last = end_ns // step * step
    first = max(start_ns // step * step, last - (MAX_CANDLES - 1) * step, 0)
    close, traded = traded_candles(archive, listing, minutes, first, last)
    found: list[Candle] = []
    start = first if close is not None else min(traded, default=last + step)
    while start <= last:
        candle = traded.get(start) or Candle(start, None, None, None, None, 0, 0, 0)
        if candle.close is not None or close is not None:
            candle = candle.after(close)
            close = candle.close
            found.append(candle)
        start += step
    return found


def day_bars(reader: HistoryReader, listing: Listing, now_ns: int, index: float) -> list[list[Any]]:
    """The last 24 hours as bars of the day statistics; options' dollars at today's index."""
    minutes = BAR_NS // MINUTE_NS
    rows, _, _ = reader.candles(listing.view.instrument_id, minutes, now_ns - DAY_NS, now_ns, MAX_CANDLES)
    bars = []
    for row in rows:
        candle = Candle(*row)
        dollars = candle.wire(listing)["cost"] * (index if listing.is_option and listing.view.inverse else 1.0)
        prices = [listing.price(units) for units in candle[1:5]]
        bars.append([candle.start_ns // BAR_NS, *prices, candle.lots, dollars, candle.base_e12 / E12])
    return bars


def funding_hours(archive: Archive, listing: Listing, start_ns: int, end_ns: int) -> list[dict[str, float]]:
    """Funding of a perpetual by hours that have ended: the mean of a sample a minute, per hour and per period."""
    if archive.reader is None:
        return []
    first = start_ns // HOUR_NS * HOUR_NS
    rows = archive.reader.funding(listing.view.instrument_id, first, end_ns, MAX_FUNDING_HOURS)
    found = []
    previous = None
    for hour_ns, samples, total, _, opened, last in rows:
        rate = total / samples / 10**12
        found.append(
            {
                "timestamp": (hour_ns + HOUR_NS) // 1_000_000,
                "index_price": last / E8,
                "prev_index_price": (opened if previous is None else previous) / E8,
                "interest_8h": rate,
                "interest_1h": rate / _FUNDING_PERIOD_HOURS,
            }
        )
        previous = last
    return found


def funding_value(archive: Archive, listing: Listing, start_ns: int, end_ns: int) -> float:
    """Funding per unit of notional between two times; an hour counts by the share of it that lies between."""
    total = 0.0
    for hour in funding_hours(archive, listing, start_ns, end_ns):
        end = hour["timestamp"] * 1_000_000
        part = min(end_ns, end) - max(start_ns, end - HOUR_NS)
        total += hour["interest_1h"] * max(0.0, part / HOUR_NS)
    return total


def settlements(
    archive: Archive, account_id: int, selection: Selection, start_ns: int, before: int, count: int
) -> list[tuple[Any, Listing]]:
    """(row, contract) of settlements, newest first; account 0: the contracts' own."""
    if archive.reader is None:
        return []
    keys, by_instrument = archive.keys(selection)
    rows = archive.reader.settlements(account_id, keys, by_instrument, start_ns, before, count)
    return [(row, archive.by_id(row[3])) for row in rows]
