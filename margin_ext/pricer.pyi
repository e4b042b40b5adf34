from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

Values = NDArray[np.float64] | float

class Greeks(NamedTuple):
    """Price and sensitivities of an option on a forward; see `greeks`."""

    price: Values
    delta: Values
    gamma: Values
    vega: Values
    theta: Values
    rho: Values

def price(forward: ArrayLike, strike: ArrayLike, vol: ArrayLike, years: ArrayLike, is_call: ArrayLike = True) -> Values:
    """Undiscounted Black-76 price in the currency of `forward`; arguments broadcast, scalars give a float."""

def greeks(
    forward: ArrayLike, strike: ArrayLike, vol: ArrayLike, years: ArrayLike, is_call: ArrayLike = True
) -> Greeks:
    """Black-76 price, delta, gamma, vega, theta and rho; arguments as for `price`."""
