"""What a model answers: every figure that the requirement was made of, and the parameter set that made it."""

from typing import Any

import msgspec
import numpy as np

from margin_ext.models.parameter_files import Identity
from margin_ext.models.portfolio import Floats


class Scenario(msgspec.Struct, frozen=True):
    """A column of a scenario table."""

    label: str
    move: float
    """Of every price, as a fraction."""
    vol: str
    weight: float = 1.0
    extended: bool = False
    coin_factor: float = 1.0
    dampener_ratio: float = 0.0
    """Multiple of the dampener that a loss is reduced by at most."""


class Added(msgspec.Struct, frozen=True):
    """A charge that no factor scales."""

    initial: float
    maintenance: float


class Requirement(msgspec.Struct, frozen=True, kw_only=True):
    """The requirement of one scope (a chain, an underlying, an account) in one unit.

    Scenario models: initial = initial_factor x (worst + sum of `scaled`) + sum of `added.initial`, and so for
    maintenance, less `option_value` in SPAN; never below 0. Formula models: sums of `position_*`, less `added`.
    """

    scope: str
    unit: str
    parameter_set: Identity
    initial: float
    maintenance: float
    book: str = "all"
    """Of which positions the initial margin is: all, or those beyond the set's horizon."""
    scenarios: tuple[Scenario, ...] = ()
    pnl: Floats | None = None
    """[S] of the book."""
    loss: Floats | None = None
    """[S] after dampening."""
    worst: float = 0.0
    worst_scenario: int | None = None
    initial_factor: float = 1.0
    maintenance_factor: float = 1.0
    scaled: dict[str, float] = {}
    added: dict[str, Added] = {}
    figures: dict[str, float] = {}
    """Further intermediate figures by name, such as deltas."""
    positions: tuple[int, ...] = ()
    """Rows of the portfolio that it covers."""
    position_initial: Floats | None = None
    position_maintenance: Floats | None = None
    bankruptcy_price: tuple[float | None, ...] = ()
    liquidation_price: tuple[float | None, ...] = ()
    """Isolated positions; None where no price liquidates them."""


class Total(msgspec.Struct, frozen=True):
    """Of one unit."""

    initial: float
    maintenance: float


class MarginResult(msgspec.Struct, frozen=True, kw_only=True):
    """Requirements by scope and their totals by unit."""

    model: str
    requirements: tuple[Requirement, ...]
    totals: dict[str, Total]
    aggregate_pnl: Floats | None = None
    """[S] over underlyings, gains offset, where the set adds scenarios up before taking the worst."""

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON; floats that are not finite become None."""
        return msgspec.to_builtins(self, enc_hook=_plain)


def totals(requirements: tuple[Requirement, ...]) -> dict[str, Total]:
    """Sums by unit, in the order in which units first occur."""
    found: dict[str, Total] = {}
    for one in requirements:
        before = found.get(one.unit, Total(0.0, 0.0))
        found[one.unit] = Total(before.initial + one.initial, before.maintenance + one.maintenance)
    return found


def _plain(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        return [x if np.isfinite(x) else None for x in value.tolist()]
    raise NotImplementedError(f"no plain form of {type(value).__name__}")
