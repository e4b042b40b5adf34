"""Implied volatility of an option price on its forward (Black 1976, no discounting), for display only."""

from math import erfc, log, sqrt

_SQRT2 = sqrt(2.0)
MAX_VOL = 20.0


def _cdf(x: float) -> float:
    return 0.5 * erfc(-x / _SQRT2)


def forward_price(forward: float, strike: float, vol: float, years: float, is_call: bool) -> float:
    """Undiscounted Black-76 price in the unit of `forward`."""
    deviation = vol * sqrt(years)
    if deviation <= 0.0:
        return max(0.0, forward - strike if is_call else strike - forward)
    d1 = log(forward / strike) / deviation + 0.5 * deviation
    if is_call:
        return forward * _cdf(d1) - strike * _cdf(d1 - deviation)
    return strike * _cdf(deviation - d1) - forward * _cdf(-d1)


def implied_vol(price: float, forward: float, strike: float, years: float, is_call: bool) -> float:
    """Volatility (fraction) at which Black-76 gives `price`; 0.0 where none below 2000 % does."""
    if forward <= 0.0 or strike <= 0.0 or years <= 0.0:
        return 0.0
    low, high = 0.0, MAX_VOL
    if not forward_price(forward, strike, low, years, is_call) < price:
        return 0.0
    if price >= forward_price(forward, strike, high, years, is_call):
        return 0.0
    for _ in range(40):
        middle = 0.5 * (low + high)
        if forward_price(forward, strike, middle, years, is_call) < price:
            low = middle
        else:
            high = middle
    return 0.5 * (low + high)
