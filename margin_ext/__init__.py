"""Numeric kernels of the margin engine: option prices, risk rows and scenario sums. Stands alone.

`margin_ext.models` margins whole portfolios with them: parameter sets, four models, Greeks.

Every number is the same, bit for bit, on each instruction set and machine: no libm, no fused multiply-add.
"""

from margin_ext.kernels import instruction_set
from margin_ext.portfolio import (
    accounts_worst_loss,
    add_open_orders,
    add_row,
    sum_rows,
    worst_loss,
    worst_loss_with,
)
from margin_ext.pricer import Greeks, greeks, price
from margin_ext.risk_array import FutureRow, RiskRows, allocate_rows, reprice, reprice_future

from margin_ext import models  # isort: skip  (needs the names above)

__all__ = [
    "FutureRow",
    "Greeks",
    "RiskRows",
    "accounts_worst_loss",
    "add_open_orders",
    "add_row",
    "allocate_rows",
    "greeks",
    "instruction_set",
    "models",
    "price",
    "reprice",
    "reprice_future",
    "sum_rows",
    "worst_loss",
    "worst_loss_with",
]
