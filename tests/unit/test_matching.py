"""Price-time matching by itself: the traps of order books, one by one."""

import numpy as np
import pytest

from exchange.market.matching import CANCEL, IMMEDIATE_OR_CANCEL, LIMIT, MARKET, MESSAGE, TRADE, Matcher

BUY, SELL = 0, 1
HIGHEST = 4_000_000


@pytest.fixture
def matcher() -> Matcher:
    return Matcher(1, HIGHEST, 10_000)


def trades(matcher: Matcher) -> list[tuple[int, int, int, int]]:
    """(taker, maker, price, lots) of the trades since the last look."""
    return [(int(t), int(m), int(p), int(q)) for t, m, p, q, _, _ in matcher.take_trades().tolist()]


def test_trades_are_at_the_makers_price_and_best_prices_go_first(matcher: Matcher) -> None:
    for order_id, price in enumerate((105, 103, 104), 1):
        matcher.submit(LIMIT, SELL, 0, price, 10, order_id)
    assert matcher.submit(LIMIT, BUY, 0, 110, 25, 4) == 3
    assert trades(matcher) == [(4, 2, 103, 10), (4, 3, 104, 10), (4, 1, 105, 5)]
    assert matcher.depth(0, 5) == ([], [(105, 5)])


def test_first_in_time_goes_first_also_after_a_partial_fill(matcher: Matcher) -> None:
    for order_id in (1, 2, 3):
        matcher.submit(LIMIT, BUY, 0, 100, 10, order_id)
    assert matcher.submit(LIMIT, SELL, 0, 100, 4, 4) == 1
    matcher.submit(LIMIT, BUY, 0, 100, 10, 5)
    assert matcher.queue(0, BUY) == [1, 2, 3, 5], "the filled part costs the rest no priority"
    matcher.submit(MARKET, SELL, 0, 0, 18, 6)
    assert trades(matcher) == [(4, 1, 100, 4), (6, 1, 100, 6), (6, 2, 100, 10), (6, 3, 100, 2)]
    assert matcher.queue(0, BUY) == [3, 5] and matcher.remaining(3) == 8
    assert matcher.check() == []


@pytest.mark.parametrize("side", [BUY, SELL])
@pytest.mark.parametrize("gap", [1, 2, 63, 64, 65, 4_095, 4_096, 4_097, 262_143, 262_144, 262_145, 1_899_000])
def test_the_next_best_price_after_the_best_is_cancelled_in_a_sparse_book(side: int, gap: int) -> None:
    """Levels a page, a word of pages and a group of words apart; the best goes by cancel, then by trade."""
    for best in (2_000_000, 2_097_152, 2_097_151):
        matcher = Matcher(1, HIGHEST, 10)
        worse = best - gap if side == BUY else best + gap
        worst = worse - 700 if side == BUY else worse + 700
        for order_id, price in enumerate((worst, best, worse), 1):
            matcher.submit(LIMIT, side, 0, price, 5, order_id)
        assert matcher.best(0, side) == best
        matcher.submit(CANCEL, 0, 0, 0, 0, 2)
        assert matcher.best(0, side) == worse
        matcher.submit(MARKET, 1 - side, 0, 0, 5, 4)
        assert matcher.best(0, side) == worst
        matcher.submit(CANCEL, 0, 0, 0, 0, 1)
        assert matcher.best(0, side) == -1
        assert matcher.check() == []


def test_ids_of_ended_orders_are_unknown(matcher: Matcher) -> None:
    matcher.submit(LIMIT, BUY, 0, 100, 10, 1)
    matcher.submit(LIMIT, BUY, 0, 99, 10, 2)
    matcher.submit(LIMIT, SELL, 0, 100, 10, 3)
    matcher.submit(CANCEL, 0, 0, 0, 0, 2)
    for ended in (1, 2, 3):
        assert matcher.submit(CANCEL, 0, 0, 0, 0, ended) == -1
        assert matcher.remaining(ended) == 0
    assert (matcher.orders.live, matcher.refused, matcher.trades) == (0, 3, 1)


def test_a_partly_filled_order_is_cancelled_once_and_leaves_nothing(matcher: Matcher) -> None:
    for order_id in (1, 2):
        matcher.submit(LIMIT, SELL, 0, 100, 10, order_id)
    matcher.submit(LIMIT, BUY, 0, 100, 13, 3)
    assert matcher.submit(CANCEL, 0, 0, 0, 0, 2) == 0
    assert matcher.submit(CANCEL, 0, 0, 0, 0, 2) == -1
    assert matcher.depth(0, 5) == ([], []) and matcher.check() == []
    assert matcher.submit(MARKET, BUY, 0, 0, 5, 4) == 0, "nothing is left to trade with"


def test_what_does_not_rest(matcher: Matcher) -> None:
    matcher.submit(LIMIT, SELL, 0, 100, 10, 1)
    assert matcher.submit(IMMEDIATE_OR_CANCEL, BUY, 0, 99, 5, 2) == 0
    assert matcher.submit(IMMEDIATE_OR_CANCEL, BUY, 0, 100, 25, 3) == 1
    assert matcher.submit(MARKET, BUY, 0, 0, 5, 4) == 0
    assert matcher.depth(0, 5) == ([], []) and matcher.orders.live == 0


@pytest.mark.parametrize(
    "message",
    [
        (LIMIT, BUY, 0, 100, 0, 9), (LIMIT, BUY, 0, 0, 1, 9), (LIMIT, BUY, 0, HIGHEST + 1, 1, 9),
        (LIMIT, 2, 0, 100, 1, 9), (LIMIT, BUY, 1, 100, 1, 9), (LIMIT, BUY, 0, 100, 1, 1), (4, BUY, 0, 100, 1, 9),
        (MARKET, BUY, 0, 0, 0, 9), (CANCEL, 0, 0, 0, 0, 9), (CANCEL, 0, 0, 0, 0, 2**32 - 1),
    ],
)  # fmt: skip
def test_refused_messages_change_nothing(matcher: Matcher, message: tuple[int, ...]) -> None:
    matcher.submit(LIMIT, BUY, 0, 50, 1, 1)
    matcher.submit(LIMIT, SELL, 0, 100, 1, 2)
    assert matcher.submit(*message) == -1
    assert matcher.run(np.array([message], dtype=MESSAGE)) == 0
    assert matcher.refused == 2 and matcher.last_order_id == 2
    assert matcher.depth(0, 5) == ([(50, 1)], [(100, 1)])


def test_negative_numbers_are_refused(matcher: Matcher) -> None:
    for message in ((-1, 0, 0, 5, 1, 1), (LIMIT, -1, 0, 5, 1, 1), (LIMIT, 0, -1, 5, 1, 1), (LIMIT, 0, 0, -5, 1, 1),
                    (LIMIT, 0, 0, 5, -1, 1)):  # fmt: skip
        assert matcher.submit(*message) == -1
    assert matcher.orders.live == 0


def test_the_limit_of_resting_orders_holds_and_frees() -> None:
    matcher = Matcher(1, 100, 2)
    assert [matcher.submit(LIMIT, BUY, 0, 10, 1, n) for n in (1, 2, 3)] == [0, 0, -1]
    matcher.submit(CANCEL, 0, 0, 0, 0, 1)
    assert matcher.submit(LIMIT, BUY, 0, 10, 1, 4) == 0
    assert matcher.queue(0, BUY) == [2, 4]


def test_books_are_apart() -> None:
    matcher = Matcher(3, 100, 100)
    matcher.submit(LIMIT, SELL, 1, 50, 5, 1)
    assert matcher.submit(LIMIT, BUY, 2, 60, 5, 2) == 0
    assert matcher.submit(LIMIT, BUY, 1, 60, 5, 3) == 1
    assert matcher.take_trades().tolist() == [(3, 1, 50, 5, 1, BUY)]
    assert [matcher.resting(book) for book in range(3)] == [0, 0, 1]
    with pytest.raises(IndexError):
        matcher.depth(3, 1)


def test_the_index_of_ids_does_not_wear_out() -> None:
    """Three million orders come and go while few live: an index with tombstones would be full long before."""
    matcher = Matcher(1, 1_000, 1_000)
    window, cycles = 500, 1_500_000
    added = np.zeros(cycles, dtype=MESSAGE)
    added["kind"], added["quantity_lots"] = LIMIT, 1
    added["price_units"] = 1 + np.arange(cycles) % 900
    added["order_id"] = np.arange(1, cycles + 1)
    gone = np.zeros(cycles, dtype=MESSAGE)
    gone["kind"], gone["order_id"] = CANCEL, np.arange(1 - window, cycles + 1 - window).clip(0)
    matcher.run(np.stack([added, gone], axis=1).reshape(-1))
    assert matcher.orders.live == window and matcher.refused == window
    assert matcher.queue(0, BUY) == sorted(range(cycles - window + 1, cycles + 1), key=lambda n: -((n - 1) % 900))
    assert all(matcher.remaining(n) == 0 for n in range(1, cycles - window, 997))
    assert all(matcher.remaining(n) == 1 for n in range(cycles - window + 1, cycles + 1))


def test_tables_grow_with_what_rests(rng: np.random.Generator) -> None:
    count = 150_000
    messages = np.zeros(count, dtype=MESSAGE)
    messages["side"] = rng.integers(0, 2, count)
    messages["book"] = rng.integers(0, 20, count)
    messages["price_units"] = rng.integers(1, 500_000, count) + np.where(messages["side"], 500_000, 0)
    messages["quantity_lots"] = rng.integers(1, 9, count)
    messages["order_id"] = np.arange(1, count + 1)
    matcher = Matcher(20, 1_000_000, count)
    assert matcher.run(messages) == 0 and matcher.orders.live == count
    assert matcher.check() == []
    for book in (0, 19):
        mine = messages[messages["book"] == book]
        bids = mine[mine["side"] == BUY]
        order = np.lexsort((bids["order_id"], -bids["price_units"].astype(np.int64)))
        assert matcher.queue(book, BUY) == bids["order_id"][order].tolist()
        assert sum(lots for _, lots in matcher.depth(book, count)[0]) == bids["quantity_lots"].sum()
    gone = messages.copy()
    gone["kind"] = CANCEL
    matcher.run(rng.permutation(gone))
    assert matcher.orders.live == 0 and matcher.refused == 0 and matcher.check() == []


@pytest.mark.parametrize("stride", [1, 3, 15, 16, 17, 48, 1 << 20, 0])
def test_ids_are_found_and_forgotten_whatever_their_gaps(stride: int, rng: np.random.Generator) -> None:
    """Groups of sixteen ids with one, some or all alive; lines of the index that collide, close and move up."""
    gaps = rng.geometric(1e-4, 30_000) if stride == 0 else np.full(30_000, stride)
    ids = np.cumsum(gaps).tolist()
    matcher, live = Matcher(1, 100, len(ids)), set[int]()
    for order_id in ids:
        assert matcher.submit(LIMIT, BUY, 0, 1 + order_id % 100, 1, order_id) == 0
        live.add(order_id)
        while rng.random() < 0.45:
            gone = next(iter(live)) if live and rng.random() < 0.5 else ids[int(rng.integers(len(ids)))]
            assert matcher.submit(CANCEL, 0, 0, 0, 0, gone) == (0 if gone in live else -1)
            live.discard(gone)
    assert matcher.orders.live == len(live) and sorted(matcher.queue(0, BUY)) == sorted(live)
    assert all(matcher.remaining(order_id) == (order_id in live) for order_id in ids)
    assert matcher.check() == []


def test_an_id_that_the_index_cannot_hold_is_refused(matcher: Matcher) -> None:
    assert matcher.submit(LIMIT, BUY, 0, 100, 1, 2**52) == -1
    assert matcher.submit(LIMIT, BUY, 0, 100, 1, 2**52 - 1) == 0 and matcher.remaining(2**52 - 1) == 1


def test_garbage_is_refused_or_played_the_same_whole_and_piecewise(rng: np.random.Generator) -> None:
    """Random bytes behind a hundred thousand orders, where a run looks ahead in what it was given."""
    opened = np.zeros(100_000, dtype=MESSAGE)
    opened["side"] = rng.integers(0, 2, len(opened))
    opened["book"] = rng.integers(0, 50, len(opened))
    opened["price_units"] = rng.integers(1, 3_000, len(opened)) + np.where(opened["side"], 3_000, 0)
    opened["quantity_lots"] = rng.integers(1, 100, len(opened))
    opened["order_id"] = np.arange(1, len(opened) + 1)
    noise = rng.integers(0, 256, (60_000, 16), dtype=np.uint8).view(MESSAGE).reshape(-1).copy()
    tame = rng.random(len(noise)) < 0.7
    noise["kind"][tame] %= 4
    noise["side"][tame] %= 2
    noise["book"][tame] %= 50
    noise["price_units"][tame] %= 6_000
    noise["quantity_lots"][tame] %= 1_000
    noise["order_id"][tame] %= len(opened)
    orders = tame & (noise["kind"] != CANCEL)
    noise["order_id"][orders] = len(opened) + 1 + np.arange(orders.sum())
    noise["order_id"][~tame] %= 1_000_000
    whole, pieces = (Matcher(50, 6_000, 200_000, 1 << 20) for _ in range(2))
    for matcher in (whole, pieces):
        matcher.run(opened)
    whole.run(noise)
    made = sum(pieces.run(noise[n : n + 1].tobytes()) for n in range(len(noise)))
    assert whole.trades == pieces.trades == made > 10_000 and whole.refused == pieces.refused > 10_000
    assert np.array_equal(whole.take_trades(), pieces.take_trades())
    assert [whole.queue(b, s) for b in range(50) for s in (BUY, SELL)] == [
        pieces.queue(b, s) for b in range(50) for s in (BUY, SELL)
    ]
    assert whole.check() == []


def test_what_the_ring_has_overwritten_is_not_handed_out() -> None:
    matcher = Matcher(1, 100, 100, 4)
    for order_id in range(1, 6):
        matcher.submit(LIMIT, SELL, 0, 10, 1, order_id)
    matcher.submit(MARKET, BUY, 0, 0, 4, 6)
    assert trades(matcher) == [(6, n, 10, 1) for n in range(1, 5)]
    for order_id in range(7, 12):
        matcher.submit(LIMIT, SELL, 0, 10, 1, order_id)
    matcher.submit(MARKET, BUY, 0, 0, 5, 12)
    with pytest.raises(BufferError, match="5 trades"):
        matcher.take_trades()
    assert trades(matcher) == [] and matcher.trades == 9


def test_records_are_as_large_as_they_say(matcher: Matcher) -> None:
    assert (MESSAGE.itemsize, TRADE.itemsize) == (16, 40)
    with pytest.raises(ValueError, match="whole number"):
        matcher.run(b"\0" * 17)
    one = np.array([(LIMIT, SELL, 0, 70_000, 3_000_000_000, 4_000_000_000)], dtype=MESSAGE)
    matcher.run(one.tobytes())
    assert matcher.submit(MARKET, BUY, 0, 0, 1, 2**52 - 1) == 1
    assert trades(matcher) == [(2**52 - 1, 4_000_000_000, 70_000, 1)]
    assert matcher.messages == 2


def test_what_a_matcher_cannot_be() -> None:
    wrong = ((0, 10, 10), (65_537, 10, 10), (1, 0, 10), (1, 2**37, 10), (1, 10, 2**24), (1, 10, 10, 3), (1, 10, 10, 0))
    for arguments in wrong:
        with pytest.raises(ValueError):
            Matcher(*arguments)


def test_thousands_of_books_grow_without_losing_an_order() -> None:
    """Past 2 MB a table moves to huge pages and is doubled by moving pages: orders, index and levels all do here."""
    books, rounds = 2_500, 16
    matcher = Matcher(books, 20_000, books * rounds)
    rows = []
    for number in range(books * rounds):
        book, step = number % books, number // books
        side = step & 1
        price = 10_000 + (64 * step + book % 64) * (1 if side else -1)
        rows.append((LIMIT, side, book, price, 1 + number % 7, number + 1))
    for place in range(0, len(rows), 9_999):
        matcher.run(np.array(rows[place : place + 9_999], dtype=MESSAGE))
    assert matcher.trades == 0 and matcher.refused == 0
    assert all(matcher.remaining(order_id) == lots for _, _, _, _, lots, order_id in rows)
    for book in range(0, books, 97):
        mine = [row for row in rows if row[2] == book]
        asks = sorted((price, lots) for _, side, _, price, lots, _ in mine if side)
        bids = sorted(((price, lots) for _, side, _, price, lots, _ in mine if not side), reverse=True)
        assert matcher.depth(book, rounds) == (bids, asks)
    for _, _, book, _, _, order_id in rows[::3]:
        assert matcher.submit(CANCEL, 0, book, 0, 0, order_id) == 0
    assert matcher.check() == []
    assert sum(matcher.resting(book) for book in range(books)) == len(rows) - len(rows[::3])
