"""Scenario vectors of portfolios from risk rows, on numpy arrays of integer-valued float64.

Sums are exact while every intermediate stays below 2**53, so they are equal in any order.
"""

import numpy as np

from libc.stdint cimport int32_t, int64_t, uint16_t

from margin_ext cimport kernels


def sum_rows(rows, row_index, lots):
    """Scenario vector [S]: sum of lots[i] * rows[row_index[i]]; rows [R, S], S a multiple of 8 up to 64."""
    cdef const double[:, ::1] table = _rows(rows)
    cdef const int32_t[::1] index = _index(row_index, table.shape[0])
    cdef const double[::1] amount = _lots(lots, index.shape[0])
    total = np.zeros(table.shape[1])
    cdef double[::1] v = total
    if index.shape[0]:
        kernels.rows_sum(&v[0], &table[0, 0], &index[0], &amount[0], index.shape[0], <int>table.shape[1])
    return total


def add_row(double[::1] v, const double[::1] row, double lots) -> float:
    """v += lots * row in place; returns the least entry of v."""
    return kernels.row_axpy_min(&v[0], &row[0], lots, _same_count(v, row))


def add_open_orders(double[::1] o, const double[::1] row, double buy_lots, double sell_lots):
    """o += buy_lots * min(0, row) + sell_lots * min(0, -row) in place: the worst fills of each column."""
    kernels.open_axpy(&o[0], &row[0], buy_lots, sell_lots, _same_count(o, row))


def worst_loss(const double[::1] v, o=None, dampener=None) -> float:
    """max(0, max_j(loss_j - min(max(loss_j, 0), dampener_j))) with loss = -(v + o); dampener >= 0."""
    cdef const double[::1] open_orders = v if o is None else o
    cdef const double[::1] damped = v if dampener is None else dampener
    cdef int count = _same_count(v, open_orders)
    _same_count(v, damped)
    return kernels.worst_loss(&v[0], _start(open_orders, o is None), _start(damped, dampener is None), count)


def worst_loss_with(const double[::1] v, o, const double[::1] row, double position_lots, double buy_lots,
                    double sell_lots, dampener=None) -> float:
    """`worst_loss` as if position_lots of `row` had been added to v and the orders to o; changes nothing."""
    cdef const double[::1] open_orders = v if o is None else o
    cdef const double[::1] damped = v if dampener is None else dampener
    cdef int count = _same_count(v, row)
    _same_count(v, open_orders)
    _same_count(v, damped)
    return kernels.worst_loss_with(&v[0], _start(open_orders, o is None), &row[0], position_lots, buy_lots,
                                   sell_lots,
                                   _start(damped, dampener is None), count)


def accounts_worst_loss(rows, start, row_index, lots, dampener=None):
    """Worst loss [A] of every account; account a holds positions start[a]:start[a + 1].

    At most 65,536 rows; lots are whole numbers of 32 bits.
    """
    cdef const double[:, ::1] table = _rows(rows)
    cdef const int64_t[::1] first = np.ascontiguousarray(start, dtype=np.int64)
    if table.shape[0] > 65536:
        raise ValueError("at most 65,536 rows")
    cdef const uint16_t[::1] index = _index(row_index, table.shape[0]).astype(np.uint16)
    cdef const int32_t[::1] amount = _whole_lots(lots, index.shape[0])
    cdef int count = <int>table.shape[1]
    cdef const double[::1] damped = np.zeros(count) if dampener is None else dampener
    cdef int64_t accounts = first.shape[0] - 1
    if accounts < 0 or first[0] < 0 or first[accounts] > index.shape[0] or np.any(np.diff(start) < 0):
        raise ValueError("start must rise from 0 to at most the number of positions")
    if damped.shape[0] != count:
        raise ValueError(f"dampener must have {count} entries")
    losses = np.zeros(accounts)
    cdef double[::1] out = losses
    if accounts and index.shape[0]:
        with nogil:
            kernels.accounts_worst_loss(accounts, &first[0], &index[0], &amount[0], &table[0, 0],
                                        &damped[0], count,
                                        &out[0])
    return losses


cdef int _same_count(const double[::1] a, const double[::1] b) except -1:
    if a.shape[0] != b.shape[0] or not _is_count(a.shape[0]):
        raise ValueError("scenario vectors must have one length, a multiple of 8 up to 64")
    return <int>a.shape[0]


cdef const double* _start(const double[::1] vector, bint absent) noexcept:
    if absent:
        return NULL
    return &vector[0]


cdef bint _is_count(Py_ssize_t count) noexcept:
    return 0 < count <= kernels.MARGRAVE_MAX_SCENARIOS and count % 8 == 0


def _rows(rows):
    table = np.ascontiguousarray(rows, dtype=np.float64)
    if table.ndim != 2 or not table.shape[0] or not _is_count(table.shape[1]):
        raise ValueError("rows must have shape (R, S), S a multiple of 8 up to 64")
    return table


def _index(row_index, row_count):
    index = np.ascontiguousarray(row_index, dtype=np.int32)
    if len(index) and not (0 <= index.min() and index.max() < row_count):
        raise ValueError("row index out of range")
    return index


def _whole_lots(lots, count):
    amount = _lots(lots, count)
    whole = amount.astype(np.int32)
    if (whole != amount).any():
        raise ValueError("lots must be whole numbers of 32 bits")
    return whole


def _lots(lots, count):
    amount = np.ascontiguousarray(lots, dtype=np.float64)
    if amount.shape != (count,):
        raise ValueError(f"lots must have {count} entries")
    return amount
