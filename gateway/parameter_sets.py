"""Parameter sets of the library's TOML files as the engine's own, for a venue's configuration.

A set that asks for something that the engine does not do is refused by the field's name: no field is dropped.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from exchange.config import Config, Underlying
from exchange.parameters import MatrixParameters, StandardParameters
from exchange.parameters_span import SpanCredits, SpanParameters
from gateway.library_sets import formulas_of, matrix_of, matrix_set, span_of, standard_set
from margin_ext import models
from margin_ext.models import CreditSet, MatrixSet, ParameterError, SpanSet, StandardSet

EngineSet = MatrixParameters | StandardParameters | SpanParameters | SpanCredits


def read(given: Any, beside: Path) -> models.ParameterSet:
    """A set from a shipped name, a `.toml` file in `beside` or plain values; ParameterError says what is wrong."""
    if isinstance(given, dict):
        return models.from_dict(given)
    if not isinstance(given, str):
        raise ParameterError("must be a name, a .toml file or a table")
    if given in models.shipped_names():
        return models.shipped(given)
    if not given.endswith(".toml"):
        raise ParameterError(f"{given!r} is neither a .toml file nor one of {', '.join(models.shipped_names())}")
    return models.load(beside / given)


def _same(own: models.ParameterSet, back: models.ParameterSet) -> None:
    """ParameterError for the first field that the engine's parameters have not kept."""
    for name in own.__struct_fields__:
        if getattr(own, name) != getattr(back, name):
            raise ParameterError(f"{name}: the engine does nothing with {getattr(own, name)!r}")


def engine_set(own: models.ParameterSet, underlying: str = "") -> EngineSet:
    """The engine's parameters of a set; ParameterError names a field that they cannot say."""
    if isinstance(own, SpanSet):
        return span_of(own)
    if isinstance(own, CreditSet):
        values = msgspec.to_builtins(own)
        return msgspec.convert({n: values[n] for n in SpanCredits.__struct_fields__}, SpanCredits)
    if isinstance(own, MatrixSet):
        grid = matrix_of(own)
        _same(own, matrix_set(grid, own.numeraire))
        return grid
    if isinstance(own, StandardSet):
        try:
            formulas = formulas_of(own)
        except ValueError:
            raise ParameterError("futures: the engine takes one schedule of one tier") from None
        _same(own, standard_set(formulas, own.futures[0].underlying))
        return formulas
    raise ParameterError(f"model: {type(own).__name__} is none of an underlying's")


def _named(field: str, load: Callable[[], Any]) -> Any:
    try:
        return load()
    except ParameterError as error:
        raise ParameterError(f"{field}: {error}") from None


def _with(underlying: Underlying, given: Any, beside: Path) -> Underlying:
    """An underlying with the sets of `given`: one, or a list of one per model."""
    for one in given if isinstance(given, list) else [given]:
        made = engine_set(read(one, beside), underlying.name)
        if isinstance(made, SpanCredits):
            raise ParameterError("model: credits are between underlyings (span_credits)")
        field = {MatrixParameters: "matrix", StandardParameters: "standard", SpanParameters: "span"}[type(made)]
        underlying = msgspec.structs.replace(underlying, **{field: made})
        if field == "matrix":
            underlying = msgspec.structs.replace(underlying, span=msgspec.UNSET)
    return underlying


def with_sets(config: Config, given: dict[str, Any], credit: Any, beside: Path) -> Config:
    """A configuration with parameter sets by underlying's name, and credits between them (None: its own)."""
    names = [underlying.name for underlying in config.underlyings]
    for name in given:
        if name not in names:
            raise ParameterError(f"parameters.{name}: no such underlying; there are {', '.join(names)}")
    underlyings = tuple(
        _named(f"parameters.{u.name}", lambda u=u: _with(u, given[u.name], beside)) if u.name in given else u
        for u in config.underlyings
    )
    config = msgspec.structs.replace(config, underlyings=underlyings)
    if credit is not None:
        made = _named("span_credits", lambda: engine_set(read(credit, beside)))
        if not isinstance(made, SpanCredits):
            raise ParameterError("span_credits: must be of model span16_credits")
        config = msgspec.structs.replace(config, span_credits=made)
    return config
