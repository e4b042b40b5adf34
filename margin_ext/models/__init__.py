"""Margin models over numpy arrays: price, shock and margin a portfolio without a venue.

    p = portfolio({"BTC": 100_000.0}, kind=["perpetual", "option"], lots=[1_000, -10], ...)
    margin(p, shipped("matrix_btc")).totals

Models: `matrix`, `span16` (scenarios), `standard`, `isolated` (formulas). Every figure is in the result, with the name,
version and hash of the parameter set. Formulas: docs/margin.md.
"""

from collections.abc import Mapping
from typing import Any

from margin_ext.models import isolated, matrix, span, standard
from margin_ext.models.balance import balances
from margin_ext.models.parameter_files import (
    Identity,
    ParameterError,
    canonical_bytes,
    from_dict,
    identity,
    load,
    loads,
    schema,
    shipped,
    shipped_names,
)
from margin_ext.models.parameters import MatrixSet
from margin_ext.models.parameters_formula import CreditSet, IsolatedSet, ParameterSet, SpanSet, StandardSet
from margin_ext.models.portfolio import (
    FUTURE,
    OPTION,
    PERPETUAL,
    Currency,
    Portfolio,
    PortfolioError,
    Underlying,
    portfolio,
)
from margin_ext.models.portfolio_files import Case, case, load_case
from margin_ext.models.result import MarginResult, Requirement, Scenario
from margin_ext.models.sensitivities import PositionGreeks, UnderlyingGreeks, by_underlying, greeks
from margin_ext.models.valuation import deltas, equities, marks, position_values, surface

_MODELS: dict[type, Any] = {
    MatrixSet: matrix.margin,
    SpanSet: span.margin,
    StandardSet: standard.margin,
    IsolatedSet: isolated.margin,
}


def margin(p: Portfolio, sets: ParameterSet | Mapping[str, ParameterSet], **options: Any) -> MarginResult:
    """The portfolio's requirements under the model that the set is of.

    sets: one for all underlyings, or (all but `isolated`) one by underlying's name. options are the model's own:
    `credit_set` of span16, `buckets` and `leverage` of isolated.
    """
    kinds = {type(s) for s in sets.values()} if isinstance(sets, Mapping) else {type(sets)}
    if len(kinds) != 1:
        raise ParameterError("sets: must be of one model")
    kind = kinds.pop()
    if kind not in _MODELS or (isinstance(sets, Mapping) and kind is IsolatedSet):
        raise ParameterError(f"sets: {kind.__name__} cannot be used so")
    return _MODELS[kind](p, sets, **options)


__all__ = [
    "FUTURE",
    "OPTION",
    "PERPETUAL",
    "Case",
    "CreditSet",
    "Currency",
    "Identity",
    "IsolatedSet",
    "MarginResult",
    "MatrixSet",
    "ParameterError",
    "ParameterSet",
    "Portfolio",
    "PortfolioError",
    "PositionGreeks",
    "Requirement",
    "Scenario",
    "SpanSet",
    "StandardSet",
    "Underlying",
    "UnderlyingGreeks",
    "balances",
    "by_underlying",
    "canonical_bytes",
    "case",
    "deltas",
    "equities",
    "from_dict",
    "greeks",
    "identity",
    "isolated",
    "load",
    "load_case",
    "loads",
    "margin",
    "marks",
    "matrix",
    "portfolio",
    "position_values",
    "schema",
    "shipped",
    "shipped_names",
    "span",
    "standard",
    "surface",
]
