"""The calendar charge of `span16` against exact fractions: never below them, above them by less than its rounding, and
with open orders never below what any part of their fills makes of it.
"""

from fractions import Fraction

import msgspec
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from exchange.parameters_span import CalendarSpread, SpanParameters, SpanTier
from exchange.risk.spreads import spreads
from tests.oracles import world
from tests.oracles.bench import Bench
from tests.oracles.span import served

NAMES = ("near", "middle", "far")
TIERS = tuple(SpanTier(name=name, from_days=10 * n, to_days=10 * n + 10) for n, name in enumerate(NAMES))
RATIOS = st.sampled_from([1_000_000, 1_000_000, 1_000, 333_333, 1_100_001, 7_000_000])
SPREADS = st.builds(
    CalendarSpread,
    priority=st.integers(1, 5),
    first=st.sampled_from(NAMES),
    second=st.sampled_from(NAMES),
    first_ratio_ppm=RATIOS,
    second_ratio_ppm=RATIOS,
    rate_ppm=st.sampled_from([0, 1, 5_000, 12_345, 30_000]),
)
SETS = st.lists(SPREADS, max_size=6).map(lambda found: SpanParameters(tiers=TIERS, calendar=tuple(found)))
PLAIN_SETS = SETS.map(
    lambda p: msgspec.structs.replace(
        p,
        calendar=tuple(
            msgspec.structs.replace(one, first_ratio_ppm=1_000_000, second_ratio_ppm=1_000_000) for one in p.calendar
        ),
    )
)
SIZES = st.integers(0, 10**12) | st.integers(0, 50)
SIGNED = SIZES | SIZES.map(lambda size: -size)
BOOKS = st.lists(st.tuples(SIGNED, SIZES, SIZES), min_size=3, max_size=3)
PARTS = st.lists(st.fractions(-1, 1, max_denominator=7) | st.sampled_from([-1, 0, 1]), min_size=3, max_size=3)
SEARCH = settings(deadline=None, suppress_health_check=list(HealthCheck))


def exact(p: SpanParameters, deltas: list[Fraction]) -> Fraction:
    """1e-10 coin, nothing rounded."""
    left = {}
    for tier, delta in zip(NAMES, deltas, strict=True):
        left[tier, "long"], left[tier, "short"] = Fraction(max(delta, 0)), Fraction(max(-delta, 0))
    total = Fraction(0)
    for (first, second), (r, q), rate in served(p):
        count = min(left[first] / r, left[second] / q)
        left[first] -= count * r
        left[second] -= count * q
        total += count * rate
    return total


def venue(p: SpanParameters):
    plain = world.configuration()
    btc, eth = plain.underlyings
    spanned = msgspec.structs.replace(plain, underlyings=(msgspec.structs.replace(btc, span=p), eth))
    return Bench(spanned).engine.exposure.spans


def charge(made, deltas: list[int], book=None, capped: int = 0) -> int:
    ups, downs = ([one[n] for one in book] for n in (1, 2)) if book else ([0] * 3, [0] * 3)
    return made.charge_of(0, deltas, ups, downs, book is not None, capped)


@SEARCH
@given(p=SETS | PLAIN_SETS, deltas=st.lists(SIGNED, min_size=3, max_size=3))
def test_a_charge_is_never_below_the_exact_one(p: SpanParameters, deltas: list[int]) -> None:
    whole, found = exact(p, list(map(Fraction, deltas))), charge(venue(p), deltas)
    assert whole <= found < whole + Fraction(spreads(p).noise, 10**6) + 1
    if all(one.first_ratio_ppm == one.second_ratio_ppm == 1_000_000 for one in p.calendar):
        assert found < whole + 1


@SEARCH
@given(p=SETS | PLAIN_SETS, book=BOOKS, parts=st.lists(PARTS, min_size=1, max_size=8), capped=SIZES)
def test_open_orders_are_charged_for_whatever_they_become(p: SpanParameters, book, parts, capped: int) -> None:
    made = venue(p)
    held = [one[0] for one in book]
    bound = charge(made, held, book)
    assert bound >= charge(made, held)
    for taken in parts:
        moves = [one[1] * part if part > 0 else one[2] * part for one, part in zip(book, taken, strict=True)]
        after = [delta + int(move) for delta, move in zip(held, moves, strict=True)]
        assert charge(made, after) <= bound
        # what quotes beyond their cap move comes on top
        moved = [after[0] + capped // 2, after[1] - capped + capped // 2, after[2]]
        assert charge(made, moved) <= charge(made, held, book, capped)


@SEARCH
@given(p=PLAIN_SETS, book=BOOKS)
def test_orders_that_move_nothing_cost_nothing(p: SpanParameters, book) -> None:
    still = [(delta, 0, 0) for delta, _, _ in book]
    made = venue(p)
    assert charge(made, [one[0] for one in still], still) == charge(made, [one[0] for one in still])
