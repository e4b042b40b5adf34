"""Risk rows: option chains and futures repriced over a scenario grid, in integers, from numpy arrays."""

from typing import NamedTuple

import numpy as np

from libc.stdint cimport int32_t

from margin_ext.kernels cimport (
    KERNEL_BAD_COUNT,
    KERNEL_BAD_EXPIRY,
    KERNEL_BAD_FORWARD,
    KERNEL_BAD_STRIKE,
    KERNEL_BAD_VOL,
    KERNEL_BAD_WEIGHT,
    KERNEL_BAD_YEARS,
    MARGRAVE_MAX_SCENARIOS,
    ChainInput,
    ChainOutput,
    FutureInput,
    FutureOutput,
    future_row,
    reprice_chain,
)

COIN_UNIT = 1e-10  # coin rows
USD_UNIT = 1e-4  # USD rows
EXACT_LIMIT = 2.0**51  # rows are exact integers while row_max stays below

_FAULTS = {
    KERNEL_BAD_COUNT: "scenario count must be a multiple of 8, at most 64, and the clamp mode 0 or 1",
    KERNEL_BAD_EXPIRY: "expiry index out of range",
    KERNEL_BAD_STRIKE: "strike must be finite and positive",
    KERNEL_BAD_VOL: "vol, vol multiplier and vol floor must be finite and not negative",
    KERNEL_BAD_FORWARD: "forward, spot multiplier, index price and lot must be finite and positive",
    KERNEL_BAD_YEARS: "years must be finite and not negative",
    KERNEL_BAD_WEIGHT: "weight and coin factor must be finite and not negative, a move clamp in [0, 1)",
}


class RiskRows(NamedTuple):
    """Rows of a chain by destination row; see `reprice`."""

    rows_coin: object
    rows_usd: object
    mark: object
    delta: object
    row_max: object


class FutureRow(NamedTuple):
    """Row of one future; see `reprice_future`."""

    row_coin: object
    row_usd: object
    delta_coin: float
    row_max: float


def aligned_zeros(rows, scenario_count):
    """float64 zeros of shape (rows, scenario_count), aligned to 64 bytes."""
    size = rows * scenario_count
    raw = np.zeros(size + 8)
    start = (-raw.ctypes.data % 64) // 8
    return raw[start:start + size].reshape(rows, scenario_count)


def allocate_rows(row_count, scenario_count, inverse) -> RiskRows:
    """Empty `RiskRows` to pass to `reprice` as `out`, for repeated use."""
    coin = aligned_zeros(row_count, scenario_count) if inverse else None
    usd = aligned_zeros(row_count, scenario_count)
    return RiskRows(coin, usd, np.zeros(row_count), np.zeros(row_count), np.zeros(row_count))


def reprice(strike, expiry, vol, forward, years, spot_multiplier, vol_multiplier, *, index_price, lot_coin,
            inverse, vol_floor=None, weight=None, coin_factor=None, call_row=None, put_row=None,
            out=None) -> RiskRows:
    """Reprice one chain of P (strike, expiry) pairs over S scenario columns (Black-76, undiscounted).

    strike, vol [P] (USD, fraction); expiry [P] indexes forward, years [E] (USD, ACT/365); spot_multiplier [S]
    is 1 + move and shocks every forward; vol_multiplier [E, S]; shocked vol = max(vol_floor[S], vol *
    multiplier); weight [S] scales a column's P&L, coin_factor [S] that of coin rows once more.
    index_price in USD per coin, lot_coin in coins per lot. S is a multiple of 8, at most 64. call_row,
    put_row [P]: destination rows, -1 where unlisted; by default 2 i and 2 i + 1.

    Returns rows [R, S] of P&L per +1 lot as integer-valued float64: rows_coin in 1e-10 coin (inverse chains,
    value price / forward; None for linear), rows_usd in 1e-4 USD; mark [R] (price / forward inverse,
    price linear); delta [R] (forward delta of the USD price); row_max [R] (largest |entry|; OverflowError
    from 2**51 on). Call and forward rows are rounded to nearest, and a put row is call row minus forward
    row, so parity holds to the unit.
    """
    pair_count, expiry_count, scenario_count = len(strike), len(forward), len(spot_multiplier)
    calls, puts, row_count = _destinations(pair_count, call_row, put_row)
    if out is None:
        out = allocate_rows(row_count, scenario_count, inverse)
    _check_rows(out, row_count, scenario_count, inverse)
    cdef const double[::1] k = _vector(strike, pair_count, "strike")
    cdef const double[::1] s = _vector(vol, pair_count, "vol")
    cdef const double[::1] f = _vector(forward, expiry_count, "forward")
    cdef const double[::1] t = _vector(years, expiry_count, "years")
    cdef const double[::1] m = _vector(spot_multiplier, scenario_count, "spot_multiplier")
    multipliers = np.asarray(vol_multiplier)
    if multipliers.shape != (expiry_count, scenario_count):
        raise ValueError(f"vol_multiplier must have shape ({expiry_count}, {scenario_count})")
    cdef const double[::1] u = _vector(multipliers.reshape(-1), multipliers.size, "vol_multiplier")
    cdef const double[::1] g = _vector(0.0 if vol_floor is None else vol_floor, scenario_count, "vol_floor")
    cdef const double[::1] w = _vector(1.0 if weight is None else weight, scenario_count, "weight")
    factor = 1.0 if coin_factor is None else coin_factor
    cdef const double[::1] x = _vector(factor, scenario_count, "coin_factor")
    cdef const int32_t[::1] e = np.ascontiguousarray(expiry, dtype=np.int32)
    cdef const int32_t[::1] c = calls
    cdef const int32_t[::1] p = puts
    if e.shape[0] != pair_count:
        raise ValueError(f"expiry must have {pair_count} entries")
    cdef double[:, ::1] usd = out.rows_usd
    cdef double[:, ::1] coin = out.rows_coin if inverse else out.rows_usd
    cdef double[::1] mark = out.mark
    cdef double[::1] delta = out.delta
    cdef double[::1] row_max = out.row_max
    cdef ChainInput chain
    cdef ChainOutput result
    cdef int32_t fault
    if not (pair_count and expiry_count and scenario_count and row_count):
        raise ValueError("an empty chain")
    chain.pair_count, chain.expiry_count = pair_count, expiry_count
    chain.scenario_count, chain.inverse = scenario_count, bool(inverse)
    chain.index_price, chain.lot_coin = index_price, lot_coin
    chain.expiry_of_pair, chain.strike, chain.vol = &e[0], &k[0], &s[0]
    chain.forward, chain.years = &f[0], &t[0]
    chain.spot_multiplier, chain.vol_multiplier = &m[0], &u[0]
    chain.vol_floor, chain.weight = &g[0], &w[0]
    chain.coin_factor = &x[0]
    chain.call_row, chain.put_row = &c[0], &p[0]
    result.rows_usd, result.rows_coin = &usd[0, 0], &coin[0, 0]
    result.mark, result.delta, result.row_max = &mark[0], &delta[0], &row_max[0]
    with nogil:
        fault = reprice_chain(&chain, &result)
    _raise_fault(fault, np.max(out.row_max) if not fault else 0.0)
    return out


def reprice_future(forward, spot_multiplier, *, index_price, inverse, lot_usd=0.0, lot_coin=0.0, weight=None,
                   coin_factor=None, future_move_clamp=None) -> FutureRow:
    """Risk row of one future or perpetual over S columns, per +1 lot, in the units of `reprice`.

    Inverse: coin P&L lot_usd (1/F - 1/(F (1 + m))), valued in USD at index_price (1 + m). Linear: lot_coin F
    m USD. future_move_clamp [S] bounds |m| of a column in the contract's P&L, gains and losses alike (0:
    not bounded).
    delta_coin: lot_usd / F (inverse) or lot_coin.
    """
    scenario_count = len(spot_multiplier)
    cdef const double[::1] m = _vector(spot_multiplier, scenario_count, "spot_multiplier")
    cdef const double[::1] w = _vector(1.0 if weight is None else weight, scenario_count, "weight")
    factor = 1.0 if coin_factor is None else coin_factor
    cdef const double[::1] x = _vector(factor, scenario_count, "coin_factor")
    clamp = 0.0 if future_move_clamp is None else future_move_clamp
    cdef const double[::1] limit = _vector(clamp, scenario_count, "future_move_clamp")
    if not 0 < scenario_count <= MARGRAVE_MAX_SCENARIOS:
        raise ValueError(_FAULTS[KERNEL_BAD_COUNT])
    rows = aligned_zeros(2, scenario_count)
    cdef double[:, ::1] written = rows
    cdef FutureInput future
    cdef FutureOutput result
    future.scenario_count, future.inverse, future.clamp_mode = scenario_count, bool(inverse), 1
    future.forward, future.index_price = forward, index_price
    future.lot_usd, future.lot_coin = lot_usd, lot_coin
    future.spot_multiplier, future.weight, future.future_move_clamp = &m[0], &w[0], &limit[0]
    future.coin_factor = &x[0]
    result.row_coin, result.row_usd = &written[0, 0], &written[1, 0]
    fault = future_row(&future, &result)
    _raise_fault(fault, result.row_max if not fault else 0.0)
    return FutureRow(rows[0] if inverse else None, rows[1], result.delta_coin, result.row_max)


def _vector(values, count, name):
    array = np.asarray(values, dtype=np.float64)
    if array.ndim == 0:
        array = np.full(count, float(array))
    if array.shape != (count,):
        raise ValueError(f"{name} must have {count} entries, not shape {array.shape}")
    return np.ascontiguousarray(array)


def _destinations(pair_count, call_row, put_row):
    if call_row is None and put_row is None:
        rows = np.arange(2 * pair_count, dtype=np.int32)
        return rows[::2].copy(), rows[1::2].copy(), 2 * pair_count
    calls = np.arange(pair_count) * 2 if call_row is None else np.asarray(call_row)
    puts = np.arange(pair_count) * 2 + 1 if put_row is None else np.asarray(put_row)
    if calls.shape != (pair_count,) or puts.shape != (pair_count,):
        raise ValueError(f"call_row and put_row must have {pair_count} entries")
    listed = np.concatenate([calls[calls >= 0], puts[puts >= 0]])
    if len(listed) and np.bincount(listed).max() > 1:
        raise ValueError("two options share one destination row")
    row_count = int(listed.max()) + 1 if len(listed) else 0
    return calls.astype(np.int32), puts.astype(np.int32), row_count


def _check_rows(out, row_count, scenario_count, inverse):
    for rows in (out.rows_usd, out.rows_coin) if inverse else (out.rows_usd,):
        if rows is None or rows.shape[0] < row_count or rows.shape[1] != scenario_count:
            raise ValueError(f"out must hold {row_count} rows of {scenario_count} columns")
    for values in (out.mark, out.delta, out.row_max):
        if values.shape[0] < row_count:
            raise ValueError(f"out must hold {row_count} rows")


def _raise_fault(fault, largest):
    if fault:
        raise ValueError(_FAULTS[fault])
    if not largest < EXACT_LIMIT:
        raise OverflowError("a risk row passes 2**51 units: choose a smaller lot")
