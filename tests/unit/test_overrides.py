"""Four-eyes overrides of the marks' governance. Rules: docs/marks.md."""

import msgspec
import pytest

from exchange import config, governance
from exchange.commands import CommandKind
from exchange.engine import Engine
from exchange.events import EventKind
from exchange.mark_events import JumpOutcome, OverrideState
from exchange.reasons import Reason
from tests.driver import DAY, SECOND, Driver, future, kinds, make_config, only, perpetual

NAME = "BTC-PERPETUAL"
ANN, BEN, CAT = 1, 2, 3
E8 = 10**8
MINUTE = 60 * SECOND


def governed(**terms):
    underlying = msgspec.structs.replace(make_config().underlyings[0], jump_sources=2, breaker_move_ppm=100_000)
    return make_config(underlyings=(underlying,), governance=governance.Governance(**terms))


@pytest.fixture
def venue():
    made = Driver([perpetual()], governed())
    made.alice, made.bob = made.account("alice", btc=10), made.account("bob", btc=10)
    made.marks(100_000)
    made.trade(made.bob, made.alice, NAME, "buy", 200_000, 1_000)
    return made


def propose(venue, action, value=0, duration_ns=0, operator=ANN, underlying="BTC"):
    payload = governance.ProposeOverride(
        operator=operator, action=action, underlying=underlying, value=value, duration_ns=duration_ns
    )
    return venue.cold(CommandKind.PROPOSE_OVERRIDE, payload)


def decide(venue, decision="approve", operator=BEN, proposal=1):
    payload = governance.DecideOverride(operator=operator, proposal=proposal, decision=decision)
    return venue.cold(CommandKind.DECIDE_OVERRIDE, payload)


def reason(found):
    return only(found, EventKind.COMMAND_REJECTED).reason


def said(found):
    return only(found, EventKind.OVERRIDE_CHANGED)


def stage(venue):
    state = venue.engine.mark_state(0)
    return state.stage, state.age_stage


def test_a_held_jump_is_accepted_by_two_and_taken_with_the_next_update(venue):
    assert EventKind.MARKS_REJECTED in kinds(venue.marks(130_000))
    proposed = said(propose(venue, "accept_jump", 130_000 * E8))
    assert (proposed.proposal, proposed.state, proposed.proposer, proposed.operator_id) == (1, 1, ANN, ANN)
    assert proposed.until_ns == venue.now + 600 * SECOND
    assert reason(decide(venue, operator=ANN)) == Reason.OWN_PROPOSAL
    done = said(decide(venue))
    assert (done.state, done.operator_id, done.value) == (OverrideState.DONE, BEN, 130_000 * E8)
    taken = venue.marks(130_100)
    assert only(taken, EventKind.MARK_JUMP).outcome == JumpOutcome.CONFIRMED
    assert EventKind.MARKS_UPDATED in kinds(taken)
    assert venue.engine.mark_overrides() == ((), ())
    venue.sound()


def test_what_was_proposed_for_one_jump_does_not_pass_another(venue):
    assert reason(propose(venue, "accept_jump", 130_000 * E8)) == Reason.NOTHING_TO_OVERRIDE
    venue.marks(130_000)
    assert reason(propose(venue, "accept_jump", 131_000 * E8)) == Reason.NOTHING_TO_OVERRIDE
    propose(venue, "accept_jump", 130_000 * E8)
    venue.marks(70_000)  # another one replaces it
    assert reason(decide(venue)) == Reason.NOTHING_TO_OVERRIDE
    assert len(venue.engine.mark_overrides()[0]) == 1


def test_a_lifted_stage_lets_orders_in_for_a_time_and_nobody_is_liquidated_meanwhile(venue):
    venue.tick(61 * SECOND)
    assert stage(venue) == ("halt", "halt")
    propose(venue, "lift_stage", 0, 5 * MINUTE)
    found = decide(venue)
    assert said(found).state == OverrideState.IN_FORCE
    assert said(found).until_ns == venue.now + 5 * MINUTE
    assert only(found, EventKind.MARK_STAGE_CHANGED).stage == 0
    assert stage(venue) == ("live", "halt")
    venue.trade(venue.bob, venue.alice, NAME, "buy", 200_000, 10)
    transfer = config.Transfer("BTC", 1)
    assert reason(venue.cold(CommandKind.WITHDRAW, transfer, venue.alice)) == Reason.MARK_STALE
    assert not venue.engine.marks.is_fresh(0, venue.now)
    assert not venue.engine.desk.marks_fresh(venue.alice, venue.now)
    end = venue.engine.mark_overrides()[1][0].until_ns
    assert venue.tick(end - venue.now) == []
    over = venue.tick(1)
    assert kinds(over) == [EventKind.OVERRIDE_CHANGED, EventKind.MARK_STAGE_CHANGED]
    assert (over[0].state, over[0].operator_id, over[1].stage) == (OverrideState.ENDED, 0, 2)
    venue.sound()


def test_a_breach_on_a_lifted_stage_waits_for_marks(venue):
    eve = venue.account("eve", btc=0.06)
    venue.trade(venue.bob, eve, NAME, "buy", 200_000, 2_500)
    venue.tick(61 * SECOND)
    propose(venue, "set_index", 81_000 * E8, MINUTE)
    found = decide(venue)
    assert EventKind.LEVEL_CHANGED in kinds(found)
    for _ in range(3):
        assert EventKind.LIQUIDATION_STARTED not in kinds(venue.tick(SECOND))
    decide(venue, "revoke")
    venue.marks(81_000)
    assert EventKind.LIQUIDATION_STARTED in kinds(venue.tick())
    venue.sound()


def test_an_index_set_by_hand_liquidates_nobody_however_recent_the_feeds_marks_are(venue):
    eve = venue.account("eve", btc=0.06)
    venue.trade(venue.bob, eve, NAME, "buy", 200_000, 2_500)
    propose(venue, "set_index", 81_000 * E8, MINUTE)
    found = decide(venue)
    assert EventKind.LEVEL_CHANGED in kinds(found)
    assert EventKind.MARK_STAGE_CHANGED not in kinds(found)
    assert stage(venue) == ("live", "reduce_only")
    assert EventKind.LIQUIDATION_STARTED not in kinds(venue.tick(SECOND))
    assert reason(venue.cold(CommandKind.WITHDRAW, config.Transfer("BTC", 1), venue.alice)) == Reason.MARK_STALE
    over = decide(venue, "revoke")
    assert only(over, EventKind.MARK_STAGE_CHANGED).stage == 1  # until a feed speaks again
    assert EventKind.LIQUIDATION_STARTED not in kinds(venue.tick())
    assert only(venue.marks(81_000), EventKind.MARK_STAGE_CHANGED).stage == 0
    assert EventKind.LIQUIDATION_STARTED in kinds(venue.tick())
    venue.sound()


def test_a_stage_lifted_to_reduce_only_goes_no_further(venue):
    propose(venue, "lift_stage", 1, MINUTE)
    decide(venue)
    venue.tick(11 * SECOND)
    assert stage(venue) == ("reduce_only", "reduce_only")
    venue.now += 48 * SECOND
    assert kinds(venue.tick(2 * SECOND + 1)) == [EventKind.OVERRIDE_CHANGED, EventKind.MARK_STAGE_CHANGED]


def test_the_pause_of_a_breaker_is_ended_by_hand(venue):
    found = venue.marks(111_000)
    until_ns = only(found, EventKind.BREAKER_TRIPPED).until_ns
    assert venue.engine.mark_state(0).paused_until_ns == until_ns
    assert venue.engine.market(venue.slot(NAME)).state == "auction"
    propose(venue, "resume")
    assert said(decide(venue)).state == OverrideState.DONE
    assert venue.engine.market(venue.slot(NAME)).state == "auction"
    assert only(venue.tick(), EventKind.INSTRUMENT_STATE_CHANGED).state == 1
    assert venue.engine.mark_state(0).paused_until_ns == 0
    assert reason(propose(venue, "resume")) == Reason.NOTHING_TO_OVERRIDE
    venue.sound()


def test_an_operators_auction_is_not_ended_with_the_breakers():
    made = Driver([perpetual(), perpetual("BTC-OTHER")], governed())
    made.marks(100_000)
    made.cold(CommandKind.SET_INSTRUMENT_STATE, config.InstrumentState("BTC-OTHER", "auction", made.now + 10 * MINUTE))
    made.marks(111_000)
    propose(made, "resume")
    decide(made)
    assert only(made.tick(), EventKind.INSTRUMENT_STATE_CHANGED).instrument == made.slot(NAME)
    assert made.engine.market(made.slot("BTC-OTHER")).state == "auction"


def test_an_index_set_by_hand_keeps_feeds_out_and_moves_forwards_along():
    made = Driver([perpetual()], governed())
    assert reason(propose(made, "set_index", 90_000 * E8, MINUTE)) == Reason.NO_MARK
    made.marks(100_000)
    made.now += 30 * SECOND
    propose(made, "set_index", 150_000 * E8, MINUTE)
    found = decide(made)
    updated = only(found, EventKind.MARKS_UPDATED)
    assert updated.index_price_e8 == 150_000 * E8
    assert stage(made) == ("live", "reduce_only")
    assert made.engine.mark_state(0).index_fixed
    refused = only(made.marks(100_000), EventKind.MARKS_REJECTED)
    assert refused.reason == Reason.MARK_OVERRIDDEN
    assert made.engine.index_price(0) == 150_000 * E8
    assert reason(propose(made, "lift_stage", 0, MINUTE)) == Reason.OVERRIDE_IN_FORCE
    assert said(decide(made, "revoke", CAT)).state == OverrideState.REVOKED
    assert EventKind.MARK_JUMP in kinds(made.marks(100_000))  # far from what the hand set: held like any other
    made.sound()


def test_forwards_follow_an_index_set_by_hand_and_a_held_jump_gives_way():
    expiry_ns = 1_780_000_000 * SECOND // DAY * DAY

    made = Driver([perpetual(), future(expiry_ns)], governed())
    made.marks(100_000, forward=102_000)
    made.marks(130_000)
    propose(made, "set_index", 50_000 * E8, MINUTE)
    found = decide(made)
    assert [event.outcome for event in found if event.kind == EventKind.MARK_JUMP] == [
        JumpOutcome.REPLACED, JumpOutcome.CONFIRMED,
    ]  # fmt: skip
    assert made.engine.forwards(0) == {expiry_ns: 51_000 * E8}


def test_proposals_lapse_are_rejected_and_withdrawn(venue):
    for _ in range(3):
        propose(venue, "lift_stage", 0, MINUTE)
    assert said(decide(venue, "reject", BEN, 1)).state == OverrideState.REJECTED
    assert said(decide(venue, "reject", ANN, 2)).state == OverrideState.WITHDRAWN
    assert reason(decide(venue, "approve", BEN, 2)) == Reason.UNKNOWN_PROPOSAL
    until_ns = venue.engine.mark_overrides()[0][0].until_ns
    venue.tick(until_ns - venue.now)
    assert len(venue.engine.mark_overrides()[0]) == 1
    lapsed = said(venue.tick(1))
    assert (lapsed.state, lapsed.proposal, lapsed.operator_id) == (OverrideState.LAPSED, 3, 0)
    assert reason(decide(venue, proposal=3)) == Reason.UNKNOWN_PROPOSAL


@pytest.mark.parametrize(
    ("changes", "wanted"),
    [
        ({"operator": 0}, Reason.UNKNOWN_OPERATOR),
        ({"underlying": "XRP"}, Reason.UNKNOWN_UNDERLYING),
        ({"duration_ns": 0}, Reason.BAD_PAYLOAD),
        ({"duration_ns": 3_600 * SECOND + 1}, Reason.BAD_PAYLOAD),
        ({"value": 2}, Reason.BAD_PAYLOAD),
        ({"action": "resume"}, Reason.BAD_PAYLOAD),
        ({"action": "set_index", "value": 0}, Reason.MARK_OUT_OF_RANGE),
        ({"action": "set_index", "value": 400_001 * E8}, Reason.MARK_OUT_OF_RANGE),
    ],
)
def test_what_cannot_be_is_refused_and_leaves_nothing(venue, changes, wanted):
    digest = venue.engine.overrides.export()
    assert reason(propose(venue, **({"action": "lift_stage", "duration_ns": MINUTE} | changes))) == wanted
    assert venue.engine.overrides.export() == digest == []


def test_there_is_a_limit_to_what_waits():
    made = Driver([perpetual()], governed(max_proposals=2))
    for _ in range(2):
        propose(made, "lift_stage", 0, MINUTE)
    refused = only(propose(made, "lift_stage", 0, MINUTE), EventKind.COMMAND_REJECTED)
    assert (refused.reason, refused.detail) == (Reason.LIMIT_REACHED, 2)


def test_a_replay_and_a_checkpoint_agree(venue):
    venue.tick(61 * SECOND)
    propose(venue, "set_index", 95_000 * E8, MINUTE)
    decide(venue)
    venue.marks(96_000)
    venue.now += 2 * MINUTE
    venue.sequencer.checkpoint()
    venue.tick()
    twin = Engine()
    twin.apply_many(b"".join(venue.journal.records))
    assert twin.state_digest() == venue.engine.state_digest()
    assert twin.mark_overrides() == venue.engine.mark_overrides()
