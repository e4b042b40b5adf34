from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

COIN_UNIT: float
USD_UNIT: float
EXACT_LIMIT: float

class RiskRows(NamedTuple):
    """Rows of a chain by destination row; see `reprice`."""

    rows_coin: NDArray[np.float64] | None
    rows_usd: NDArray[np.float64]
    mark: NDArray[np.float64]
    delta: NDArray[np.float64]
    row_max: NDArray[np.float64]

class FutureRow(NamedTuple):
    """Row of one future; see `reprice_future`."""

    row_coin: NDArray[np.float64] | None
    row_usd: NDArray[np.float64]
    delta_coin: float
    row_max: float

def aligned_zeros(rows: int, scenario_count: int) -> NDArray[np.float64]:
    """float64 zeros of shape (rows, scenario_count), aligned to 64 bytes."""

def allocate_rows(row_count: int, scenario_count: int, inverse: bool) -> RiskRows:
    """Empty `RiskRows` to pass to `reprice` as `out`, for repeated use."""

def reprice(
    strike: ArrayLike,
    expiry: ArrayLike,
    vol: ArrayLike,
    forward: ArrayLike,
    years: ArrayLike,
    spot_multiplier: ArrayLike,
    vol_multiplier: ArrayLike,
    *,
    index_price: float,
    lot_coin: float,
    inverse: bool,
    vol_floor: ArrayLike | None = None,
    weight: ArrayLike | None = None,
    coin_factor: ArrayLike | None = None,
    call_row: ArrayLike | None = None,
    put_row: ArrayLike | None = None,
    out: RiskRows | None = None,
) -> RiskRows:
    """Reprice one chain of (strike, expiry) pairs over the scenario columns into integer rows per +1 lot."""

def reprice_future(
    forward: float,
    spot_multiplier: ArrayLike,
    *,
    index_price: float,
    inverse: bool,
    lot_usd: float = 0.0,
    lot_coin: float = 0.0,
    weight: ArrayLike | None = None,
    coin_factor: ArrayLike | None = None,
    future_move_clamp: ArrayLike | None = None,
) -> FutureRow:
    """Risk row of one future or perpetual over the scenario columns, per +1 lot."""
