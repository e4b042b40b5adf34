"""What others need to price the chain of `margin.reprice`: numpy with scipy, QuantLib, fast-vollib.

Each prices calls and puts of every pair in every column, [P, S] each; the bench compares them with our rows.
"""

import importlib
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from loadtest.report import progress

Array = NDArray[np.float64]
Pricer = Callable[[], tuple[Array, Array]]


def imported(module: str, name: str) -> Any:
    """A function of an optional package, None where it is not installed."""
    try:
        return getattr(importlib.import_module(module), name)
    except ImportError:
        progress(f"margin: {module} is not installed (extra `bench`), no such peer")
        return None


def pricers(forward: Array, strike: Array, deviation: Array) -> dict[str, Pricer]:
    """Pricers of those that are installed: forward, strike in USD, deviation = vol sqrt(T), each [P, S]."""
    found: dict[str, Pricer] = {}
    ndtr = imported("scipy.special", "ndtr")
    if ndtr is not None:

        def numpy_scipy() -> tuple[Array, Array]:
            d1 = np.log(forward / strike) / deviation + 0.5 * deviation
            call = forward * ndtr(d1) - strike * ndtr(d1 - deviation)
            return call, call - forward + strike

        found["numpy + scipy ndtr"] = numpy_scipy
    fast_black = imported("fast_vollib", "fast_black")
    if fast_black is not None:
        flat = [np.ascontiguousarray(one).ravel() for one in (forward, strike, deviation)]
        once = np.ones_like(flat[0])

        def fast_vollib() -> tuple[Array, Array]:
            priced = [
                fast_black(flag, flat[0], flat[1], once, 0.0, flat[2], return_as="numpy", backend="numpy")
                for flag in "cp"
            ]
            call, put = (np.asarray(one, dtype=np.float64).reshape(forward.shape) for one in priced)
            return call, put

        found["fast-vollib (numpy)"] = fast_vollib
    quantlib = imported("QuantLib", "blackFormula")
    if quantlib is not None:
        option = importlib.import_module("QuantLib").Option
        terms = list(zip(*(one.ravel().tolist() for one in (strike, forward, deviation)), strict=True))

        def quantlib_loop() -> tuple[Array, Array]:
            call, put = (
                np.array([quantlib(side, k, f, w) for k, f, w in terms]).reshape(forward.shape)
                for side in (option.Call, option.Put)
            )
            return call, put

        found["QuantLib blackFormula"] = quantlib_loop
    return found
