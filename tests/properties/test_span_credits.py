"""Credits between underlyings of `span16` with open orders: no fill leaves a smaller share than was counted."""

from itertools import product

import msgspec
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from exchange.config import Config, Currency, Limits, Underlying
from exchange.parameters_span import SpanCredit, SpanCredits, SpanParameters, SpreadLeg
from tests.oracles.bench import Bench
from tests.oracles.span_credits import Shares

NAMES = ("BTC", "ETH", "SOL")
RATIOS = st.sampled_from([1_000_000, 1_000_000, 333_333, 29_000_000, 1_100_001, 1_000])
LEGS = st.lists(st.sampled_from(NAMES), min_size=2, max_size=3, unique=True).flatmap(
    lambda names: st.tuples(*(st.tuples(st.just(name), RATIOS) for name in names))
)
CREDITS = st.lists(
    st.builds(
        lambda legs, priority, rate, turned: SpanCredit(
            priority=priority,
            legs=tuple(
                SpreadLeg(underlying=name, ratio_ppm=ratio, side="short" if (place > 0) != turned else "long")
                for place, (name, ratio) in enumerate(legs)
            ),
            rate_ppm=rate,
        ),
        LEGS,
        st.integers(1, 5),
        st.sampled_from([1_000_000, 700_000, 333_333, 0]),
        st.booleans(),
    ),
    min_size=1,
    max_size=5,
).map(lambda found: SpanCredits(credits=tuple(found)))
SIZES = st.integers(0, 10**13) | st.integers(0, 60)
SIGNED = SIZES | SIZES.map(lambda size: -size)
SMALL = st.integers(0, 100)
BOOKS = st.lists(st.tuples(SIGNED, SMALL, SMALL), min_size=3, max_size=3)
SEARCH = settings(deadline=None, suppress_health_check=list(HealthCheck))
PAIR = SpanCredits(
    credits=(
        SpanCredit(
            priority=1,
            legs=(
                SpreadLeg(underlying="BTC", ratio_ppm=1_000_000, side="long"),
                SpreadLeg(underlying="ETH", ratio_ppm=1_000_000, side="short"),
            ),
            rate_ppm=1_000_000,
        ),
    )
)


def venue(terms: SpanCredits):
    spans = (Underlying(name=name, index_name=name.lower(), span=SpanParameters()) for name in NAMES)
    configuration = Config(
        currencies=(Currency(name="USDC", exponent=6),), underlyings=tuple(spans), instruments=(),
        limits=Limits(max_accounts=8, max_instruments=8), span_credits=terms,
    )  # fmt: skip
    return Bench(configuration).engine.exposure.spans


def with_orders(book) -> list[tuple[int, int, int, int]]:
    """Per underlying (number, delta, what fills could add, what they could take): per cent of the delta, and a unit."""
    return [
        (n, delta, abs(delta) * up // 100 + up, abs(delta) * down // 100) for n, (delta, up, down) in enumerate(book)
    ]


@SEARCH
@given(terms=CREDITS, book=BOOKS, parts=st.lists(st.tuples(*[st.integers(-7, 7)] * 3), min_size=1, max_size=8))
@example(terms=PAIR, book=[(10**10, 10, 0), (-(2 * 10**10), 0, 10), (0, 0, 0)], parts=[(7, 0, 0)])
def test_no_fill_leaves_a_smaller_share(terms: SpanCredits, book, parts) -> None:
    made, counted = venue(terms), with_orders(book)
    least = made.shares_of(counted, True)
    ranges = {name: (delta - down, delta + up) for name, (_, delta, up, down) in zip(NAMES, counted, strict=True)}
    naive = Shares(terms, ranges)
    rounding = [made.rounding_of(n) for n in range(3)]
    assert least == [naive.of(name, lost) for name, lost in zip(NAMES, rounding, strict=True)]
    corners = set(product((-7, 0, 7), repeat=3)) | set(parts)
    for taken in corners:
        after = [
            (n, delta + (up * k // 7 if k > 0 else -(down * -k // 7)), 0, 0)
            for (n, delta, up, down), k in zip(counted, taken, strict=True)
        ]
        shares = made.shares_of(after, False)
        assert all(found >= bound for found, bound in zip(shares, least, strict=True)), (after, shares, least)


@SEARCH
@given(terms=CREDITS, book=BOOKS)
def test_orders_that_move_no_delta_leave_nearly_the_whole_credit(terms: SpanCredits, book) -> None:
    """Below by the rounding alone: some units of the delta."""
    plain = SpanCredits(
        credits=tuple(
            msgspec.structs.replace(
                one, legs=tuple(msgspec.structs.replace(leg, ratio_ppm=1_000_000) for leg in one.legs)
            )
            for one in terms.credits
        )
    )
    made = venue(plain)
    still = [(n, delta, 0, 0) for n, (delta, _, _) in enumerate(book)]
    for (_, delta, _, _), whole, least in zip(
        still, made.shares_of(still, False), made.shares_of(still, True), strict=True
    ):
        assert whole - 12 * (2**40 // max(1, abs(delta)) + 2) <= least <= whole


def test_a_share_is_that_of_the_least_favourable_fill() -> None:
    """1 BTC long, 2 ETH short, one to one: the BTC is credited whole, half of the ETH; a buy of 1 BTC adds to ETH's
    share alone, and one of 3 leaves half of the BTC."""
    made, coin, one = venue(PAIR), 10**10, 2**40
    near = 5_000
    for up, btc in ((0, 1.0), (coin, 1.0), (3 * coin, 0.5)):
        found = made.shares_of([(0, coin, up, 0), (1, -2 * coin, 0, 0)], True)
        assert abs(found[0] - btc * one) < near
        assert abs(found[1] - 0.5 * one) < near
    # a sell that could turn the position leaves nothing sure
    assert made.shares_of([(0, coin, 0, coin), (1, -2 * coin, 0, 0)], True) == [0, 0]
