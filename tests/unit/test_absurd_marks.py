"""No input of a feed stops the engine: index, forwards and vols at the edges of what a record can say, confirmed."""

import random

import pytest

from exchange import commands, config
from exchange.commands import CommandKind
from exchange.events import EventKind
from exchange.reasons import Reason
from tests.driver import DAY, SECOND, START_NS, Driver, future, kinds, linear_perpetual, only, option, perpetual

EXPIRY_NS = START_NS + 30 * DAY
FUTURE = future(EXPIRY_NS)
CALL, PUT = option(100_000, "call", EXPIRY_NS), option(100_000, "put", EXPIRY_NS)
NAMES = ("BTC-PERPETUAL", "BTC_USDC-PERPETUAL", FUTURE.name, CALL.name, PUT.name)
MODELS = ("segregated_pm", "cross_pm", "segregated_sm", "cross_sm")
USD = 10**8
INDICES = (1, 2, 1_000, 10**5, USD, 100 * USD, 1_000 * USD, 10**7 * USD, 10**8 * USD, 10**9 * USD)


def stocked(size=1):
    """Accounts of every model and a bucket, each with everything listed; `size` times some thousand dollars of it."""
    venue = Driver([perpetual(), linear_perpetual(), FUTURE, CALL, PUT])
    venue.rich = venue.account("rich", btc=10**6, usdc=10**9)
    venue.accounts = [venue.account(f"a{n}", btc=5 * size, usdc=500_000 * size, model=m) for n, m in enumerate(MODELS)]
    venue.marks(100_000)
    prices = dict(zip(NAMES, (200_000, 1_000_000, 200_000, 700, 700), strict=True))
    for number, account in enumerate(venue.accounts):
        for name in NAMES:
            side = ("buy", "sell")[(number + NAMES.index(name)) % 2]
            lots = (100 if name in ("BTC-PERPETUAL", FUTURE.name) else 10 if "USDC" in name else 1) * size
            venue.trade(venue.rich, account, name, side, prices[name], lots)
    bucket = venue.account("isolated", btc=10 * size)
    venue.cold(CommandKind.SET_MARGIN_MODE, config.SetMarginMode(NAMES[0], "isolated", 1_000), bucket)
    venue.trade(venue.rich, bucket, NAMES[0], "buy", 200_000, 1_000 * size)
    return venue


def say(venue, index_e8, forward_e8=None, vol_e6=600_000):
    """What every source says twice: a jump is confirmed by it."""
    vols = [(slot, vol_e6) for slot, _, _ in venue.engine.pairs(0)]
    found = []
    for _ in range(2):
        venue.now += SECOND
        record = commands.update_marks(
            0, index_e8, venue.now, [(EXPIRY_NS, index_e8 if forward_e8 is None else forward_e8)], vols, sources=3
        )
        found = venue.submit(record)
    return found


def goes_on(venue):
    """A minute later the engine still does what it is told, and its books are sound."""
    for _ in range(60):
        venue.tick(SECOND)
    venue.account(f"late-{venue.now}", btc=1)
    venue.sound()


@pytest.mark.parametrize(("index_e8", "forward_e8"), [(1, 1), (100 * USD - 1, 100 * USD), (10**5 * USD, 100 * USD - 1)])
def test_a_refusal_names_its_reason_and_the_marks_grow_old(index_e8, forward_e8):
    venue = stocked()
    refused = only(say(venue, index_e8, forward_e8), EventKind.MARKS_REJECTED)
    assert (refused.reason, refused.index_price_e8) == (Reason.MARK_OUT_OF_RANGE, index_e8)
    assert EventKind.MARK_STAGE_CHANGED in kinds(venue.tick(11 * SECOND))
    assert venue.engine.mark_state(0).stage == "reduce_only"
    assert only(venue.marks(100_000), EventKind.MARK_STAGE_CHANGED).stage == 0
    goes_on(venue)


def test_books_at_their_bound_meet_marks_that_would_carry_them_beyond():
    """Two accounts hold as much of a perpetual as order entry lets them: the index falls until a mark is refused, the
    engine goes on, and rises again."""
    venue = Driver([perpetual(max_position_lots=10**9, max_quantity_lots=10**9)])
    left, right = (venue.account(name, btc=5 * 10**6) for name in ("left", "right"))
    venue.marks(100_000)
    for lots in (10**8, *[10**7] * 9):
        venue.place(left, "BTC-PERPETUAL", "sell", 200_000, lots)
        venue.place(right, "BTC-PERPETUAL", "buy", 200_000, lots)
    held = max(p.quantity_lots for p in venue.engine.positions(right))
    assert 10**8 <= held < 2 * 10**8  # the bound on rows has cut the last ones off
    index, refused = 100_000.0, []
    for _ in range(40):
        index *= 0.7
        refused += [e for e in say(venue, round(index * USD)) if e.kind == EventKind.MARKS_REJECTED]
        venue.tick()
    assert refused and {e.reason for e in refused} == {Reason.MARK_OUT_OF_RANGE}
    assert venue.engine.index_price(0) < 50_000 * USD
    goes_on(venue)


@pytest.mark.parametrize("size", [1, 1_000])
@pytest.mark.parametrize("index_e8", INDICES)
def test_an_absurd_index_that_all_sources_confirm(index_e8, size):
    venue = stocked(size)
    say(venue, index_e8)
    goes_on(venue)
    say(venue, 100_000 * USD)
    goes_on(venue)


@pytest.mark.parametrize("forward_e8", INDICES)
def test_an_absurd_forward_at_a_sane_index(forward_e8):
    venue = stocked(1_000)
    say(venue, 100_000 * USD, forward_e8)
    goes_on(venue)


@pytest.mark.parametrize("vol_e6", [1, 10, 1_000, 10_000_000, 20_000_000, 2**32 - 1])
@pytest.mark.parametrize("index", [25_000, 100_000, 400_000])
def test_an_absurd_vol(vol_e6, index):
    venue = stocked(1_000)
    say(venue, index * USD, vol_e6=vol_e6)
    goes_on(venue)


@pytest.mark.parametrize("factor", [0.3, 0.7, 1.5, 3.9])
def test_an_index_that_walks_away_step_by_step(factor):
    """Each step is believable, where it leads is not."""
    venue, index = stocked(100), 100_000.0
    for _ in range(60):
        index = min(max(index * factor, 1e-8), 1e9)
        say(venue, round(index * USD))
        venue.tick(SECOND)
    goes_on(venue)


@pytest.mark.parametrize("size", [1, 30, 1_000])
def test_a_feed_that_says_anything(size, seed):
    """Updates drawn over every order of magnitude, most of them from where prices stand; people go on trading."""
    draw, venue, index = random.Random(seed), stocked(size), 100_000.0
    taken = 0
    for _ in range(400):
        index = index * 10 ** draw.choice((0.0, 0.0, 0.01, -0.01, draw.uniform(-1, 1), draw.uniform(-4, 4)))
        index = min(max(index, 1e-8), 1e9)
        forward = index * 10 ** draw.choice((0.0, 0.0, 0.0, draw.uniform(-1, 1), draw.uniform(-4, 4)))
        vol_e6 = round(10 ** draw.uniform(0, 7.3))
        index_e8, forward_e8 = max(1, round(index * USD)), min(max(1, round(forward * USD)), 10**17)
        if any(e.kind == EventKind.MARKS_UPDATED for e in say(venue, index_e8, forward_e8, vol_e6)):
            taken += 1
        else:
            index = venue.engine.index_price(0) / USD
        mark = venue.engine.market(venue.slot(NAMES[0])).mark_price_e8
        units = max(1, mark // 50_000_000)
        account, side = draw.choice(venue.accounts), draw.choice(("buy", "sell"))
        venue.place(account, NAMES[0], side, units, draw.choice((1, 1_000, 10**6)))
        venue.tick(SECOND * draw.choice((0, 1, 5, 40)))
    assert taken > 20
    goes_on(venue)
