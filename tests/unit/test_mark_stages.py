"""Stages by the age of marks: live, reduce-only, halt. Rules: docs/marks.md."""

import msgspec
import pytest

from exchange import commands, config
from exchange.commands import CommandKind, OrderFlag, OrderType
from exchange.engine import Engine
from exchange.events import EventKind
from exchange.reasons import Reason
from tests.driver import SECOND, START_NS, Driver, kinds, make_config, only, patient, perpetual

NAME = "BTC-PERPETUAL"
STALE, HALT = 10 * SECOND, 60 * SECOND


@pytest.fixture
def venue():
    made = Driver([perpetual()])
    made.alice, made.bob = made.account("alice", btc=10), made.account("bob", btc=10)
    made.marks(100_000)
    made.trade(made.bob, made.alice, NAME, "buy", 200_000, 1_000)  # alice long
    return made


def stage(venue):
    return venue.engine.mark_state(0).stage


def rejected(found):
    return only(found, EventKind.ORDER_REJECTED).reason


def test_an_underlying_is_live_before_its_first_marks_and_has_none():
    made = Driver([perpetual()])
    made.now += 10**6 * SECOND
    assert made.tick() == []
    alice = made.account("alice", btc=1)
    assert rejected(made.place(alice, NAME, "buy", 200_000, 1)) == Reason.NO_MARK
    assert stage(made) == "live"
    assert made.engine.mark_state(0).marked_ns == 0


def test_the_stages_come_at_their_nanosecond_and_every_change_is_said(venue):
    assert venue.tick(STALE) == []
    reduced = only(venue.tick(1), EventKind.MARK_STAGE_CHANGED)
    assert (reduced.underlying, reduced.stage, reduced.previous_stage, reduced.reason) == (0, 1, 0, Reason.MARK_STALE)
    assert reduced.marked_ns == START_NS
    assert (stage(venue), venue.engine.mark_state(0).marked_ns) == ("reduce_only", START_NS)
    assert venue.tick(HALT - STALE - 1) == []
    halted = only(venue.tick(1), EventKind.MARK_STAGE_CHANGED)
    assert (halted.stage, halted.previous_stage, stage(venue)) == (2, 1, "halt")
    assert venue.tick(HALT) == []
    live = only(venue.marks(100_000), EventKind.MARK_STAGE_CHANGED)
    assert (live.stage, live.previous_stage, live.reason, live.marked_ns) == (0, 2, 0, venue.now)
    assert stage(venue) == "live"
    venue.sound()


def test_a_checkpoint_says_nothing_and_the_next_command_does(venue):
    """It carries the hash of the events before it: an event of its own would break it."""
    venue.now += STALE + 1
    venue.sequencer.checkpoint()
    assert stage(venue) == "live"
    only(venue.tick(), EventKind.MARK_STAGE_CHANGED)
    fresh = Engine()
    fresh.apply_many(b"".join(venue.journal.records))
    assert fresh.state_digest() == venue.engine.state_digest()


def test_any_command_notices_not_only_ticks(venue):
    venue.now += HALT + 1
    found = venue.place(venue.alice, NAME, "sell", 200_000, 10)
    assert kinds(found) == [EventKind.MARK_STAGE_CHANGED, EventKind.ORDER_REJECTED]
    assert (found[0].stage, found[0].previous_stage, found[1].reason) == (2, 0, Reason.MARK_STALE)


def test_refused_marks_do_not_refresh(venue):
    venue.tick(STALE + 1)
    assert kinds(venue.submit(commands.update_marks(0, 0, venue.now, [], []))) == [EventKind.MARKS_REJECTED]
    assert stage(venue) == "reduce_only"


def test_reduce_only_takes_what_reduces_and_shrinks_it_to_the_position(venue):
    resting = only(venue.place(venue.bob, NAME, "buy", 199_990, 5_000), EventKind.ORDER_ACCEPTED).order_id
    venue.tick(STALE + 1)
    assert rejected(venue.place(venue.alice, NAME, "buy", 199_000, 10)) == Reason.MARK_STALE
    assert rejected(venue.place(venue.bob, NAME, "sell", 201_000, 10)) == Reason.MARK_STALE
    done = venue.place(venue.alice, NAME, "sell", 199_990, 4_000)
    accepted = only(done, EventKind.ORDER_ACCEPTED)
    assert (accepted.quantity_lots, accepted.flags & OrderFlag.REDUCE_ONLY) == (1_000, OrderFlag.REDUCE_ONLY)
    assert only(done, EventKind.TRADE_EXECUTED).quantity_lots == 1_000
    assert rejected(venue.place(venue.alice, NAME, "sell", 199_990, 10)) == Reason.MARK_STALE
    edit = commands.record(
        CommandKind.EDIT_ORDER, venue.bob, order_id=resting, price_units=199_000, quantity_lots=9_000
    )
    assert rejected(venue.submit(edit)) == Reason.MARK_STALE
    cancel = commands.record(CommandKind.CANCEL_ORDER, venue.bob, order_id=resting, reason=Reason.USER_REQUEST)
    assert kinds(venue.submit(cancel)) == [EventKind.ORDER_CANCELLED]
    venue.sound()


def test_a_market_order_that_reduces_is_taken_in_reduce_only_and_not_in_the_halt(venue):
    venue.place(venue.bob, NAME, "buy", 199_990, 100)
    venue.tick(STALE + 1)
    done = venue.place(venue.alice, NAME, "sell", 0, 50, order_type=OrderType.MARKET)
    assert only(done, EventKind.TRADE_EXECUTED).quantity_lots == 50
    venue.tick(HALT)
    refused = venue.place(venue.alice, NAME, "sell", 0, 50, order_type=OrderType.MARKET)
    assert rejected(refused) == Reason.MARK_STALE


def test_an_auction_does_not_uncross_on_old_marks(venue):
    auction = config.InstrumentState(NAME, "auction", venue.now + 5 * SECOND)
    venue.cold(CommandKind.SET_INSTRUMENT_STATE, auction)
    venue.place(venue.bob, NAME, "sell", 200_000, 10)
    venue.place(venue.alice, NAME, "buy", 200_000, 10)
    assert kinds(venue.tick(STALE + 1)) == [EventKind.MARK_STAGE_CHANGED]
    opened = venue.cold(CommandKind.SET_INSTRUMENT_STATE, config.InstrumentState(NAME, "open"))
    assert only(opened, EventKind.COMMAND_REJECTED).reason == Reason.MARK_STALE
    venue.marks(100_000)
    assert EventKind.AUCTION_UNCROSSED in kinds(venue.tick())
    venue.sound()


def test_a_stop_does_not_fire_on_old_marks_and_is_not_lost(venue):
    terms = commands.order_terms(trigger_price_e8=90_000 * 10**8)
    stop = commands.record(
        CommandKind.PLACE_ORDER, venue.alice, terms, instrument=venue.slot(NAME), side=1, quantity_lots=100,
        order_type=OrderType.STOP_MARKET, terms_slots=1,
    )  # fmt: skip
    assert kinds(venue.submit(stop)) == [EventKind.TRIGGER_PLACED]
    assert kinds(venue.tick(HALT + 1)) == [EventKind.MARK_STAGE_CHANGED]
    fired = venue.marks(89_000)
    assert kinds(fired)[:2] == [EventKind.MARKS_UPDATED, EventKind.MARK_STAGE_CHANGED]
    assert EventKind.ORDER_TRIGGERED in kinds(fired)


def test_underlyings_have_their_own_stages():
    both = (config.Underlying("BTC", "btc_usd"), config.Underlying("ETH", "eth_usd"))
    made = Driver([perpetual()], make_config(underlyings=both))
    made.marks(100_000)
    made.submit(commands.update_marks(1, 3_000 * 10**8, made.now, [], []))
    made.now += 8 * SECOND
    made.marks(100_000)
    changed = only(made.tick(3 * SECOND), EventKind.MARK_STAGE_CHANGED)
    assert (changed.underlying, changed.stage) == (1, 1)
    assert [made.engine.mark_state(u).stage for u in (0, 1)] == ["live", "reduce_only"]


def test_patience_is_a_matter_of_configuration():
    made = Driver([perpetual()], patient())
    made.marks(100_000)
    assert made.tick(30 * 86_400 * SECOND // 10) == []
    assert stage(made) == "live"


@pytest.mark.parametrize("halt_ns", [9 * SECOND, 1 << 62])
def test_a_halt_before_reduce_only_or_beyond_time_is_no_configuration(halt_ns):
    underlying = msgspec.structs.replace(make_config().underlyings[0], mark_halt_ns=halt_ns)
    with pytest.raises(Exception, match="mark_halt_ns must be at least mark_stale_ns"):
        Driver([], make_config(underlyings=(underlying,)))


def test_a_replay_has_the_same_stages(venue):
    venue.tick(HALT + 1)
    venue.marks(100_000)
    venue.tick(STALE + 1)
    twin = Engine()
    for record in venue.journal.records:
        twin.apply(record)
    assert twin.state_digest() == venue.engine.state_digest()
    assert twin.mark_state(0) == venue.engine.mark_state(0)
