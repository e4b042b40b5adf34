"""Implied volatility of an option price on its forward (Black 1976, no discounting), for display only."""

from math import erfc, exp, log, pi, sqrt

_SQRT2 = sqrt(2.0)
_DENSITY = 1.0 / sqrt(2.0 * pi)
MAX_VOL = 20.0
MAX_STEPS = 60
TOLERANCE = 1e-7


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


def implied_vol(price: float, forward: float, strike: float, years: float, is_call: bool, guess: float = 0.6) -> float:
    """Volatility (fraction) at which Black-76 gives `price`; 0.0 where none below 2000 % does.

    Newton steps from `guess`, kept inside a bracket that every step shrinks.
    """
    if forward <= 0.0 or strike <= 0.0 or years <= 0.0:
        return 0.0
    low, high = 0.0, MAX_VOL
    if not forward_price(forward, strike, low, years, is_call) < price:
        return 0.0
    if price >= forward_price(forward, strike, high, years, is_call):
        return 0.0
    root, moneyness, vol = sqrt(years), log(forward / strike), guess
    for _ in range(MAX_STEPS):
        if not low < vol < high:
            vol = 0.5 * (low + high)
        error = forward_price(forward, strike, vol, years, is_call) - price
        if error < 0.0:
            low = vol
        else:
            high = vol
        d1 = moneyness / (vol * root) + 0.5 * vol * root
        vega = forward * root * _DENSITY * exp(-0.5 * d1 * d1)
        step = error / vega if vega > 0.0 else MAX_VOL
        if abs(step) < TOLERANCE or high - low < TOLERANCE:
            break
        vol -= step
    return vol
