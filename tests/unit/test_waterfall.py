"""Who pays for a default: the defaulter, the venue's capital, the fund up to the event cap, then the other side."""

import pytest

from exchange import config, invariants
from exchange.commands import CommandKind
from exchange.config_checks import faults
from exchange.events import BalanceCause, EventKind
from exchange.reasons import Reason
from tests.driver import COIN, Driver, kinds, linear_perpetual, make_config, only, perpetual
from tests.unit.test_deleveraging import receipts, until_deleveraged
from tests.unit.test_liquidation import bid, grant, run

NAME = "BTC-PERPETUAL"


def venue(fund_btc=0.0, capital_btc=0.0, **liquidation):
    made = Driver([perpetual(), linear_perpetual()], make_config(liquidation=config.Liquidation(**liquidation)))
    made.marks(100_000)
    for kind, coins in ((CommandKind.ENDOW_FUND, fund_btc), (CommandKind.ENDOW_CAPITAL, capital_btc)):
        if coins:
            made.cold(kind, config.Transfer("BTC", round(coins * COIN)))
    alice, bob = made.account("alice", btc=1), made.account("bob", btc=50)
    made.trade(bob, alice, NAME, "buy", 200_000, 45_000)
    return made, alice, bob


def capital(made):
    return made.engine.ledger("BTC")["capital"]


def sums(found):
    """What each tranche paid, from the events of payments alone."""
    return [
        sum(e.amount_minor for e in found if e.kind == EventKind.CAPITAL_DRAWN),
        sum(e.amount_minor for e in found if e.kind == EventKind.FUND_DRAWN),
        sum(e.loss_minor for e in found if e.kind == EventKind.POSITION_DELEVERAGED),
    ]


def test_capital_comes_and_goes_by_command() -> None:
    made, _, _ = venue()
    (event,) = made.cold(CommandKind.ENDOW_CAPITAL, config.Transfer("BTC", 500, 7))[:1]
    assert (event.account_id, event.cause, event.amount_minor, event.balance_minor, event.reference) == (
        0, BalanceCause.CAPITAL_ENDOWMENT, 500, 500, 7,
    )  # fmt: skip
    (event,) = made.cold(CommandKind.RELEASE_CAPITAL, config.Transfer("BTC", 200))[:1]
    assert (event.cause, event.amount_minor, event.balance_minor) == (BalanceCause.CAPITAL_RELEASE, -200, 300)
    for kind, name, amount, reason in (
        (CommandKind.RELEASE_CAPITAL, "BTC", 301, Reason.INSUFFICIENT_WITHDRAWABLE),
        (CommandKind.RELEASE_CAPITAL, "BTC", 0, Reason.AMOUNT_NOT_POSITIVE),
        (CommandKind.ENDOW_CAPITAL, "BTC", -1, Reason.AMOUNT_NOT_POSITIVE),
        (CommandKind.ENDOW_CAPITAL, "BTC", 1 << 60, Reason.AMOUNT_TOO_LARGE),
        (CommandKind.ENDOW_CAPITAL, "XRP", 1, Reason.UNKNOWN_CURRENCY),
    ):
        assert only(made.cold(kind, config.Transfer(name, amount)), EventKind.COMMAND_REJECTED).reason == reason
    assert capital(made) == 300
    made.sound()


def test_capital_that_carries_everything_leaves_the_fund_alone() -> None:
    made, alice, _ = venue(fund_btc=5, capital_btc=5)
    carol = made.account("carol", btc=50)
    made.marks(75_000)
    found = run(made, 1, 75_000)
    assert EventKind.FUND_LEASE_REQUESTED not in kinds(found)
    (lease,) = made.engine.leases()
    assert (lease.state, lease.requested_minor) == ("granted", 0)
    found = run(made, 10, 75_000)
    bid(made, carol, made.engine.auctions()[0])
    found += run(made, 2, 75_000)
    own, fund, borne = sums(found)
    assert own > 0 == fund == borne and capital(made) == 5 * COIN - own
    assert made.engine.ledger("BTC")["fund"] == 5 * COIN
    covered = only(found, EventKind.DEFAULT_COVERED)
    assert (covered.account_id, covered.capital_minor, covered.fund_minor) == (alice, own, 0)
    assert covered.equity_minor < 0  # the mark jumped past what she had
    assert only(found, EventKind.FUND_LEASE_SETTLED).amount_minor == 0
    made.sound()


def test_every_tranche_is_used_up_before_the_next() -> None:
    made, _, bob = venue(fund_btc=0.3, capital_btc=0.2)
    equity = made.engine.account(bob).equity_usd_e4
    found = until_deleveraged(made, 60_000, amount=round(0.3 * COIN))
    own, fund, borne = sums(found)
    assert (own, fund) == (round(0.2 * COIN), round(0.3 * COIN)) and borne > 0
    assert capital(made) == made.engine.ledger("BTC")["fund"] == 0
    order = [k for k in kinds(found) if k in (EventKind.CAPITAL_DRAWN, EventKind.FUND_DRAWN)]
    assert order == [EventKind.CAPITAL_DRAWN, EventKind.FUND_DRAWN]
    covered = only(found, EventKind.DEFAULT_COVERED)
    assert [covered.capital_minor, covered.fund_minor, covered.deleveraged_minor] == [own, fund, borne]
    assert covered.reason == Reason.DELEVERAGED
    assert made.engine.liquidation.house.leases.covered == {0: [1, own, fund, borne]}
    assert made.engine.account(bob).equity_usd_e4 != equity
    made.sound()


def test_one_default_stops_at_the_event_cap_and_the_rest_is_deleveraged() -> None:
    made, _, _ = venue(fund_btc=1, fund_event_cap_ppm=250_000)
    found = run(made, 2, 60_000)
    (lease,) = made.engine.leases()
    assert lease.requested_minor == COIN // 4
    grant(made, lease)
    found += run(made, 3, 60_000)
    assert made.engine.auctions()[0].reason == Reason.EVENT_CAP_REACHED
    asked = [e for e in found if e.kind == EventKind.FUND_LEASE_REQUESTED]
    assert len(asked) == 1  # the same again would be no use
    found += run(made, 40, 60_000, step=5)
    # a larger claim raises the cap, and it is asked again
    made.cold(CommandKind.ENDOW_FUND, config.Transfer("BTC", COIN))
    found = run(made, 40, 60_000, step=5)
    (lease,) = made.engine.leases()
    assert (lease.state, lease.requested_minor) == ("requested", COIN // 2)
    grant(made, lease)
    found += run(made, 60, 60_000, step=5)
    own, fund, borne = sums(found)
    assert own == 0 and fund == COIN // 2 and borne > 0 and receipts(found)
    made.sound()


def test_a_cap_of_nothing_means_deleveraging_at_once() -> None:
    made, _, _ = venue(fund_btc=5, fund_event_cap_ppm=0)
    found = run(made, 150, 60_000, step=5)
    own, fund, borne = sums(found)
    assert own == fund == 0 < borne
    assert EventKind.FUND_LEASE_REQUESTED not in kinds(found)
    assert only(found, EventKind.DEFAULT_COVERED).deleveraged_minor == borne
    made.sound()


def test_two_defaults_share_the_capital_and_nothing_is_paid_twice(rng) -> None:
    """Random falls, bids and answers: what is reported is what was paid, capital is empty before the fund pays."""
    for _ in range(12):
        made, _, _ = venue(fund_btc=float(rng.uniform(0, 2)), capital_btc=float(rng.uniform(0, 2)), insolvent_ns=10**10)
        others = [made.account(f"t{n}", btc=1) for n in range(3)]
        carol = made.account("carol", btc=200)
        for other in others:
            made.trade(carol, other, NAME, "buy", 200_000, int(rng.integers(20_000, 45_000)))
        found = []
        for _ in range(60):
            index = float(rng.uniform(55_000, 90_000))
            before = capital(made)
            step = run(made, 1, index)
            for lease in made.engine.leases():
                if lease.state == "requested" and rng.random() < 0.6:
                    short = int(rng.random() < 0.3)
                    claim = made.engine.ledger("BTC")["fund"] + lease.used_minor
                    amount = lease.granted_minor if short else min(lease.requested_minor, claim)
                    grant(made, lease, amount, short)
            for auction in made.engine.auctions():
                bid(made, carol, auction, limit=int(auction.price_minor * rng.uniform(0.5, 1.5)))
            own = sum(e.amount_minor for e in step if e.kind == EventKind.CAPITAL_DRAWN)
            assert before - own == capital(made)
            for place, event in enumerate(step):
                if event.kind == EventKind.FUND_DRAWN:
                    assert before == sum(e.amount_minor for e in step[:place] if e.kind == EventKind.CAPITAL_DRAWN)
            found += step
            assert invariants.conserved(made.engine)
        report = [e for e in found if e.kind == EventKind.DEFAULT_COVERED]
        live = made.engine.leases()
        paid = sums(found)
        for place, name in enumerate(("capital_minor", "used_minor")):
            told = sum((e.capital_minor, e.fund_minor)[place] for e in report)
            running = sum(getattr(lease, name) for lease in live if lease.state != "settling")
            assert told + running == paid[place]
        assert sum(e.deleveraged_minor for e in report) == paid[2]
        made.sound()


@pytest.mark.parametrize("ppm", [-1, 1_000_001])
def test_a_cap_out_of_range_is_refused(ppm) -> None:
    (fault,) = faults(make_config(liquidation=config.Liquidation(fund_event_cap_ppm=ppm)))
    assert "fund_event_cap_ppm" in fault


@pytest.mark.parametrize("capital_btc", [0.0, 0.01])
def test_a_grant_that_suffices_is_not_asked_for_again(capital_btc):
    """The phase turns back and forth: what is held covers a smaller need, with capital or without; a larger one is
    asked for."""
    made, _, _ = venue(5.0, capital_btc)
    run(made, 1, 90_000)
    assert EventKind.FUND_LEASE_REQUESTED in kinds(run(made, 1, 75_000))
    (lease,) = made.engine.leases()
    grant(made, lease)
    turned = only(run(made, 1, 85_000), EventKind.AUCTION_PHASE_CHANGED)
    assert turned.phase == 1
    again = run(made, 1, 76_000)
    assert next(e.phase for e in again if e.kind == EventKind.AUCTION_PHASE_CHANGED) == 2
    assert EventKind.FUND_LEASE_REQUESTED not in kinds(again)
    (lease,) = made.engine.leases()
    assert lease.state == "granted" and lease.requested_minor == lease.granted_minor
    run(made, 1, 85_000)
    assert EventKind.FUND_LEASE_REQUESTED in kinds(run(made, 1, 72_000))
    made.sound()
