"""Scenario sums, open-order vectors and worst losses against numpy, in exact integers."""

import numpy as np
import pytest

import margin_ext

COUNTS = (8, 16, 24, 32, 40, 48, 56, 64)


def random_rows(rng, rows, count):
    return rng.integers(-(10**9), 10**9, (rows, count)).astype(np.float64)


def numpy_worst_loss(v, o, dampener):
    """The rule as written: each column's loss, less at most its dampener, never below zero overall."""
    loss = -(v + o)
    return max(0.0, float(np.max(loss - np.minimum(np.maximum(loss, 0.0), dampener))))


@pytest.mark.parametrize("count", COUNTS)
@pytest.mark.parametrize("positions", [0, 1, 3, 20])
def test_sum_of_rows_is_exact(count, positions):
    rng = np.random.default_rng(count * 31 + positions)
    rows = random_rows(rng, 50, count)
    index = rng.integers(0, 50, positions)
    lots = rng.integers(-1000, 1000, positions).astype(np.float64)
    exact = (rows[index].astype(np.int64) * lots.astype(np.int64)[:, None]).sum(axis=0)
    np.testing.assert_array_equal(margin_ext.sum_rows(rows, index, lots).astype(np.int64), exact)


@pytest.mark.parametrize("count", COUNTS)
def test_incremental_fills_equal_the_whole_sum_in_any_order(count):
    rng = np.random.default_rng(count)
    rows = random_rows(rng, 30, count)
    index = rng.integers(0, 30, 200)
    lots = rng.integers(-500, 500, 200).astype(np.float64)
    vector = np.zeros(count)
    for i in rng.permutation(200):
        least = margin_ext.add_row(vector, rows[index[i]], lots[i])
        assert least == vector.min()
    np.testing.assert_array_equal(vector, margin_ext.sum_rows(rows, index, lots))


@pytest.mark.parametrize("count", COUNTS)
def test_open_orders_add_the_worst_subset_of_fills(count):
    rng = np.random.default_rng(count + 7)
    row = random_rows(rng, 1, count)[0]
    vector = -np.abs(random_rows(rng, 1, count)[0])
    expected = vector + 17 * np.minimum(0, row) + 5 * np.minimum(0, -row)
    margin_ext.add_open_orders(vector, row, 17, 5)
    np.testing.assert_array_equal(vector, expected)


@pytest.mark.parametrize("count", COUNTS)
def test_worst_loss_follows_the_rule(count):
    rng = np.random.default_rng(count + 13)
    for trial in range(40):
        shift = rng.integers(-(10**9), 10**9) * (trial % 3)
        v = random_rows(rng, 1, count)[0] + shift
        o = -np.abs(random_rows(rng, 1, count)[0]) * (trial % 2)
        dampener = np.abs(random_rows(rng, 1, count)[0]) * rng.integers(0, 2, count)
        zero = np.zeros(count)
        assert margin_ext.worst_loss(v) == numpy_worst_loss(v, zero, zero)
        assert margin_ext.worst_loss(v, o) == numpy_worst_loss(v, o, zero)
        assert margin_ext.worst_loss(v, None, dampener) == numpy_worst_loss(v, zero, dampener)
        assert margin_ext.worst_loss(v, o, dampener) == numpy_worst_loss(v, o, dampener)


def test_a_portfolio_that_gains_everywhere_loses_nothing():
    gains = np.full(16, 5.0)
    loss = margin_ext.worst_loss(gains)
    assert loss == 0.0 and not np.signbit(loss)


@pytest.mark.parametrize("count", COUNTS)
def test_what_if_equals_applying_and_writes_nothing(count):
    rng = np.random.default_rng(count + 29)
    for _ in range(20):
        v, row = random_rows(rng, 2, count)
        o = -np.abs(random_rows(rng, 1, count)[0])
        dampener = np.abs(random_rows(rng, 1, count)[0])
        position, buy, sell = (float(x) for x in rng.integers(-50, 50, 3))
        buy, sell = abs(buy), abs(sell)
        kept = v.copy(), o.copy(), row.copy()
        answers = [
            margin_ext.worst_loss_with(v, o, row, position, buy, sell, dampener),
            margin_ext.worst_loss_with(v, None, row, position, buy, sell),
        ]
        for before, after in zip(kept, (v, o, row), strict=True):
            np.testing.assert_array_equal(before, after)
        opened, alone = o.copy(), np.zeros(count)
        margin_ext.add_row(v, row, position)
        margin_ext.add_open_orders(opened, row, buy, sell)
        margin_ext.add_open_orders(alone, row, buy, sell)
        assert answers == [margin_ext.worst_loss(v, opened, dampener), margin_ext.worst_loss(v, alone)]


def test_accounts_in_bulk_equal_each_alone():
    rng = np.random.default_rng(99)
    rows = random_rows(rng, 100, 40)
    sizes = rng.integers(0, 25, 300)
    start = np.concatenate([[0], np.cumsum(sizes)])
    index = rng.integers(0, 100, start[-1])
    lots = rng.integers(-100, 100, start[-1]).astype(np.float64)
    dampener = rng.integers(0, 10**9, 40).astype(np.float64)
    for damped in (None, dampener):
        losses = margin_ext.accounts_worst_loss(rows, start, index, lots, damped)
        for account in range(300):
            mine = slice(start[account], start[account + 1])
            vector = margin_ext.sum_rows(rows, index[mine], lots[mine])
            assert losses[account] == margin_ext.worst_loss(vector, None, damped)


def test_unaligned_vectors_are_accepted():
    rng = np.random.default_rng(1)
    raw = rng.integers(-100, 100, 41).astype(np.float64)
    vector = raw[1:]
    assert margin_ext.worst_loss(vector) == max(0.0, -vector.min())


def test_wrong_shapes_are_refused():
    with pytest.raises(ValueError, match="one length"):
        margin_ext.worst_loss(np.zeros(12))
    with pytest.raises(ValueError, match="one length"):
        margin_ext.worst_loss(np.zeros(16), np.zeros(8))
    with pytest.raises(ValueError, match="out of range"):
        margin_ext.sum_rows(np.zeros((3, 8)), [3], [1.0])
    with pytest.raises(ValueError, match="start must rise"):
        margin_ext.accounts_worst_loss(np.zeros((3, 8)), [0, 2], [1], [1.0])
    with pytest.raises(ValueError, match="whole numbers"):
        margin_ext.accounts_worst_loss(np.zeros((3, 8)), [0, 1], [1], [0.5])
