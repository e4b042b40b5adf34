"""Jumps of an index that wait for a second source, and circuit breakers. Rules: docs/marks.md."""

import pytest

from exchange import commands, config
from exchange.commands import CommandKind
from exchange.engine import Engine
from exchange.events import EventKind
from exchange.mark_events import JumpOutcome
from exchange.reasons import Reason
from tests.driver import SECOND, START_NS, Driver, kinds, make_config, only, patient, perpetual

NAME = "BTC-PERPETUAL"


def made(**changes):
    fields = {"jump_sources": 2, "jump_hold_ns": 30 * SECOND, **changes}
    underlying = config.Underlying("BTC", "btc_usd", **fields)
    return Driver([perpetual()], patient(make_config(underlyings=(underlying,))))


def say(venue, index, sources):
    return venue.submit(commands.update_marks(0, index * 10**8, venue.now, [], [], sources))


def outcomes(found):
    return [JumpOutcome(e.outcome) for e in found if e.kind == EventKind.MARK_JUMP]


@pytest.fixture
def venue():
    driver = made()
    say(driver, 100_000, 1)
    return driver


def test_a_lone_jump_is_held_and_changes_nothing(venue):
    found = say(venue, 70_000, 1)
    assert kinds(found) == [EventKind.MARK_JUMP, EventKind.MARKS_REJECTED]
    assert (found[0].outcome, found[0].sources, found[0].held_ns) == (JumpOutcome.HELD, 1, venue.now)
    assert (found[0].index_price_e8, found[0].previous_index_e8) == (70_000 * 10**8, 100_000 * 10**8)
    assert found[1].reason == Reason.MARK_JUMP
    assert venue.engine.index_price(0) == 100_000 * 10**8
    assert venue.engine.mark_state(0).held_jump == (70_000 * 10**8, 1, venue.now)
    venue.sound()


def test_the_same_source_never_confirms_itself(venue):
    for _ in range(5):
        venue.now += SECOND
        assert only(say(venue, 70_000, 1), EventKind.MARKS_REJECTED).reason == Reason.MARK_JUMP
    assert venue.engine.index_price(0) == 100_000 * 10**8


def test_a_source_without_a_name_is_one_source(venue):
    say(venue, 70_000, 0)
    assert EventKind.MARKS_REJECTED in kinds(say(venue, 70_000, 0))
    assert outcomes(say(venue, 70_100, 4)) == [JumpOutcome.CONFIRMED]


def test_a_second_source_confirms_it(venue):
    say(venue, 70_000, 1)
    venue.now += SECOND
    found = say(venue, 71_000, 2)
    assert kinds(found)[:2] == [EventKind.MARK_JUMP, EventKind.MARKS_UPDATED]
    assert (found[0].outcome, found[0].sources, found[0].held_ns) == (JumpOutcome.CONFIRMED, 3, START_NS)
    assert venue.engine.index_price(0) == 71_000 * 10**8
    assert venue.engine.mark_state(0).held_jump is None


def test_two_sources_at_once_are_believed(venue):
    found = say(venue, 70_000, 0b101)
    assert (outcomes(found), found[0].held_ns) == ([JumpOutcome.CONFIRMED], 0)
    assert venue.engine.index_price(0) == 70_000 * 10**8


def test_another_jump_takes_the_place_of_the_first(venue):
    say(venue, 70_000, 1)
    assert outcomes(say(venue, 130_000, 2)) == [JumpOutcome.REPLACED, JumpOutcome.HELD]
    assert outcomes(say(venue, 70_000, 6)) == [JumpOutcome.REPLACED, JumpOutcome.CONFIRMED]


def test_a_jump_that_comes_back_is_over(venue):
    say(venue, 70_000, 1)
    assert outcomes(say(venue, 99_000, 1)) == [JumpOutcome.RETURNED]
    assert outcomes(say(venue, 70_000, 2)) == [JumpOutcome.HELD]


def test_a_jump_lapses_and_any_command_notices(venue):
    say(venue, 70_000, 1)
    assert venue.tick(30 * SECOND) == []
    lapsed = only(venue.tick(1), EventKind.MARK_JUMP)
    assert (lapsed.outcome, lapsed.sources, lapsed.held_ns) == (JumpOutcome.LAPSED, 1, START_NS)
    assert outcomes(say(venue, 70_000, 2)) == [JumpOutcome.HELD]


def test_with_one_source_the_next_update_confirms():
    venue = made(jump_sources=1)
    say(venue, 100_000, 0)
    assert outcomes(say(venue, 70_000, 0)) == [JumpOutcome.HELD]
    assert outcomes(say(venue, 70_000, 0)) == [JumpOutcome.CONFIRMED]


# ---------------------------------------------------------------------- circuit breaker


def breaking():
    venue = made(breaker_move_ppm=100_000, breaker_window_ns=160 * SECOND, breaker_pause_ns=60 * SECOND)
    venue.alice, venue.bob = venue.account("alice", btc=10), venue.account("bob", btc=10)
    say(venue, 100_000, 1)
    return venue


def test_a_wide_move_within_the_window_makes_an_auction_that_uncrosses_by_itself():
    venue = breaking()
    venue.place(venue.alice, NAME, "buy", 178_000, 10)
    venue.now += 50 * SECOND
    assert kinds(say(venue, 110_000, 1)) == [EventKind.MARKS_UPDATED]
    found = say(venue, 98_900, 1)
    tripped = only(found, EventKind.BREAKER_TRIPPED)
    assert (tripped.reference_e8, tripped.index_price_e8) == (110_000 * 10**8, 98_900 * 10**8)
    assert tripped.until_ns == venue.now + 60 * SECOND
    assert only(found, EventKind.INSTRUMENT_STATE_CHANGED).state == 6
    assert venue.engine.market(venue.slot(NAME)).state == "auction"
    assert kinds(venue.place(venue.bob, NAME, "sell", 178_000, 10)) == [EventKind.ORDER_ACCEPTED]
    assert venue.tick(60 * SECOND - 1) == []
    assert EventKind.AUCTION_UNCROSSED in kinds(venue.tick(1))
    assert venue.engine.market(venue.slot(NAME)).state == "open"
    venue.sound()


def test_the_same_move_over_a_longer_time_trips_nothing():
    venue = breaking()
    for index in (104_000, 108_000, 112_000, 116_000):
        venue.now += 81 * SECOND
        assert EventKind.BREAKER_TRIPPED not in kinds(say(venue, index, 1)), index


def test_another_wide_move_makes_the_auction_longer():
    venue = breaking()
    say(venue, 112_000, 1)
    venue.now += 10 * SECOND
    found = say(venue, 125_000, 1)
    assert only(found, EventKind.BREAKER_TRIPPED).reference_e8 == 112_000 * 10**8
    changed = only(found, EventKind.INSTRUMENT_STATE_CHANGED)
    assert (changed.previous_state, changed.state) == (6, 6)
    assert venue.engine.market(venue.slot(NAME)).auction_until_ns == venue.now + 60 * SECOND


def test_what_an_operator_has_halted_stays_halted():
    venue = breaking()
    venue.cold(CommandKind.SET_INSTRUMENT_STATE, config.InstrumentState(NAME, "halted"))
    assert EventKind.INSTRUMENT_STATE_CHANGED not in kinds(say(venue, 112_000, 1))
    assert venue.engine.market(venue.slot(NAME)).state == "halted"


def test_a_replay_has_the_same_jumps_and_breakers():
    venue = breaking()
    say(venue, 112_000, 1)
    say(venue, 70_000, 1)
    venue.tick(31 * SECOND)
    say(venue, 70_000, 2)
    twin = Engine()
    for record in venue.journal.records:
        twin.apply(record)
    assert twin.state_digest() == venue.engine.state_digest()


@pytest.mark.parametrize(
    "changes", [{"jump_sources": 0}, {"jump_sources": 33}, {"jump_hold_ns": 0}, {"breaker_move_ppm": -1},
                {"breaker_move_ppm": 1_000_000}, {"breaker_window_ns": 10}, {"breaker_pause_ns": 0}],
)  # fmt: skip
def test_figures_out_of_range_are_no_configuration(changes):
    with pytest.raises(Exception, match=r"jump_sources|breaker_move_ppm"):
        made(**changes)
