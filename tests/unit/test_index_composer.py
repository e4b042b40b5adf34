"""The index out of several sources."""

from collections.abc import Sequence

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from exchange import commands, events
from exchange.events import EventKind
from exchange.mark_events import JumpOutcome
from gateway.feeds import ComposedFeed, ComposerTerms, IndexComposer, MarkUpdate, SimFeed, SimParameters, Source
from gateway.feeds.publisher import MarkPublisher
from tests.driver import START_NS, Driver, make_config, perpetual

SECOND = 1_000_000_000
E8 = 10**8


def terms(count: int = 3, **changes: object) -> ComposerTerms:
    return ComposerTerms(sources=tuple(Source(name=f"s{i}") for i in range(count)), **changes)


def composed(prices: Sequence[int | None], **changes: object) -> tuple[int, int] | None:
    """(index, sources) of prices in USD said at once."""
    composer = IndexComposer(terms(len(prices), **changes))
    for source, price in enumerate(prices):
        if price is not None:
            composer.take(source, price * E8, 0)
    found = composer.compose(0)
    return found and (found.price_e8 // E8, found.sources)


@pytest.mark.parametrize(
    ("prices", "wanted"),
    [
        ([100_000], (100_000, 1)),
        ([100_000, 100_200, 99_900], (100_000, 0b111)),
        ([100_000, 130_000, 99_900], (99_950, 0b101)),  # a lone jump moves nothing
        ([100_000, 130_000, 130_100], (130_050, 0b110)),  # two do
        ([100_000, None, 99_000], (99_500, 0b101)),
        ([100_000, 130_000], None),  # one against one: nobody knows
        ([None, None], None),
        ([1, 100_000, 10_000_000], (100_000, 0b010)),
    ],
)
def test_the_median_of_those_that_agree(prices: list[int | None], wanted: tuple[int, int] | None) -> None:
    assert composed(prices) == wanted


def test_fewer_than_the_least_is_no_index() -> None:
    assert composed([1, 100_000, 10_000_000], least=2) is None
    assert composed([100_000, None, 100_001], least=2) == (100_000, 0b101)


def test_a_source_that_falls_silent_counts_for_its_time_and_no_longer() -> None:
    composer = IndexComposer(terms(2, stale_ns=5 * SECOND))
    composer.take(0, 100_000 * E8, 0)
    composer.take(1, 100_100 * E8, 3 * SECOND)
    assert composer.compose(5 * SECOND).sources == 0b11
    late = composer.compose(5 * SECOND + 1)
    assert (late.price_e8, late.sources) == (100_100 * E8, 0b10)
    assert [composer.state(source, 5 * SECOND + 1) for source in (0, 1)] == ["stale", "agrees"]
    assert composer.compose(9 * SECOND) is None
    composer.take(1, 1, 2 * SECOND)  # out of order
    assert composer.newest(1) == (100_100 * E8, 3 * SECOND)
    with pytest.raises(ValueError, match="positive"):
        composer.take(0, 0, 0)


@given(
    honest=st.lists(st.integers(99_900, 100_100), min_size=3, max_size=9),
    liars=st.lists(st.integers(1, 10_000_000), max_size=8),
)
def test_a_minority_moves_the_index_no_further_than_the_honest_are_apart(honest: list[int], liars: list[int]) -> None:
    liars = liars[: len(honest) - 1]
    found = composed([*honest, *liars])
    assert found is not None
    assert min(honest) - 1 <= found[0] * 1.01 and found[0] <= max(honest) * 1.01
    near = [price for price in honest if abs(price - found[0]) * 100 <= found[0]]
    assert found[1].bit_count() >= len(near) > 0


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"least": 4}, "least"),
        ({"stale_ns": 0}, "stale_ns"),
        ({"apart_ppm": 0}, "apart_ppm"),
        ({"sources": ()}, "sources"),
        ({"sources": (Source(name="a"), Source(name="a"))}, "different names"),
        ({"sources": (Source(name="a", silent_ppm=2_000_000),)}, "index.sources.a"),
        ({"sources": (Source(name="a", jump_size_ppm=-1_000_000),)}, "positive price"),
    ],
)
def test_terms_that_make_no_sense_are_named(changes: dict[str, object], named: str) -> None:
    given_terms = {"sources": (Source(name="a"), Source(name="b")), "least": 1} | changes
    assert any(named in fault for fault in ComposerTerms(**given_terms).faults())
    assert terms(3, least=2).faults() == []


def feed(*sources: Source, **changes: object) -> ComposedFeed:
    return ComposedFeed(SimFeed(START_NS, SimParameters(seed=3)), ComposerTerms(sources=sources, **changes), seed=3)


def updates(made: ComposedFeed, seconds: int) -> list[MarkUpdate]:
    found: list[MarkUpdate] = []
    for step in range(1, 2 * seconds + 1):
        found += made.step(START_NS + step * SECOND // 2)
    return found


def test_simulated_sources_disagree_drop_out_and_jump_and_the_index_stays() -> None:
    wild = Source(name="c", silent_ppm=300_000, jump_ppm=400_000)
    plain = updates(ComposedFeed(SimFeed(START_NS, SimParameters(seed=3)), terms(1), seed=3), 300)
    found = updates(feed(Source(name="a"), Source(name="b", bias_ppm=500), wild), 300)
    assert len(found) == len(plain)
    masks = {update.sources for update in found}
    assert {0b111, 0b011} <= masks
    for update, alone in zip(found, plain, strict=True):
        assert abs(update.index_price_e8 / alone.index_price_e8 - 1) < 0.001
        assert update.forwards[-1][1] / update.index_price_e8 == pytest.approx(
            alone.forwards[-1][1] / alone.index_price_e8, rel=1e-9
        )
    again = updates(feed(Source(name="a"), Source(name="b", bias_ppm=500), wild), 300)
    assert [(a.index_price_e8, a.sources) for a in again] == [(b.index_price_e8, b.sources) for b in found]


def test_without_enough_sources_the_feed_says_nothing() -> None:
    made = feed(Source(name="a", silent_ppm=1_000_000), Source(name="b"), least=2)
    assert updates(made, 10) == []
    assert min(made.missing.values()) > 0


def test_a_lone_jump_waits_in_the_engine_for_a_second_source() -> None:
    """One source left of two: its jump is held; the other comes back and says it too."""
    underlying = make_config().underlyings[0]
    driver = Driver([perpetual()], make_config(underlyings=(msgspec.structs.replace(underlying, jump_sources=2),)))
    made = feed(Source(name="a", kind="socket"), Source(name="b", kind="socket"))
    publisher = MarkPublisher(driver.engine)

    def step(seconds: int, **prices: float) -> list[tuple[EventKind, object]]:
        driver.now += seconds * SECOND
        for source, price in prices.items():
            made.say("BTC", source, round(price * E8), driver.now)
        newest = [update for update in made.step(driver.now) if update.underlying == "BTC"][-1]
        record = commands.by(commands.Actor.FEED, publisher.record(newest))
        return [(kind, fields) for kind, fields, _ in events.records(driver.sequencer.submit(record))]

    assert [kind for kind, _ in step(1, a=100_000, b=100_010)] == [EventKind.MARKS_UPDATED]
    assert [kind for kind, _ in step(6, a=130_000)] == [EventKind.MARK_JUMP, EventKind.MARKS_REJECTED]
    confirmed = step(1, a=130_050, b=130_000)
    assert [kind for kind, _ in confirmed] == [EventKind.MARK_JUMP, EventKind.MARKS_UPDATED]
    assert confirmed[0][1]["outcome"] == JumpOutcome.CONFIRMED
    assert driver.engine.index_price(0) == 130_025 * E8
    with pytest.raises(ValueError, match="no socket source"):
        made.say("BTC", "c", E8, driver.now)
    with pytest.raises(ValueError, match="no underlying"):
        made.say("XRP", "a", E8, driver.now)
