"""What a requirement is met with, in its own unit: the margin balance that each model compares with."""

from collections.abc import Mapping

import numpy as np

from margin_ext.models import matrix
from margin_ext.models.parameters import MatrixSet
from margin_ext.models.parameters_formula import IsolatedSet, ParameterSet
from margin_ext.models.portfolio import Portfolio
from margin_ext.models.valuation import position_values


def balances(p: Portfolio, sets: ParameterSet | Mapping[str, ParameterSet]) -> dict[str, float]:
    """Margin balance by unit.

    `matrix` in coins: cash, futures' unrealised P&L and option values, by currency; in USD the same of all
    currencies after haircuts. `standard`: without option values, whose mark is in the formulas. `span16`: without
    them too, for the net option value is taken off the requirement; in USD after haircuts. `isolated`: nothing, each
    position has its bucket.
    """
    one = next(iter(sets.values())) if isinstance(sets, Mapping) else sets
    if isinstance(one, IsolatedSet):
        return {}
    whole = isinstance(one, MatrixSet)
    window = one.settlement_window_seconds if isinstance(one, MatrixSet) else 0.0
    values = np.where(p.is_option & (not whole), 0.0, position_values(p, window))
    cash = np.array([c.cash for c in p.currencies], dtype=np.float64)
    held = cash + np.bincount(p.settlement, values, len(p.currencies))
    in_usd = one.numeraire == "usd" if isinstance(one, MatrixSet) else one.__struct_config__.tag == "span16"
    if in_usd:
        return {"USD": matrix.haircut_value(p, held)}
    return {c.name: float(held[number]) for number, c in enumerate(p.currencies)}
