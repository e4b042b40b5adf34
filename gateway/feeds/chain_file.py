"""Option chains from files: CSV, gzipped CSV or Parquet, one row per option, one or several snapshots.

Columns used: timestamp, instrument_name, underlying (the expiry's forward), option_type, strike,
expiry_datetime, implied_volatility (a fraction), currency, index_price; where present also
futures_instrument_name (a synthetic `SYN.` forward has no listed future) and snapshot (the key of a snapshot;
without it the timestamp is). A row that is not sound is reported with its line and reason, never repaired.
"""

import csv
import gzip
import io
import math
import zlib
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from gateway.feeds.chain import BadRow, ChainError, ChainSnapshot, Expiry, ListedOption, UnderlyingChain
from gateway.feeds.names import E8, OptionType, option_name, time_ns_of

REQUIRED = (
    "timestamp",
    "instrument_name",
    "underlying",
    "option_type",
    "strike",
    "expiry_datetime",
    "implied_volatility",
    "currency",
    "index_price",
)
OPTIONAL = ("futures_instrument_name", "snapshot")
VOL_MIN, VOL_MAX = 0.01, 10.0
PRICE_MAX = 1e9
SPREAD_MAX = 0.05
"""A row whose forward or index is farther than this from its group's median is refused."""


class _RowError(ValueError):
    """Why one row is refused."""


@dataclass(frozen=True, slots=True)
class _Row:
    line: int
    name: str
    currency: str
    expiry_ns: int
    strike_e8: int
    option_type: OptionType
    forward: float
    index_price: float
    vol: float
    has_future: bool


_Groups = dict[str, list[tuple[int, Mapping[str, Any]]]]


def snapshot_keys(path: Path | str) -> list[str]:
    """Keys of the snapshots in a chain file, ascending (ISO-like keys: oldest first)."""
    return sorted(_read(Path(path)))


def read_chain(path: Path | str, snapshot: str | None = None) -> ChainSnapshot:
    """The first snapshot of a chain file, or the one whose key (`snapshot` or `timestamp` column) is given.

    Vols: a pair has one vol, that of its out-of-the-money option (the side that is quoted; in-the-money marks
    follow by parity), the other's where it stands alone. Forward of an expiry and index of an underlying: the
    median of their rows, as a collected chain is not instantaneous. Raises ChainError.
    """
    path = Path(path)
    groups = _read(path)
    if not groups:
        raise ChainError(f"{path}: no rows")
    key = min(groups) if snapshot is None else snapshot
    if key not in groups:
        raise ChainError(f"{path}: no snapshot {key!r}; there are {len(groups)}, the first is {min(groups)!r}")
    group = groups[key]
    time_ns = min((time for _, row in group if (time := _moment_or_none(row["timestamp"])) is not None), default=0)
    bad: list[BadRow] = []
    rows: dict[str, _Row] = {}
    for line, cells in group:
        try:
            row = _parse(line, cells, time_ns)
            if row.name in rows:
                raise _RowError(f"{row.name} stands already on line {rows[row.name].line}")
        except _RowError as error:
            bad.append(BadRow(line, str(error)))
        else:
            rows[row.name] = row
    kept = _without_strays(list(rows.values()), bad)
    if not kept:
        raise ChainError(f"{path}: no usable row in snapshot {key!r}; first: {bad[0]}")
    by_currency: dict[str, list[_Row]] = defaultdict(list)
    for row in kept:
        by_currency[row.currency].append(row)
    chains = {currency: _chain(currency, by_currency[currency]) for currency in sorted(by_currency)}
    return ChainSnapshot(time_ns, chains, tuple(sorted(bad, key=lambda entry: entry.line)))


def _read(path: Path) -> _Groups:
    """Rows of a file as (line, mapping), by snapshot key."""
    groups: _Groups = defaultdict(list)
    try:
        with path.open("rb") as file:
            magic = file.read(4)
        rows = _parquet_rows(path) if magic == b"PAR1" else _csv_rows(path, gzipped=magic[:2] == b"\x1f\x8b")
        for line, row in rows:
            groups[str(row["snapshot" if "snapshot" in row else "timestamp"])].append((line, row))
    except (OSError, EOFError, UnicodeDecodeError, csv.Error, zlib.error) as error:
        raise ChainError(f"{path}: {error}") from error
    return groups


def _csv_rows(path: Path, gzipped: bool) -> Iterator[tuple[int, Mapping[str, Any]]]:
    with path.open("rb") as raw, gzip.open(raw) if gzipped else raw as binary:
        reader = csv.DictReader(io.TextIOWrapper(binary, "utf-8", newline=""))
        _check_columns(path, reader.fieldnames or ())
        for row in reader:
            yield reader.line_num, row


def _parquet_rows(path: Path) -> Iterator[tuple[int, Mapping[str, Any]]]:
    try:
        import pyarrow  # type: ignore[import-untyped]
        import pyarrow.parquet as parquet  # type: ignore[import-untyped]
    except ImportError as error:
        message = f"{path}: reading Parquet needs pyarrow, the optional extra [data]: install pyarrow beside it"
        raise ChainError(message) from error
    try:
        names = parquet.read_schema(path).names
        _check_columns(path, names)
        wanted = [name for name in (*REQUIRED, *OPTIONAL) if name in names]
        table = parquet.read_table(path, columns=wanted)
    except pyarrow.ArrowException as error:
        raise ChainError(f"{path}: {error}") from error
    line = 0
    for batch in table.to_batches(max_chunksize=8_192):
        for row in batch.to_pylist():
            line += 1
            yield line, row


def _check_columns(path: Path, names: Sequence[str]) -> None:
    missing = [name for name in REQUIRED if name not in names]
    if missing:
        raise ChainError(f"{path}: columns missing: {', '.join(missing)}")


def _moment_or_none(cell: Any) -> int | None:
    try:
        moment = cell if isinstance(cell, datetime) else datetime.fromisoformat(cell)
        return time_ns_of(moment)
    except (TypeError, ValueError):  # not text, not ISO 8601, or without an offset
        return None


def _moment(cells: Mapping[str, Any], column: str) -> int:
    time_ns = _moment_or_none(cells.get(column))
    if time_ns is None:
        raise _RowError(f"{column} {cells.get(column)!r} is not an ISO 8601 time with offset")
    return time_ns


def _number(cells: Mapping[str, Any], column: str, low: float, high: float) -> float:
    cell = cells.get(column)
    try:
        value = float(cell)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        raise _RowError(f"{column} {cell!r} is not a number") from None
    if not math.isfinite(value) or not low <= value <= high:
        raise _RowError(f"{column} {cell!r} is outside [{low:g}, {high:g}]")
    return value


def _parse(line: int, cells: Mapping[str, Any], time_ns: int) -> _Row:
    if None in cells:
        raise _RowError("more fields than columns")
    _moment(cells, "timestamp")
    expiry_ns = _moment(cells, "expiry_datetime")
    if expiry_ns <= time_ns:
        raise _RowError(f"expiry {cells['expiry_datetime']} is not after the snapshot")
    option_type = cells["option_type"]
    if option_type not in ("call", "put"):
        raise _RowError(f"option_type {option_type!r} is neither call nor put")
    strike_e8 = round(_number(cells, "strike", 1e-8, PRICE_MAX) * E8)
    currency, name = cells["currency"], cells["instrument_name"]
    if not currency:
        raise _RowError("currency is empty")
    expected = option_name(currency, expiry_ns, strike_e8, option_type)
    if name != expected:
        raise _RowError(f"instrument_name {name!r} disagrees with the row's terms, {expected}")
    future = cells.get("futures_instrument_name")
    return _Row(
        line=line,
        name=name,
        currency=currency,
        expiry_ns=expiry_ns,
        strike_e8=strike_e8,
        option_type=option_type,
        forward=_number(cells, "underlying", 1e-8, PRICE_MAX),
        index_price=_number(cells, "index_price", 1e-8, PRICE_MAX),
        vol=_number(cells, "implied_volatility", VOL_MIN, VOL_MAX),
        has_future=future is None or not str(future).startswith("SYN."),
    )


def _without_strays(rows: list[_Row], bad: list[BadRow]) -> list[_Row]:
    forwards: dict[tuple[str, int], list[float]] = defaultdict(list)
    indices: dict[str, list[float]] = defaultdict(list)
    for row in rows:
        forwards[row.currency, row.expiry_ns].append(row.forward)
        indices[row.currency].append(row.index_price)
    forward_of = {key: median(values) for key, values in forwards.items()}
    index_of = {key: median(values) for key, values in indices.items()}
    kept: list[_Row] = []
    for row in rows:
        forward, index = forward_of[row.currency, row.expiry_ns], index_of[row.currency]
        if abs(row.forward - forward) > SPREAD_MAX * forward:
            bad.append(BadRow(row.line, f"forward {row.forward:g} is far from the expiry's median {forward:g}"))
        elif abs(row.index_price - index) > SPREAD_MAX * index:
            bad.append(BadRow(row.line, f"index_price {row.index_price:g} is far from the median {index:g}"))
        else:
            kept.append(row)
    return kept


def _chain(currency: str, rows: list[_Row]) -> UnderlyingChain:
    forwards: dict[int, list[float]] = defaultdict(list)
    listed: dict[int, bool] = defaultdict(bool)
    sides: dict[tuple[int, int], dict[OptionType, float]] = defaultdict(dict)
    for row in rows:
        forwards[row.expiry_ns].append(row.forward)
        listed[row.expiry_ns] |= row.has_future
        sides[row.expiry_ns, row.strike_e8][row.option_type] = row.vol
    forward_e8 = {expiry_ns: round(median(values) * E8) for expiry_ns, values in forwards.items()}
    pairs = sorted(sides)
    vols: list[int] = []
    for expiry_ns, strike_e8 in pairs:
        quoted = sides[expiry_ns, strike_e8]
        outside: OptionType = "call" if strike_e8 >= forward_e8[expiry_ns] else "put"
        vols.append(round(quoted.get(outside, next(iter(quoted.values()))) * 1_000_000))
    ordered = sorted(rows, key=lambda row: (row.expiry_ns, row.strike_e8, row.option_type))
    return UnderlyingChain(
        underlying=currency,
        index_price_e8=round(median(row.index_price for row in rows) * E8),
        expiries=tuple(Expiry(expiry, forward_e8[expiry], listed[expiry]) for expiry in sorted(forward_e8)),
        options=tuple(ListedOption(row.name, row.expiry_ns, row.strike_e8, row.option_type) for row in ordered),
        pair_expiry_ns=np.array([expiry for expiry, _ in pairs], dtype=np.int64),
        pair_strike_e8=np.array([strike for _, strike in pairs], dtype=np.int64),
        pair_vol_e6=np.array(vols, dtype=np.int64),
    )
