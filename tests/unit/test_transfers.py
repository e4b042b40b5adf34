"""Transfers between accounts of one owner: who may, how much may leave, once by a nonce, events of both sides."""

import pytest

from exchange import commands, config, events, governance, payloads
from exchange.commands import CommandKind
from exchange.control_events import nonce
from exchange.engine import Engine
from exchange.events import BalanceCause, EventKind
from exchange.reasons import Reason
from tests.driver import COIN, DAY, SECOND, Driver, kinds, linear_perpetual, make_config, only, perpetual

NAME = "BTC-PERPETUAL"
NONCE = "transfer-1"


def made(model="segregated_pm", **terms):
    """alice (main), her second account and one more of hers; bob is somebody else."""
    venue = Driver([perpetual(), linear_perpetual()], make_config(governance=governance.Governance(**terms)))
    venue.alice = venue.account("alice", btc=10, model=model)
    venue.second = venue.account("second", btc=5, usdc=1_000, owner=venue.alice)
    venue.third = venue.account("third", owner=venue.alice)
    venue.bob = venue.account("bob", btc=100)
    venue.marks(100_000)
    return venue


def submit(venue, account_id, destination, amount, currency="BTC", source=0, nonce=""):
    payload = payloads.SubmitTransfer(currency, amount, destination, source, nonce)
    return venue.cold(CommandKind.SUBMIT_TRANSFER, payload, account_id)


def refused(found):
    answer = only(found, EventKind.COMMAND_REJECTED)
    assert set(kinds(found)) <= {EventKind.COMMAND_REJECTED, EventKind.MARK_STAGE_CHANGED}
    return Reason(answer.reason), answer.detail


def test_money_moves_from_one_account_to_the_other_and_both_are_told():
    venue = made()
    found = submit(venue, venue.alice, venue.second, 3 * COIN)
    assert kinds(found) == [
        EventKind.FUNDS_TRANSFERRED, EventKind.BALANCE_CHANGED, EventKind.BALANCE_CHANGED, EventKind.COMMAND_DONE,
    ]  # fmt: skip
    said, out, into, done = found
    assert (said.account_id, said.to_account_id, said.amount_minor, said.currency, said.submitted_by) == (
        venue.alice, venue.second, 3 * COIN, 0, venue.alice,
    )  # fmt: skip
    assert (out.account_id, out.amount_minor, out.balance_minor) == (venue.alice, -3 * COIN, 7 * COIN)
    assert (into.account_id, into.amount_minor, into.balance_minor) == (venue.second, 3 * COIN, 8 * COIN)
    assert {e.cause for e in (out, into)} == {BalanceCause.TRANSFER}
    assert said.transfer_id == out.reference == into.reference == done.detail == 1
    assert (venue.cash(venue.alice), venue.cash(venue.second)) == (7 * COIN, 8 * COIN)
    assert submit(venue, venue.alice, venue.second, 1)[0].transfer_id == 2
    venue.sound()


def test_the_main_account_moves_money_of_the_others_and_nobody_else_does():
    venue = made()
    back = submit(venue, venue.alice, venue.third, COIN, source=venue.second)[0]
    assert (back.account_id, back.to_account_id, back.submitted_by) == (venue.second, venue.third, venue.alice)
    assert (venue.cash(venue.alice), venue.cash(venue.second), venue.cash(venue.third)) == (10 * COIN, 4 * COIN, COIN)
    assert submit(venue, venue.second, venue.alice, COIN)[0].to_account_id == venue.alice
    assert refused(submit(venue, venue.second, venue.second, COIN, source=venue.alice)) == (
        Reason.NOT_MAIN_ACCOUNT, venue.alice,
    )  # fmt: skip
    assert refused(submit(venue, venue.third, venue.alice, COIN, source=venue.second))[0] == Reason.NOT_MAIN_ACCOUNT


def test_a_later_account_that_has_the_number_of_an_owner_is_not_its_main_one():
    """An operator may have numbered an owner as it liked: whoever comes to have that number gains nothing by it."""
    venue = Driver([perpetual()])
    first = venue.account("first", btc=1, owner=2)
    late = venue.account("late", btc=1)
    assert late == 2
    assert refused(submit(venue, late, late, COIN, source=first)) == (Reason.NOT_MAIN_ACCOUNT, first)


def test_refusals_name_what_is_wrong_and_change_nothing():
    venue = made()
    bucket = only(
        venue.cold(CommandKind.SET_MARGIN_MODE, config.SetMarginMode(NAME, "isolated", 1_000), venue.alice),
        EventKind.COMMAND_DONE,
    ).detail
    before = venue.engine.state_digest(), venue.engine.seq
    a, b = venue.alice, venue.second
    wrong = [
        ((99, b, 1), {}, (Reason.UNKNOWN_ACCOUNT, 0)),
        ((bucket, b, 1), {}, (Reason.UNKNOWN_ACCOUNT, 0)),
        ((a, b, 1, "XRP"), {}, (Reason.UNKNOWN_CURRENCY, 0)),
        ((a, b, 0), {}, (Reason.AMOUNT_NOT_POSITIVE, 0)),
        ((a, b, -COIN), {}, (Reason.AMOUNT_NOT_POSITIVE, 0)),
        ((a, b, 2**63), {}, (Reason.AMOUNT_TOO_LARGE, 0)),
        ((a, venue.bob, 1), {}, (Reason.UNKNOWN_SUBACCOUNT, venue.bob)),
        ((a, 99, 1), {}, (Reason.UNKNOWN_SUBACCOUNT, 99)),
        ((a, 0, 1), {}, (Reason.UNKNOWN_SUBACCOUNT, 0)),
        ((a, -1, 1), {}, (Reason.UNKNOWN_SUBACCOUNT, 0)),
        ((a, 2**33 + 1, 1), {}, (Reason.UNKNOWN_SUBACCOUNT, 0)),
        ((a, b, 1), {"source": venue.bob}, (Reason.UNKNOWN_SUBACCOUNT, venue.bob)),
        ((venue.bob, a, 1), {}, (Reason.UNKNOWN_SUBACCOUNT, a)),
        ((a, bucket, 1), {}, (Reason.BUCKET_ACCOUNT, bucket)),
        ((a, b, 1), {"source": bucket}, (Reason.BUCKET_ACCOUNT, bucket)),
        ((a, a, 1), {}, (Reason.SAME_ACCOUNT, a)),
        ((a, b, 1), {"nonce": "short"}, (Reason.BAD_PAYLOAD, 0)),
        ((a, b, 1), {"nonce": "x" * 129}, (Reason.BAD_PAYLOAD, 0)),
        ((a, b, 11 * COIN), {}, (Reason.INSUFFICIENT_WITHDRAWABLE, 10 * COIN)),
    ]
    for given, named, expected in wrong:
        assert refused(submit(venue, *given, **named)) == expected, (given, named)
    assert venue.engine.transfers.export() == []
    assert venue.engine.seq == before[1] + len(wrong)
    assert venue.cash(a) == 10 * COIN
    venue.sound()


def test_an_account_keeps_no_more_than_a_deposit_may_bring_it():
    venue = made()
    most = venue.engine.config.limits.max_balance_minor // 2
    venue.cold(CommandKind.DEPOSIT, config.Transfer("BTC", most - 5 * COIN), venue.second)
    assert refused(submit(venue, venue.alice, venue.second, 1)) == (Reason.AMOUNT_TOO_LARGE, venue.second)


@pytest.mark.parametrize("model", ["segregated_pm", "cross_pm", "segregated_sm", "cross_sm"])
def test_no_more_leaves_than_the_largest_of_the_three_margins_lets(model):
    venue, plain = made(model, stress_ppm=1_500_000), made(model)
    for one in (venue, plain):
        one.trade(one.bob, one.alice, NAME, "buy", 200_000, 20_000)
    payload = governance.AnnounceMargin(underlying="BTC", scale_ppm=1_200_000, effective_ns=0, operator=7)
    current = plain.engine.withdrawable(plain.alice, 0)
    venue.cold(CommandKind.ANNOUNCE_MARGIN, payload)
    least = venue.engine.withdrawable(venue.alice, 0)
    assert 0 < least < current
    assert refused(submit(venue, venue.alice, venue.third, 10 * COIN)) == (Reason.INSUFFICIENT_WITHDRAWABLE, least)
    assert refused(submit(venue, venue.alice, venue.third, current))[0] == Reason.ANNOUNCED_MARGIN
    assert refused(submit(venue, venue.alice, venue.third, least + COIN // 1_000)) == (Reason.STRESSED_MARGIN, least)
    assert submit(venue, venue.alice, venue.third, least)[-1].kind == EventKind.COMMAND_DONE
    venue.sound()


def test_nothing_leaves_on_stale_marks_or_out_of_a_liquidation_and_help_comes_in():
    venue = made()
    venue.trade(venue.bob, venue.second, NAME, "buy", 200_000, 100_000)
    venue.now += 11 * SECOND
    assert refused(submit(venue, venue.second, venue.alice, 1)) == (Reason.MARK_STALE, 0)
    assert submit(venue, venue.alice, venue.third, 1)[-1].kind == EventKind.COMMAND_DONE
    venue.marks(81_000)
    venue.marks(68_000)
    assert EventKind.LIQUIDATION_STARTED in kinds(venue.tick())
    assert refused(submit(venue, venue.second, venue.alice, 1)) == (Reason.ACCOUNT_IN_LIQUIDATION, venue.second)
    assert submit(venue, venue.alice, venue.second, 5 * COIN)[-1].kind == EventKind.COMMAND_DONE
    venue.sound()


def test_a_nonce_makes_a_transfer_happen_once():
    venue = made()
    first = venue.now
    assert submit(venue, venue.alice, venue.second, COIN, nonce=NONCE)[-1].detail == 1
    record = venue.journal.records[-1]
    assert [nonce(fields, tail) for kind, fields, tail in replayed(venue) if kind == EventKind.FUNDS_TRANSFERRED] == [
        NONCE.encode()
    ]
    venue.now += DAY
    venue.marks(100_000)
    again = venue.submit(bytearray(record))
    assert kinds(again) == [EventKind.COMMAND_DONE] and again[0].detail == 1
    assert venue.cash(venue.second) == 6 * COIN
    kept = venue.engine.transfer_by_nonce(venue.alice, NONCE)
    assert (kept.transfer_id, kept.time_ns, kept.amount_minor) == (1, first, COIN)
    for change in ({"amount": 2 * COIN}, {"destination": venue.third}, {"currency": "USDC"}):
        given = {"destination": venue.second, "amount": COIN} | change
        assert refused(submit(venue, venue.alice, nonce=NONCE, **given)) == (Reason.NONCE_USED, 1)
    assert submit(venue, venue.second, venue.alice, COIN, nonce=NONCE)[-1].detail == 2  # a nonce is its account's own
    venue.now += 1
    assert submit(venue, venue.alice, venue.second, COIN, nonce=NONCE)[-1].detail == 3  # forgotten after a day
    assert venue.engine.transfer_by_nonce(venue.bob, NONCE) is None
    venue.sound()


def test_an_account_has_so_many_nonces_within_a_day():
    venue = made()
    for number in range(1_024):
        submit(venue, venue.alice, venue.second, 1, nonce=f"nonce-{number:04}")
    assert refused(submit(venue, venue.alice, venue.second, 1, nonce="one-too-many")) == (Reason.NONCE_LIMIT, 0)
    assert submit(venue, venue.alice, venue.second, 1)[-1].kind == EventKind.COMMAND_DONE
    assert submit(venue, venue.second, venue.alice, 1, nonce="of-another")[-1].kind == EventKind.COMMAND_DONE
    assert submit(venue, venue.alice, venue.second, 1, nonce="nonce-0000")[-1].detail == 1
    venue.now += DAY + 1
    assert submit(venue, venue.alice, venue.second, 1, nonce="one-too-many")[-1].kind == EventKind.COMMAND_DONE
    assert len(venue.engine.transfers.export()[0][1]) == 1


def replayed(venue):
    """Every event of the journal again, from an engine that ends in the same state."""
    engine, found = Engine(), []
    for record in venue.journal.records:
        engine.apply(record)
        found += list(events.records(engine.take_events()))
    assert engine.state_digest() == venue.engine.state_digest()
    assert int.from_bytes(venue.journal.records[-1][:2], "little") == commands.CommandKind.SUBMIT_TRANSFER
    return found
