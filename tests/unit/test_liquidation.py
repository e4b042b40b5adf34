"""Liquidation end to end in the engine: stages, shares, leases, and that nothing is socialised."""

import itertools

import pytest

from exchange import commands, config
from exchange.commands import CommandKind
from exchange.engine import InvariantBroken
from exchange.events import EventKind
from exchange.reasons import Reason
from tests.driver import (
    COIN,
    SECOND,
    START_NS,
    USDC,
    Driver,
    future,
    kinds,
    linear_perpetual,
    make_config,
    only,
    perpetual,
)  # fmt: skip

NAME = "BTC-PERPETUAL"
PPM = 1_000_000


def leveraged(model="segregated_pm", fund_btc=5.0, lots=45_000, configuration=None):
    """Alice, long 450,000 USD on one coin (or its worth in USDC); bob holds the other side; carol may bid."""
    venue = Driver([perpetual(), linear_perpetual()], configuration)
    venue.marks(100_000)
    if model == "segregated_pm":
        alice = venue.account("alice", btc=1)
    else:
        alice = venue.account("alice", usdc=100_000, model=model)
    bob, carol = venue.account("bob", btc=50, usdc=10**6), venue.account("carol", btc=50, usdc=10**6)
    if fund_btc:
        venue.cold(CommandKind.ENDOW_FUND, config.Transfer("BTC", round(fund_btc * COIN)))
        venue.cold(CommandKind.ENDOW_FUND, config.Transfer("USDC", round(fund_btc * 100_000 * USDC)))
    venue.trade(bob, alice, NAME, "buy", 200_000, lots)
    return venue, alice, bob, carol


def bid(venue, account, auction, share_ppm=PPM, limit=None, phase=None):
    return venue.submit(
        commands.record(
            CommandKind.PLACE_BID,
            account,
            auction_id=auction.auction_id,
            phase=auction.phase if phase is None else phase,
            share_ppm=share_ppm,
            limit_minor=auction.price_minor if limit is None else limit,
        )
    )


def grant(venue, lease, amount=None, exhausted=0):
    return venue.submit(
        commands.record(
            CommandKind.GRANT_FUND_LEASE,
            lease_id=lease.lease_id,
            amount_minor=lease.requested_minor if amount is None else amount,
            exhausted=exhausted,
        )
    )


def run(venue, seconds, index, step=1):
    """Ticks with fresh marks; returns all events."""
    found = []
    for _ in range(int(seconds / step)):
        venue.now += int(step * SECOND)
        found += venue.marks(index)
        found += venue.tick()
    return found


@pytest.mark.parametrize("model", ["segregated_pm", "cross_pm"])
def test_breach_cancels_orders_and_opens_one_auction(model):
    venue, alice, _, _ = leveraged(model, lots=40_000)
    assert kinds(venue.place(alice, NAME, "sell", 220_000, 10)) == [EventKind.ORDER_ACCEPTED]
    found = run(venue, 1, 92_000) + run(venue, 1, 84_000)
    started = only(found, EventKind.LIQUIDATION_STARTED)
    assert started.account_id == alice
    assert only(found, EventKind.ORDER_CANCELLED).reason == Reason.AUTO_LIQUIDATION
    assert only(found, EventKind.AUCTION_OPENED).phase == 1
    assert venue.engine.account(alice).in_liquidation
    refused = only(venue.place(alice, NAME, "sell", 180_000, 10), EventKind.ORDER_REJECTED)
    assert refused.reason == Reason.ACCOUNT_IN_LIQUIDATION
    withdrawal = venue.cold(CommandKind.WITHDRAW, config.Transfer("BTC", 1), alice)
    assert only(withdrawal, EventKind.COMMAND_REJECTED).reason == Reason.ACCOUNT_IN_LIQUIDATION
    venue.sound()


def test_level_events_come_on_transitions_only():
    venue, alice, _, _ = leveraged()
    levels = []
    for index in (97_000, 96_900, 96_800, 94_000, 93_900, 93_800):
        levels += [(e.previous_level, e.level) for e in venue.marks(index) if e.kind == EventKind.LEVEL_CHANGED]
    assert levels == [(0, 1), (1, 2)]
    assert venue.engine.counters().below_maintenance == 1
    assert venue.engine.account(alice).level == 2


def test_every_configured_warning_is_an_event_of_its_own():
    ratios = (2_000_000, 1_500_000, 1_250_000, 1_100_000)
    configuration = make_config(liquidation=config.Liquidation(warning_ppm=ratios))
    venue, _, _, _ = leveraged(lots=30_000, configuration=configuration)
    passed = []
    for index in [*range(100_000, 84_000, -100), *range(84_000, 100_000, 100)]:
        for event in venue.marks(index):
            if event.kind == EventKind.LEVEL_CHANGED:
                passed.append((event.previous_level, event.previous_warning_ppm, event.level, event.warning_ppm))
                ratio = event.equity_minor * PPM / event.requirement_minor
                edges = [1e9, *ratios, PPM, -1e9]
                place = edges.index(event.warning_ppm) if event.level == 1 else 0 if event.level == 0 else 5
                assert edges[place + 1] <= ratio < edges[place]
    down = [(0, 0, 1, ratios[0]), *((1, a, 1, b) for a, b in itertools.pairwise(ratios)), (1, ratios[-1], 2, 0)]
    assert passed[:5] == down
    assert passed[5:] == [(c, d, a, b) for a, b, c, d in reversed(down)]
    venue.sound()


@pytest.mark.parametrize("ratios", [(), (1_250_000, 1_250_000), (999_999,), (1_100_000, 1_250_000), (10_000_001,)])
def test_warnings_must_descend_to_the_maintenance_margin(ratios):
    with pytest.raises(InvariantBroken, match="warnings"):
        Driver([], make_config(liquidation=config.Liquidation(warning_ppm=ratios)))


def test_asking_price_falls_fast_then_slowly():
    venue, _, _, _ = leveraged()
    run(venue, 1, 94_000)
    discounts = []
    for _ in range(8):
        auction = venue.engine.auctions()[0]
        discounts.append(auction.price_minor / auction.value_minor)
        run(venue, 20, 94_000, step=5)
    assert discounts[0] == pytest.approx(0.95, abs=0.01)
    falls = [a - b for a, b in itertools.pairwise(discounts)]
    assert min(falls) > 0
    assert falls[0] == pytest.approx((0.95 - 0.70) / 3, rel=0.02)
    assert falls[-1] == pytest.approx(0.70 * 20 / 300, rel=0.05)


@pytest.mark.parametrize("model", ["segregated_pm", "cross_pm"])
def test_no_more_is_sold_than_restores_the_buffer(model):
    venue, alice, _, carol = leveraged(model, lots=45_000)
    index = 92_500 if model == "segregated_pm" else 89_500
    run(venue, 1, 94_000)
    run(venue, 1, index)
    auction = venue.engine.auctions()[0]
    assert kinds(bid(venue, carol, auction)) == [EventKind.BID_ACCEPTED]
    found = run(venue, 2, index)
    sold = [e for e in found if e.kind == EventKind.AUCTION_LOT_SOLD]
    assert sum(e.share_ppm for e in sold) < PPM
    assert only(found, EventKind.AUCTION_CLOSED).reason == Reason.RESTORED
    account = venue.engine.account(alice)
    assert not account.in_liquidation
    health = account.equity_usd_e4 / account.maintenance_margin_usd_e4
    assert 1.15 <= health < 1.16
    # nothing but the price difference and the disclosed fee has left the owner
    assert venue.engine.positions_room.lots(carol, venue.slot(NAME)) == sum(
        e.quantity_lots for e in found if e.kind == EventKind.POSITION_TRANSFERRED
    )
    venue.sound()


def test_uniform_batch_serves_the_higher_limit_first():
    venue, alice, _, carol = leveraged()
    dave = venue.account("dave", btc=50)
    run(venue, 1, 92_500)
    auction = venue.engine.auctions()[0]
    bid(venue, dave, auction, share_ppm=100_000, limit=auction.price_minor + 1)
    bid(venue, carol, auction, share_ppm=100_000, limit=auction.price_minor + 100)
    found = run(venue, 1, 92_500)
    sold = [e for e in found if e.kind == EventKind.AUCTION_LOT_SOLD]
    assert [e.buyer_account_id for e in sold] == [carol, dave]
    assert venue.engine.account(alice).in_liquidation
    venue.sound()


def test_a_standing_limit_shrinks_with_what_remains():
    """A limit is for all that remains: after a fifth is sold to somebody it must not pay a quarter more per lot."""
    venue, _, bob, carol = leveraged()
    run(venue, 1, 92_500)
    auction = venue.engine.auctions()[0]
    limit = auction.value_minor * 80 // 100
    bid(venue, carol, auction, share_ppm=100_000, limit=limit)
    bid(venue, bob, auction, share_ppm=200_000, limit=auction.value_minor)
    found = run(venue, 1, 92_500)
    assert [e.buyer_account_id for e in found if e.kind == EventKind.AUCTION_LOT_SOLD] == [bob]
    found = []
    while EventKind.AUCTION_LOT_SOLD not in kinds(found):
        left = venue.engine.auctions()[0]
        found = run(venue, 1, 92_500)
    sold = only(found, EventKind.AUCTION_LOT_SOLD)
    assert sold.buyer_account_id == carol
    # 80 % for what was there when it bid, and par for the proceeds of the first sale
    proceeds = 0.2 * 0.947 * 0.98
    wished = (0.8 * 0.8 + proceeds) / (0.8 + proceeds)
    assert sold.price_minor / (left.value_minor * sold.share_ppm / PPM) == pytest.approx(wished, abs=0.01)
    venue.sound()


def test_a_bid_waits_until_the_price_has_fallen_to_its_limit():
    venue, _, _, carol = leveraged()
    run(venue, 1, 92_500)
    auction = venue.engine.auctions()[0]
    bid(venue, carol, auction, limit=auction.value_minor * 80 // 100)
    found = run(venue, 20, 92_500)
    assert EventKind.AUCTION_LOT_SOLD not in kinds(found)
    found = run(venue, 30, 92_500)
    assert only(found, EventKind.AUCTION_CLOSED).reason == Reason.RESTORED


def test_who_may_not_bid():
    venue, alice, bob, carol = leveraged()
    sibling = venue.account("alice2", btc=50, owner=alice)
    poor = venue.account("poor", btc=0.001)
    run(venue, 1, 92_500)
    auction = venue.engine.auctions()[0]

    def refused(account, **changes):
        return only(bid(venue, account, auction, **changes), EventKind.BID_REJECTED).reason

    assert refused(sibling) == Reason.OWN_GROUP
    assert refused(alice) == Reason.OWN_GROUP
    assert refused(carol, phase=2) == Reason.WRONG_PHASE
    assert refused(carol, share_ppm=0) == Reason.SHARE_OUT_OF_RANGE
    assert refused(carol, share_ppm=PPM + 1) == Reason.SHARE_OUT_OF_RANGE
    assert refused(999) == Reason.UNKNOWN_ACCOUNT
    bid(venue, poor, auction)
    found = run(venue, 1, 92_500)
    assert only(found, EventKind.BID_REJECTED).reason == Reason.BIDDER_MARGIN
    assert venue.engine.positions(poor) == []
    # bob is short: taking the long side lowers his requirement, so the lane rule lets him
    assert kinds(bid(venue, bob, auction)) == [EventKind.BID_ACCEPTED]
    assert EventKind.AUCTION_LOT_SOLD in kinds(run(venue, 2, 92_500))
    venue.sound()


def test_stale_marks_stop_the_clock():
    venue, _, _, _ = leveraged()
    run(venue, 1, 92_500)
    before = venue.engine.auctions()[0]
    venue.tick(60 * SECOND)
    stale = venue.engine.auctions()[0]
    assert stale.phase_ns == before.phase_ns
    assert stale.reason == Reason.STALE_MARKS
    venue.marks(92_500)
    venue.tick(SECOND)
    assert venue.engine.auctions()[0].phase_ns == before.phase_ns + SECOND


def test_nothing_starts_on_stale_marks():
    venue, alice, _, _ = leveraged()
    venue.marks(92_500)
    venue.tick(60 * SECOND)
    assert not venue.engine.account(alice).in_liquidation
    venue.marks(92_400)
    venue.tick(SECOND)
    assert venue.engine.account(alice).in_liquidation


@pytest.mark.parametrize("model", ["segregated_pm", "cross_pm"])
def test_insolvent_phase_is_paid_by_the_fund_from_a_lease(model):
    venue, alice, _, carol = leveraged(model, lots=45_000 if model == "segregated_pm" else 42_000)
    index = 75_000
    venue.marks(index)
    found = run(venue, 1, index)
    assert only(found, EventKind.AUCTION_OPENED).phase == 2
    requested = only(found, EventKind.FUND_LEASE_REQUESTED)
    lease = venue.engine.leases()[0]
    assert lease.requested_minor == requested.amount_minor > 0
    currency = lease.currency
    fund = venue.engine.ledger(currency)["fund"]
    bid(venue, carol, venue.engine.auctions()[0])
    refused = run(venue, 1, index)
    assert only(refused, EventKind.BID_REJECTED).reason == Reason.AWAITING_LEASE
    assert kinds(grant(venue, lease)) == [EventKind.FUND_LEASE_GRANTED]
    run(venue, 10, index)
    auction = venue.engine.auctions()[0]
    assert auction.price_minor < 0
    before = venue.engine.account(carol).equity_usd_e4
    bid(venue, carol, auction)
    found = run(venue, 2, index)
    sold = only(found, EventKind.AUCTION_LOT_SOLD)
    drawn = [e for e in found if e.kind == EventKind.FUND_DRAWN]
    assert only(found, EventKind.AUCTION_CLOSED).reason == Reason.CLOSED_OUT
    # the price includes the account's own deficit: what the bidder gains is the compensation above it
    assert sum(e.amount_minor for e in drawn) >= sold.compensation_minor > 0
    account = venue.engine.account(alice)
    assert all(abs(c.equity_minor) <= 1000 for c in account.currencies if c.currency == currency)
    assert not account.in_liquidation
    assert venue.engine.account(carol).equity_usd_e4 > before
    assert venue.engine.ledger(currency)["fund"] == fund - sum(e.amount_minor for e in drawn)
    settled = only(found, EventKind.FUND_LEASE_SETTLED)
    assert settled.amount_minor == sum(e.amount_minor for e in drawn)
    done = commands.record(CommandKind.SETTLE_FUND_LEASE, lease_id=lease.lease_id, used_minor=settled.amount_minor)
    assert kinds(venue.submit(done)) == []
    assert venue.engine.leases() == []
    venue.sound()


def test_solvent_phase_without_bids_turns_insolvent_and_waits_for_bids():
    venue, alice, _, carol = leveraged()
    run(venue, 1, 92_500)
    found = run(venue, 365, 92_500, step=5)
    changed = [e for e in found if e.kind == EventKind.AUCTION_PHASE_CHANGED]
    assert changed[0].phase == 2
    grant(venue, venue.engine.leases()[0])
    run(venue, 110, 92_500, step=5)
    auction = venue.engine.auctions()[0]
    assert auction.reason == Reason.AWAITING_BIDS
    assert venue.engine.account(alice).in_liquidation
    # the compensation rises to its cap
    cap = auction.requirement_minor // 2
    assert 0.9 * cap < -auction.price_minor <= cap + 1
    bid(venue, carol, auction)
    assert only(run(venue, 2, 92_500), EventKind.AUCTION_CLOSED).reason == Reason.CLOSED_OUT
    venue.sound()


def test_empty_fund_leaves_the_account_in_liquidation_and_socialises_nothing():
    venue, alice, bob, carol = leveraged(fund_btc=0)
    equities = {a: venue.engine.account(a).currencies[0].cash_minor for a in (bob, carol)}
    run(venue, 1, 75_000)
    run(venue, 1, 75_000)
    lease = venue.engine.leases()[0]
    grant(venue, lease, amount=0, exhausted=1)
    run(venue, 2, 75_000)
    auction = venue.engine.auctions()[0]
    assert auction.reason == Reason.FUND_EXHAUSTED
    assert venue.engine.account(alice).liquidation_reason == Reason.FUND_EXHAUSTED
    bid(venue, carol, auction)
    found = run(venue, 1, 75_000)
    assert only(found, EventKind.BID_REJECTED).reason == Reason.FUND_EXHAUSTED
    assert {a: venue.engine.account(a).currencies[0].cash_minor for a in (bob, carol)} == equities
    assert venue.engine.ledger("BTC")["fund"] == 0
    # it asks again after a while, so that a refilled fund is used
    assert EventKind.FUND_LEASE_REQUESTED in kinds(run(venue, 31, 75_000))
    venue.sound()


def test_partial_grant_sells_what_it_carries():
    venue, alice, _, carol = leveraged(fund_btc=0.2)
    run(venue, 1, 75_000)
    run(venue, 1, 75_000)
    lease = venue.engine.leases()[0]
    grant(venue, lease, amount=round(0.2 * COIN), exhausted=1)
    auction = venue.engine.auctions()[0]
    bid(venue, carol, auction, share_ppm=200_000)
    found = run(venue, 1, 75_000)
    sold = only(found, EventKind.AUCTION_LOT_SOLD)
    assert sold.share_ppm == 200_000
    assert venue.engine.account(alice).in_liquidation
    assert venue.engine.ledger("BTC")["fund"] == round(0.2 * COIN) - sold.compensation_minor
    venue.sound()


def test_a_grant_beyond_the_claim_or_the_request_is_refused():
    venue, _, _, _ = leveraged(fund_btc=0.1)
    run(venue, 1, 75_000)
    run(venue, 1, 75_000)
    lease = venue.engine.leases()[0]
    for amount in (lease.requested_minor, lease.requested_minor * 2):
        assert only(grant(venue, lease, amount), EventKind.COMMAND_REJECTED).reason == Reason.AMOUNT_TOO_LARGE
    unknown = commands.record(CommandKind.GRANT_FUND_LEASE, lease_id=77, amount_minor=1)
    assert only(venue.submit(unknown), EventKind.COMMAND_REJECTED).reason == Reason.UNKNOWN_LEASE


def test_deposit_cures():
    venue, alice, _, _ = leveraged()
    run(venue, 1, 92_500)
    venue.cold(CommandKind.DEPOSIT, config.Transfer("BTC", COIN), alice)
    found = run(venue, 1, 92_500)
    assert only(found, EventKind.AUCTION_CLOSED).reason == Reason.RESTORED
    assert venue.engine.account(alice).level == 0


def test_one_mark_queues_everybody_and_ticks_drain_a_bounded_number():
    configuration = make_config(liquidation=config.Liquidation(work_per_tick=3))
    venue = Driver([perpetual()], configuration)
    venue.marks(100_000)
    bob = venue.account("bob", btc=100)
    accounts = [venue.account(f"small{i}", btc=0.1) for i in range(10)]
    for account in accounts:
        venue.trade(bob, account, NAME, "buy", 200_000, 4_500)
    venue.now += SECOND
    venue.marks(93_000)
    opened = []
    for _ in range(4):
        found = venue.tick(SECOND // 10)
        opened.append([e.account_id for e in found if e.kind == EventKind.LIQUIDATION_STARTED])
    assert opened == [accounts[0:3], accounts[3:6], accounts[6:9], accounts[9:]]
    venue.sound()


def test_a_bid_on_what_has_expired_meanwhile_is_refused():
    """The position has settled, the debt waits for the fund: there is nothing to sell any more."""
    expiry_ns = START_NS + 60 * SECOND
    venue = Driver([perpetual(), future(expiry_ns)])
    name = future(expiry_ns).name
    alice, bob, carol = (venue.account(name, btc=btc) for name, btc in (("alice", 1), ("bob", 50), ("carol", 50)))
    venue.marks(100_000)
    venue.trade(bob, alice, name, "buy", 200_000, 45_000)
    run(venue, 1, 90_000)
    found = run(venue, 45, 75_000)
    assert EventKind.FUND_LEASE_REQUESTED in kinds(found)
    (auction,) = venue.engine.auctions()
    assert auction.phase == 2
    venue.now = expiry_ns
    assert EventKind.POSITION_SETTLED in kinds(venue.tick())
    assert venue.engine.positions(alice) == [] and venue.engine.auctions()
    assert only(bid(venue, carol, auction, limit=0), EventKind.BID_ACCEPTED).account_id == carol
    venue.now += SECOND
    assert only(venue.tick(), EventKind.BID_REJECTED).reason == Reason.SHARE_OUT_OF_RANGE
    venue.sound()
