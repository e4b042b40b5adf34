"""Portfolios as files, JSON or TOML: market, positions and the parameter sets to margin them with."""

import re
import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
import numpy as np

from margin_ext.models.parameter_files import ParameterError, from_dict, load, path_first, shipped, shipped_names
from margin_ext.models.parameters_formula import CreditSet, IsolatedSet, ParameterSet, SpanSet
from margin_ext.models.portfolio import Currency, Portfolio, PortfolioError, Underlying, portfolio

MAX_POSITIONS = 100_000
Real = Annotated[float, msgspec.Meta(ge=-1e18, le=1e18)]


class Position(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One row of a portfolio; fields as the columns of `Portfolio`."""

    underlying: str | None = None
    settlement: str | None = None
    kind: Literal["perpetual", "future", "option"]
    lots: Real
    lot_size: Real = 1.0
    option_type: Literal["call", "put"] | None = None
    strike: Real = 0.0
    days: Real = 0.0
    forward: Real | None = None
    vol: Real = 0.0
    mark: Real | None = None
    entry: Real | None = None
    average_fraction: Real = 0.0
    average_price: Real = 0.0
    bucket: Real | None = None
    """Collateral of an isolated position, in its settlement currency."""
    leverage: Real | None = None
    """What the owner of an isolated position chose."""


class Document(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A file. `parameters` and `credits`: a shipped name, a TOML file beside this one, or a set's own table."""

    parameters: str | dict[str, Any]
    """For all underlyings; or a table of sets by underlying's name."""
    credits: str | dict[str, Any] | None = None
    underlyings: tuple[Underlying, ...]
    currencies: tuple[Currency, ...] = ()
    positions: Annotated[tuple[Position, ...], msgspec.Meta(max_length=MAX_POSITIONS)]
    source: dict[str, Any] | None = None
    """Where the portfolio comes from, in the words of what wrote the file; no figure depends on it."""


class Case(msgspec.Struct, frozen=True):
    """What `margin_ext.models.margin` takes: portfolio, sets, options of the model."""

    portfolio: Portfolio
    sets: ParameterSet | dict[str, ParameterSet]
    options: dict[str, Any]
    source: dict[str, Any] | None = None


def load_case(path: str | Path) -> Case:
    """A case from a JSON or TOML file; PortfolioError or ParameterError names file, field and reason.

    What begins with `{`, or is named `.json`, is JSON, whatever else it is called.
    """
    place = Path(path)
    try:
        text = place.read_text(encoding="utf-8")
        is_json = place.suffix == ".json" or text.lstrip().startswith("{")
        values = msgspec.json.decode(text) if is_json else tomllib.loads(text)
        return case(values, place.parent)
    except ParameterError as error:
        raise ParameterError(f"{path}: {error}") from None
    except OSError as error:
        raise PortfolioError(f"{path}: {error.strerror}") from None
    except (UnicodeDecodeError, msgspec.DecodeError, tomllib.TOMLDecodeError, PortfolioError) as error:
        raise PortfolioError(f"{path}: {error}") from None


def case(values: Any, beside: Path = Path()) -> Case:
    """A case from plain values; parameter files are looked for in `beside`."""
    try:
        document = msgspec.convert(values, Document)
    except msgspec.ValidationError as error:
        raise PortfolioError(path_first(str(error))) from None
    sets = _sets(document.parameters, beside)
    p = _portfolio(document)
    options: dict[str, Any] = {}
    some = next(iter(sets.values())) if isinstance(sets, dict) else sets
    if isinstance(some, IsolatedSet):
        options = _isolated_options(document.positions)
    if document.credits is not None:
        credit_set = _set(document.credits, beside, "credits")
        if not isinstance(credit_set, CreditSet) or not isinstance(some, SpanSet):
            raise PortfolioError("credits: must be a set of model span16_credits, beside parameters of span16")
        options["credit_set"] = credit_set
    return Case(p, sets, options, document.source)


def _sets(given: str | dict[str, Any], beside: Path) -> ParameterSet | dict[str, ParameterSet]:
    if isinstance(given, str) or "model" in given:
        return _set(given, beside, "parameters")
    if not given:
        raise PortfolioError("parameters: none")
    return {name: _set(one, beside, f"parameters.{name}") for name, one in given.items()}


def _set(given: Any, beside: Path, field: str) -> ParameterSet:
    try:
        if isinstance(given, dict):
            return from_dict(given)
        if not isinstance(given, str):
            raise ParameterError("must be a name or a table")
        if given in shipped_names():
            return shipped(given)
        if not given.endswith(".toml"):
            raise ParameterError(f"{given!r} is neither a .toml file nor one of {', '.join(shipped_names())}")
        return load(beside / given)
    except ParameterError as error:
        raise ParameterError(f"{field}: {error}") from None


def _portfolio(document: Document) -> Portfolio:
    rows = document.positions
    names = [u.name for u in document.underlyings]
    index = {u.name: u.index_usd for u in document.underlyings}
    default = names[0] if len(names) == 1 else None
    for row, one in enumerate(rows):
        if one.underlying is None and default is None:
            raise PortfolioError(f"positions[{row}].underlying: missing (there is more than one)")
        if one.kind == "option" and one.option_type is None:
            raise PortfolioError(f"positions[{row}].option_type: missing")
        if one.underlying is not None and one.underlying not in index:
            raise PortfolioError(f"positions[{row}].underlying: {one.underlying} is none of {', '.join(names)}")
    coins = [one.underlying or str(default) for one in rows]
    empty = {} if rows else {"underlying": np.array([], dtype=int), "settlement": np.array([], dtype=int)}
    plain = ("lots", "lot_size", "strike", "days", "vol", "average_fraction", "average_price")
    columns: dict[str, Any] = {
        "underlying": coins,
        "settlement": [one.settlement or coin for one, coin in zip(rows, coins, strict=True)],
        "kind": np.array([("perpetual", "future", "option").index(one.kind) for one in rows], dtype=int),
        "is_call": np.array([one.option_type != "put" for one in rows], dtype=bool),
        "forward": [index[coin] if one.forward is None else one.forward for one, coin in zip(rows, coins, strict=True)],
        **{name: np.array([getattr(one, name) for one in rows], dtype=np.float64) for name in plain},
        **{name: _or_nan([getattr(one, name) for one in rows]) for name in ("mark", "entry")},
    }
    try:
        return portfolio(document.underlyings, document.currencies, **(columns | empty))
    except PortfolioError as error:
        raise PortfolioError(re.sub(r"^(\w+)\[(\d+)\]", r"positions[\2].\1", str(error))) from None


def _or_nan(values: list[float | None]) -> Any:
    return np.array([np.nan if value is None else value for value in values], dtype=np.float64)


def _isolated_options(rows: tuple[Position, ...]) -> dict[str, Any]:
    for row, one in enumerate(rows):
        if one.bucket is None:
            raise PortfolioError(f"positions[{row}].bucket: missing")
    highest = [1e18 if one.leverage is None else one.leverage for one in rows]
    return {"buckets": np.array([one.bucket for one in rows], dtype=np.float64), "leverage": np.array(highest)}
