"""Black-76 prices and Greeks of arrays: undiscounted, zero rate, the same bits on every machine."""

from typing import NamedTuple

import numpy as np

from libc.stdint cimport int64_t

from margin_ext.kernels cimport black76_arrays


class Greeks(NamedTuple):
    """Price and sensitivities of an option on a forward; see `greeks`."""

    price: object
    delta: object
    gamma: object
    vega: object
    theta: object
    rho: object


def price(forward, strike, vol, years, is_call=True):
    """Undiscounted Black-76 price in the currency of `forward` (Black 1976).

    Arguments broadcast. `vol` is a fraction per square-root year, `years` ACT/365; all finite and >= 0.
    Absolute error below 1e-13 * max(forward, strike); at zero vol or time the intrinsic value.
    Raises ValueError on a negative or non-finite argument.
    """
    return _evaluate(forward, strike, vol, years, is_call, 1)[0]


def greeks(forward, strike, vol, years, is_call=True) -> Greeks:
    """Black-76 price, delta, gamma, vega, theta and rho; arguments as for `price`.

    delta and gamma are taken in the forward; vega per 1.00 of vol; theta per year; rho per 1.00 of
    rate at rate zero, the spot held, so that the rate moves the forward: K T N(d2), put -K T N(-d2).
    Limits: gamma is 0 at zero vol or time, theta is 0 at zero time, delta at the money is then 1/2.
    """
    return Greeks(*_evaluate(forward, strike, vol, years, is_call, 6))


def _evaluate(forward, strike, vol, years, is_call, int out_count):
    names = ("forward", "strike", "vol", "years")
    arrays = [np.asarray(x, dtype=np.float64) for x in (forward, strike, vol, years)]
    for name, array in zip(names, arrays):
        if not np.all((array >= 0.0) & (array < np.inf)):
            raise ValueError(f"{name} must be finite and not negative")
    broadcast = np.broadcast_arrays(*arrays, np.asarray(is_call, dtype=bool))
    shape = broadcast[0].shape
    cdef const double[::1] f = np.ascontiguousarray(broadcast[0]).reshape(-1)
    cdef const double[::1] k = np.ascontiguousarray(broadcast[1]).reshape(-1)
    cdef const double[::1] s = np.ascontiguousarray(broadcast[2]).reshape(-1)
    cdef const double[::1] t = np.ascontiguousarray(broadcast[3]).reshape(-1)
    cdef const double[::1] c = np.ascontiguousarray(broadcast[4], dtype=np.float64).reshape(-1)
    cdef int64_t n = f.shape[0]
    results = np.empty((out_count, n))
    cdef double[:, ::1] out = results
    cdef double* pointers[6]
    cdef int which
    if n:
        for which in range(out_count):
            pointers[which] = &out[which, 0]
        with nogil:
            black76_arrays(n, &f[0], &k[0], &s[0], &t[0], &c[0], pointers, out_count)
    return [column.reshape(shape) if shape else float(column[0]) for column in results]
