"""Loops that time the margin kernels where the engine calls them: compiled, on prepared arrays."""

import time

import numpy as np

from libc.stdint cimport int32_t, int64_t, uint16_t

from margin_ext.kernels cimport accounts_worst_loss, row_axpy, worst_loss


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
