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
