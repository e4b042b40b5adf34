import numpy as np
from numpy.typing import NDArray

def time_accounts(
    rows: NDArray[np.float64],
    start: NDArray[np.int64],
    row_index: NDArray[np.uint16],
    lots: NDArray[np.int32],
    runs: int,
) -> tuple[NDArray[np.float64], list[int]]:
    """(worst loss [A] of every account, ns of each of `runs` passes)."""

def time_fills(
    vectors: NDArray[np.float64],
    rows: NDArray[np.float64],
    account: NDArray[np.int64],
    row_index: NDArray[np.int64],
    lots: NDArray[np.float64],
) -> tuple[int, float]:
    """(ns for all fills, sum of the worst losses)."""

def time_reprice(
    strike: NDArray[np.float64],
    expiry: NDArray[np.int32],
    vol: NDArray[np.float64],
    forward: NDArray[np.float64],
    years: NDArray[np.float64],
    spot_multiplier: NDArray[np.float64],
    vol_multiplier: NDArray[np.float64],
    index_price: float,
    rows_usd: NDArray[np.float64],
    runs: int,
) -> list[int]:
    """ns of each of `runs` repricings of a linear chain into rows_usd."""
