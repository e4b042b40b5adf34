"""Index paths from recorded prices: one-minute (or other) klines, or single trades.

Klines: CSV in the column order of Binance Vision (open_time, open, high, low, close, volume, close_time,
...), with or without header. Trades: CSV with `timestamp` and `price` columns. Plain, gzip or zip; several
files are joined. Epoch times may be in milliseconds, microseconds or nanoseconds (their magnitude tells).
Unsound rows are reported, never repaired.
"""

import csv
import gzip
import io
import math
import zipfile
import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt

from gateway.feeds.chain import BadRow

Points = Literal["close", "ohlc"]
KLINE_COLUMNS = ("open_time", "open", "high", "low", "close", "volume", "close_time")
PRICE_MAX = 1e9


class PathError(ValueError):
    """An index file that cannot be used."""


@dataclass(frozen=True, slots=True, eq=False)
class IndexPath:
    """Prices over time: `time_ns` (never decreasing) and `price` (USD), shape (points,) each."""

    time_ns: npt.NDArray[np.int64]
    price: npt.NDArray[np.float64]
    bad_rows: tuple[tuple[str, BadRow], ...] = ()
    """Refused rows, each with the name of its file."""

    def ratios(self) -> npt.NDArray[np.float64]:
        """Gross returns from the first point: what a feed applies to another start price."""
        ratios: npt.NDArray[np.float64] = self.price / self.price[0]
        return ratios


def read_index_path(paths: Path | str | Iterable[Path | str], points: Points = "close") -> IndexPath:
    """One path from klines or trades files, put in order of time.

    Points of klines: the first bar's open, then every close at its close time; with `ohlc` each bar gives
    open, low, high, close where it rose and open, high, low, close where it fell, evenly spread over the bar.
    Raises PathError where a file is unreadable or unknown, no row is sound, or two files overlap in time.
    """
    files = [Path(paths)] if isinstance(paths, Path | str) else [Path(path) for path in paths]
    if not files:
        raise PathError("no index file given")
    pieces: list[tuple[list[int], list[float], str]] = []
    bad: list[tuple[str, BadRow]] = []
    for file in files:
        try:
            for name, lines in _texts(file):
                times, prices, refused = _read(name, lines, points)
                bad.extend((name, row) for row in refused)
                if not times:
                    raise PathError(f"{name}: no usable row" + (f"; first: {refused[0]}" if refused else ""))
                pieces.append((times, prices, name))
        except (OSError, EOFError, UnicodeDecodeError, csv.Error, zipfile.BadZipFile, zlib.error) as error:
            raise PathError(f"{file}: {error}") from error
    if not pieces:
        raise PathError(f"no table in {', '.join(str(file) for file in files)}")
    pieces.sort(key=lambda piece: piece[0][0])
    for (before, _, first), (after, _, second) in pairwise(pieces):
        if after[0] < before[-1]:
            raise PathError(f"{first} and {second} overlap in time")
    return IndexPath(
        time_ns=np.concatenate([np.array(times, dtype=np.int64) for times, _, _ in pieces]),
        price=np.concatenate([np.array(prices, dtype=np.float64) for _, prices, _ in pieces]),
        bad_rows=tuple(bad),
    )


def _texts(path: Path) -> Iterator[tuple[str, Iterable[str]]]:
    """(name, lines) of each table in a file."""
    with path.open("rb") as file:
        magic = file.read(4)
    if magic == b"PK\x03\x04":
        with zipfile.ZipFile(path) as archive:
            for member in sorted(name for name in archive.namelist() if name.lower().endswith(".csv")):
                with archive.open(member) as raw, io.TextIOWrapper(raw, "utf-8", newline="") as text:
                    yield f"{path.name}:{member}", text
    elif magic[:2] == b"\x1f\x8b":
        with gzip.open(path, "rt", encoding="utf-8", newline="") as text:
            yield path.name, text
    else:
        with path.open(encoding="utf-8", newline="") as text:
            yield path.name, text


def _read(name: str, lines: Iterable[str], points: Points) -> tuple[list[int], list[float], list[BadRow]]:
    reader = csv.reader(lines)
    first = next(reader, None)
    if first is None:
        raise PathError(f"{name}: empty")
    header = [cell.strip().lower() for cell in first]
    rows: Iterable[tuple[int, Sequence[str]]] = ((reader.line_num, row) for row in reader)
    if {"timestamp", "price"} <= set(header):
        return _trades(rows, header.index("timestamp"), header.index("price"))
    if set(KLINE_COLUMNS) <= set(header):
        return _klines(rows, [header.index(column) for column in KLINE_COLUMNS], points)
    if len(first) >= len(KLINE_COLUMNS) and header[0].isdigit():
        headless = [(1, first), *rows]
        return _klines(headless, list(range(len(KLINE_COLUMNS))), points)
    raise PathError(f"{name}: neither klines ({', '.join(KLINE_COLUMNS)}) nor trades (timestamp, price)")


def _trades(
    rows: Iterable[tuple[int, Sequence[str]]], time_column: int, price_column: int
) -> tuple[list[int], list[float], list[BadRow]]:
    found: list[tuple[int, float]] = []
    bad: list[BadRow] = []
    for line, row in rows:
        try:
            found.append((_time_ns(row[time_column]), _price(row[price_column])))
        except (ValueError, IndexError) as error:
            bad.append(BadRow(line, str(error)))
    found.sort(key=lambda point: point[0])  # stable: trades of one instant keep their order
    return [time for time, _ in found], [price for _, price in found], bad


def _klines(
    rows: Iterable[tuple[int, Sequence[str]]], columns: Sequence[int], points: Points
) -> tuple[list[int], list[float], list[BadRow]]:
    times: list[int] = []
    prices: list[float] = []
    bad: list[BadRow] = []
    for line, row in rows:
        try:
            cells = [row[column] for column in columns]
            opened_ns, closed_ns = _time_ns(cells[0]), _time_ns(cells[6])
            opening, high, low, close = (_price(cell) for cell in cells[1:5])
            if not low <= min(opening, close) <= max(opening, close) <= high:
                raise ValueError(f"open {opening}, close {close} outside low {low}, high {high}")
            if closed_ns <= opened_ns or (times and opened_ns < times[-1]):
                raise ValueError(f"bar {cells[0]}..{cells[6]} is not after the one before")
        except (ValueError, IndexError) as error:
            bad.append(BadRow(line, str(error)))
            continue
        if points == "ohlc":
            third = (closed_ns - opened_ns) // 3
            inner = (low, high) if close >= opening else (high, low)
            times += [opened_ns, opened_ns + third, opened_ns + 2 * third, closed_ns]
            prices += [opening, *inner, close]
        else:
            if not times:
                times.append(opened_ns)
                prices.append(opening)
            times.append(closed_ns)
            prices.append(close)
    return times, prices, bad


def _price(cell: str) -> float:
    value = float(cell)
    if not math.isfinite(value) or not 0 < value <= PRICE_MAX:
        raise ValueError(f"price {cell!r} is outside (0, {PRICE_MAX:g}]")
    return value


def _time_ns(cell: str) -> int:
    value = int(cell)
    if 10**11 <= value < 10**14:
        return value * 1_000_000
    if 10**14 <= value < 10**17:
        return value * 1_000
    if 10**17 <= value < 4 * 10**18:
        return value
    raise ValueError(f"time {cell!r} is no epoch time in ms, us or ns")
