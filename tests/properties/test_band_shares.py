"""How many accounts of an ordinary population safe bands leave to be looked at, by what they are margined by."""

from typing import Any

import msgspec
import numpy as np
import pytest

from tests.oracles import crowd
from tests.properties.test_band_kinds import BESIDE, CHARGES, CREDITS, HAIRCUTS, POINTS, with_sets, with_span
from tests.properties.test_safe_bands import Pair
from tests.properties.test_timed_bands import ORDINARY


class Ordinary(crowd.Crowd):
    """Most members have about twice their initial margin, 3 % hardly more than it."""

    def spread(self, number: int) -> float:
        near = self.rng.random() < 0.03
        return float(self.rng.uniform(0.0005, 0.1)) if near else float(np.exp(self.rng.normal(0.2, 1.0)))


class OrdinarySegregated(Ordinary):
    models = ("segregated_pm", "segregated_pm")


def looked_at(kind: type[crowd.Crowd], seed: int, accounts: int, marks: int, **changes: Any) -> float:
    """The share of accounts that a calm mark looks at, once they have bands; events are compared."""
    crowded = kind(seed, accounts, **changes)
    pair = Pair(crowded)
    for number in range(marks):
        pair.same(crowded.move(0.0003, ("BTC", "BTC", "BTC", "ETH")[number % 4], seconds=10.0))
    pair.finish()
    shares = np.array([seen for number, seen in enumerate(pair.visited) if number > marks // 4 and number % 4 != 3])
    found = float(shares.mean()) / accounts
    print(f"seed {seed}: {kind.__name__}, {accounts} accounts, {marks} calm marks of BTC: {found:.2%} looked at")
    return found


SETS: dict[str, dict[str, Any]] = {
    "matrix": {},
    "span": with_span(ORDINARY, ORDINARY) | {"span_credits": CREDITS},
    "points": with_span(POINTS, msgspec.UNSET),
    "haircuts": {"currencies": HAIRCUTS},
    "span haircuts": with_span(ORDINARY, ORDINARY) | {"currencies": HAIRCUTS},
    "beside": with_sets(**BESIDE, **CHARGES),
    "horizon": with_sets(horizon_days=20),
}


@pytest.mark.parametrize("name", SETS)
@pytest.mark.parametrize("kind", [Ordinary, OrdinarySegregated])
def test_most_accounts_keep_their_band(kind: type[crowd.Crowd], name: str, seed: int) -> None:
    assert looked_at(kind, seed, 160, 40, **SETS[name]) < 0.25


@pytest.mark.full
@pytest.mark.parametrize("name", SETS)
@pytest.mark.parametrize("kind", [Ordinary, OrdinarySegregated])
def test_most_accounts_keep_their_band_at_length(kind: type[crowd.Crowd], name: str, seed: int) -> None:
    assert looked_at(kind, seed, 5_000, 300, **SETS[name]) < 0.12
