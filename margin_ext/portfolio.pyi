import numpy as np
from numpy.typing import ArrayLike, NDArray

Vector = NDArray[np.float64]

def sum_rows(rows: ArrayLike, row_index: ArrayLike, lots: ArrayLike) -> Vector:
    """Scenario vector [S]: sum of lots[i] * rows[row_index[i]]; rows [R, S], S a multiple of 8 up to 64."""

def add_row(v: Vector, row: Vector, lots: float) -> float:
    """v += lots * row in place; returns the least entry of v."""

def add_open_orders(o: Vector, row: Vector, buy_lots: float, sell_lots: float) -> None:
    """o += buy_lots * min(0, row) + sell_lots * min(0, -row) in place."""

def worst_loss(v: Vector, o: Vector | None = None, dampener: Vector | None = None) -> float:
    """max(0, max_j(loss_j - min(max(loss_j, 0), dampener_j))) with loss = -(v + o); dampener >= 0."""

def worst_loss_with(
    v: Vector,
    o: Vector | None,
    row: Vector,
    position_lots: float,
    buy_lots: float,
    sell_lots: float,
    dampener: Vector | None = None,
) -> float:
    """`worst_loss` as if position_lots of `row` had been added to v and the orders to o; changes nothing."""

def accounts_worst_loss(
    rows: ArrayLike, start: ArrayLike, row_index: ArrayLike, lots: ArrayLike, dampener: Vector | None = None
) -> Vector:
    """Worst loss [A] of every account; account a holds positions start[a]:start[a + 1]."""
