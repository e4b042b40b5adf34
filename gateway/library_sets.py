"""Parameter sets of the engine as the library's and back, field by field, and the hash that a venue shows for one."""

from typing import Any

import msgspec

from exchange.parameters import (
    Concentration,
    ExpiryBasis,
    IsolatedParameters,
    MatrixParameters,
    Peg,
    Skew,
    StandardParameters,
)
from exchange.parameters_span import SpanParameters
from exchange.what_if import parameters_hash
from margin_ext import models
from margin_ext.models.parameter_files import checked
from margin_ext.models.parameters import MatrixSet
from margin_ext.models.parameters_formula import FutureSchedule, FutureTier, IsolatedSet, SpanSet, StandardSet

SETTLEMENT_SECONDS = 1_800
PARTS = {"peg": Peg, "skew": Skew, "expiry_basis": ExpiryBasis, "concentration": Concentration}


def matrix_set(parameters: MatrixParameters, numeraire: str) -> MatrixSet:
    """The engine's grid as a set of the library; ParameterError where the library takes no such set."""
    values = msgspec.to_builtins(parameters) | {"numeraire": numeraire}
    return checked(msgspec.convert(values, MatrixSet))  # type: ignore[return-value]


def grid_set(underlying: Any, numeraire: str) -> MatrixSet:
    """An underlying's grid, with the length of the average that its contracts are priced on."""
    window = SETTLEMENT_SECONDS if underlying.settlement_averaging is True else 0
    return msgspec.structs.replace(matrix_set(underlying.matrix, numeraire), settlement_window_seconds=window)


def standard_set(parameters: StandardParameters, underlying: str) -> StandardSet:
    """The engine's formulas for one underlying as a set of the library."""
    tier = FutureTier(
        initial_ppm=parameters.future_initial_ppm,
        maintenance_ppm=parameters.future_maintenance_ppm,
        slope_ppb_per_coin=parameters.per_coin_ppm * 1_000,
    )
    made = StandardSet(
        name=parameters.name,
        version=parameters.version,
        option_initial_ppm=parameters.short_initial_ppm,
        option_initial_floor_ppm=parameters.short_floor_ppm,
        call_maintenance_ppm=parameters.short_maintenance_ppm,
        put_maintenance_ppm=parameters.short_maintenance_ppm,
        put_maintenance_of_mark_ppm=parameters.put_mark_ppm,
        cap_spreads=True,
        futures=(FutureSchedule(underlying=underlying, tiers=(tier,)),),
    )
    return checked(made)  # type: ignore[return-value]


def venue_hash(own: models.ParameterSet, underlying: str) -> str | None:
    """SHA-256 that a venue shows for these parameters; None for a set that no venue can have."""
    try:
        if isinstance(own, MatrixSet):
            grid = matrix_of(own)
            if own.settlement_window_seconds == SETTLEMENT_SECONDS:  # the underlying's, no part of its set
                own = msgspec.structs.replace(own, settlement_window_seconds=0)
            return parameters_hash(grid) if matrix_set(grid, own.numeraire) == own else None
        if isinstance(own, SpanSet):
            spans = span_of(own)
            return parameters_hash(spans) if span_set(spans) == own else None
        if isinstance(own, IsolatedSet):
            values = msgspec.to_builtins(own)
            tiers = msgspec.convert({k: values[k] for k in IsolatedParameters.__struct_fields__}, IsolatedParameters)
            return parameters_hash(tiers) if isolated_set(tiers) == own else None
        if isinstance(own, StandardSet):
            formulas = formulas_of(own)
            return parameters_hash(formulas) if standard_set(formulas, underlying) == own else None
    except (ValueError, models.ParameterError):
        pass
    return None


def matrix_of(own: MatrixSet) -> MatrixParameters:
    """The engine's parameters of a set; what the engine has no name for is left out."""

    def part(value: Any, kind: type) -> Any:
        return {name: msgspec.to_builtins(getattr(value, name)) for name in kind.__struct_fields__}

    values = {name: getattr(own, name) for name in MatrixParameters.__struct_fields__}
    nested = {name: part(values[name], kind) for name, kind in PARTS.items() if values[name] is not None}
    own_columns = [msgspec.to_builtins(column) for column in values.pop("columns")]
    more = {"columns": own_columns} if own_columns else {}
    if values["concentration"] is None:
        del values["concentration"]
    return msgspec.convert(values | nested | more, MatrixParameters)


def span_set(parameters: SpanParameters) -> SpanSet:
    """The engine's `span16` as a set of the library."""
    return checked(msgspec.convert(msgspec.to_builtins(parameters), SpanSet))  # type: ignore[return-value]


def span_of(own: SpanSet) -> SpanParameters:
    """The engine's parameters of a `span16` set; what the engine has no name for is left out."""
    known = SpanParameters.__struct_fields__
    values = {name: value for name, value in msgspec.to_builtins(own).items() if name in known}
    if own.vol_scan_kind == "relative":  # what is unset in the engine's
        del values["vol_scan_kind"]
    return msgspec.convert(values, SpanParameters)


def formulas_of(own: StandardSet) -> StandardParameters:
    """Those of a set with one futures schedule of one tier; ValueError for another."""
    (schedule,) = own.futures
    (tier,) = schedule.tiers
    return StandardParameters(
        name=own.name,
        version=own.version,
        short_initial_ppm=own.option_initial_ppm,
        short_floor_ppm=own.option_initial_floor_ppm,
        short_maintenance_ppm=own.call_maintenance_ppm,
        put_mark_ppm=own.put_maintenance_of_mark_ppm,
        future_initial_ppm=tier.initial_ppm,
        future_maintenance_ppm=tier.maintenance_ppm,
        per_coin_ppm=tier.slope_ppb_per_coin // 1_000,
    )


def isolated_set(parameters: IsolatedParameters) -> IsolatedSet:
    """The engine's leverage tiers as a set of the library."""
    return checked(msgspec.convert(msgspec.to_builtins(parameters), IsolatedSet))  # type: ignore[return-value]


def library_set(underlying: Any, model: str) -> Any:
    """The same in the library's form; ParameterError where it has none."""
    if model == "isolated":
        return isolated_set(underlying.isolated)
    if not model.endswith("_pm"):
        return standard_set(underlying.standard, underlying.name)
    if underlying.span is not msgspec.UNSET:
        return span_set(underlying.span)
    return grid_set(underlying, "usd" if model.startswith("cross") else "coin")


def own_set(underlying: Any, model: str) -> Any:
    """The engine's parameters that accounts of a model are margined by."""
    if model == "isolated":
        return underlying.isolated
    if not model.endswith("_pm"):
        return underlying.standard
    return underlying.matrix if underlying.span is msgspec.UNSET else underlying.span
