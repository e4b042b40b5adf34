"""Loops that time the margin kernels where the engine calls them: compiled, on prepared arrays."""

import time

import numpy as np

from libc.stdint cimport int32_t, int64_t, uint16_t

from margin_ext.kernels cimport ChainInput, ChainOutput, accounts_worst_loss, reprice_chain, row_axpy, worst_loss


def time_accounts(const double[:, ::1] rows, const int64_t[::1] start, const uint16_t[::1] row_index,
                  const int32_t[::1] lots, int runs):
    """(worst loss [A] of every account, ns of each of `runs` passes); as portfolio.accounts_worst_loss, unchecked."""
    losses = np.zeros(start.shape[0] - 1)
    damped = np.zeros(rows.shape[1])
    cdef double[::1] out = losses
    cdef const double[::1] dampener = damped
    waits = []
    for _ in range(runs):
        started = time.perf_counter_ns()
        with nogil:
            accounts_worst_loss(start.shape[0] - 1, &start[0], &row_index[0], &lots[0], &rows[0, 0], &dampener[0],
                                <int>rows.shape[1], &out[0])
        waits.append(time.perf_counter_ns() - started)
    return losses, waits


def time_fills(double[:, ::1] vectors, const double[:, ::1] rows, const int64_t[::1] account,
               const int64_t[::1] row_index, const double[::1] lots):
    """(ns for all fills, sum of the worst losses): each adds lots of a row to an account and takes its worst loss."""
    cdef int64_t i, count = account.shape[0]
    cdef int columns = <int>vectors.shape[1]
    cdef double total = 0.0
    started = time.perf_counter_ns()
    with nogil:
        for i in range(count):
            row_axpy(&vectors[account[i], 0], &rows[row_index[i], 0], lots[i], columns)
            total += worst_loss(&vectors[account[i], 0], NULL, NULL, columns)
    return time.perf_counter_ns() - started, total


def time_reprice(const double[::1] strike, const int32_t[::1] expiry, const double[::1] vol,
                 const double[::1] forward, const double[::1] years, const double[::1] spot_multiplier,
                 const double[:, ::1] vol_multiplier, double index_price, double[:, ::1] rows_usd, int runs):
    """ns of each of `runs` repricings of a linear chain into rows_usd [2 P, S], one coin a lot, every row listed.

    The call that the engine makes on a mark: prepared arrays, the kernel's own checks, no Python in between.
    """
    cdef int32_t pairs = <int32_t>strike.shape[0]
    cdef const int32_t[::1] calls = np.arange(0, 2 * pairs, 2, dtype=np.int32)
    cdef const int32_t[::1] puts = np.arange(1, 2 * pairs, 2, dtype=np.int32)
    cdef double[:, ::1] told = np.zeros((3, 2 * pairs))
    cdef ChainInput chain
    cdef ChainOutput result
    cdef int32_t fault = 0
    chain.pair_count, chain.expiry_count = pairs, <int32_t>forward.shape[0]
    chain.scenario_count, chain.inverse = <int32_t>spot_multiplier.shape[0], 0
    chain.index_price, chain.lot_coin = index_price, 1.0
    chain.expiry_of_pair, chain.strike, chain.vol = &expiry[0], &strike[0], &vol[0]
    chain.forward, chain.years = &forward[0], &years[0]
    chain.spot_multiplier, chain.vol_multiplier = &spot_multiplier[0], &vol_multiplier[0, 0]
    chain.vol_floor, chain.weight, chain.coin_factor = NULL, NULL, NULL
    chain.call_row, chain.put_row = &calls[0], &puts[0]
    result.rows_usd, result.rows_coin = &rows_usd[0, 0], NULL
    result.mark, result.delta, result.row_max = &told[0, 0], &told[1, 0], &told[2, 0]
    waits = []
    for _ in range(runs):
        started = time.perf_counter_ns()
        with nogil:
            fault = reprice_chain(&chain, &result)
        waits.append(time.perf_counter_ns() - started)
        if fault:
            raise ValueError(f"the kernel refuses the chain: fault {fault}")
    return waits
