"""Liquidation of isolated positions: at most the bucket's collateral, tear-up before the fund, then as everybody."""

import pytest

from exchange import commands, config
from exchange.commands import CommandKind
from exchange.events import EventKind
from exchange.reasons import Reason
from tests.driver import COIN, USDC, Driver, linear_perpetual, make_config, only, perpetual
from tests.unit.test_buckets import bucket, move, refused, set_mode
from tests.unit.test_deleveraging import receipts, until_deleveraged
from tests.unit.test_liquidation import run

BTC, LINEAR = "BTC-PERPETUAL", "BTC_USDC-PERPETUAL"


def made_venue(fund_btc=5.0):
    made = Driver([perpetual(), linear_perpetual()], make_config())
    if fund_btc:
        made.cold(CommandKind.ENDOW_FUND, config.Transfer("BTC", round(fund_btc * COIN)))
    made.maker = made.account("maker", btc=10_000, usdc=100_000_000)
    made.alice = made.account("alice", btc=10, usdc=1_000_000)
    made.marks(100_000)
    return made


def isolated(venue, account, side, lots, leverage=50, name=BTC):
    """A position in a bucket; its account."""
    set_mode(venue, account, name, leverage=leverage)
    venue.trade(venue.maker, account, name, side, 200_000 if name == BTC else 1_000_000, lots)
    return bucket(venue, account, name).bucket_account_id


def torn_up(found):
    return [e for e in found if e.kind == EventKind.POSITION_TORN_UP]


def drawn(found):
    return sum(e.amount_minor for e in found if e.kind == EventKind.FUND_DRAWN)


def test_a_liquidation_takes_at_most_the_buckets_collateral() -> None:
    venue = made_venue()
    own = isolated(venue, venue.alice, "buy", 100_000)
    left = venue.cash(venue.alice)
    found = until_deleveraged(venue, 97_000)
    started = only(found, EventKind.LIQUIDATION_STARTED)
    assert (started.account_id, drawn(found) > 0) == (own, True)
    assert not torn_up(found)
    assert venue.cash(own) == 0 and venue.cash(venue.alice) == left
    assert venue.engine.positions(own) == []
    assert receipts(found)[0].from_account_id == own
    assert not venue.engine.account(venue.alice).in_liquidation
    # the bucket is as it was, for the next position
    assert bucket(venue, venue.alice).collateral_minor == 0
    venue.trade(venue.maker, venue.alice, BTC, "sell", 194_000, 1_000)
    assert bucket(venue, venue.alice).bucket_account_id == own
    venue.sound()


def test_what_is_left_after_a_sale_goes_back_to_the_holder() -> None:
    venue = made_venue()
    own = isolated(venue, venue.alice, "buy", 100_000)
    bidder = venue.account("bidder", btc=100)
    left = venue.cash(venue.alice)
    found = run(venue, 1, 98_400)
    auction = only(found, EventKind.AUCTION_OPENED)
    assert auction.phase == 1
    assert refused(set_mode(venue, venue.alice, mode="cross")) == Reason.ACCOUNT_IN_LIQUIDATION
    assert refused(move(venue, venue.alice, -1)) == Reason.ACCOUNT_IN_LIQUIDATION
    venue.submit(place_bid(bidder, auction.auction_id, auction.price_minor))
    found = run(venue, 2, 98_400)
    sold = only(found, EventKind.AUCTION_LOT_SOLD)
    assert (sold.account_id, sold.buyer_account_id) == (own, bidder)
    assert only(found, EventKind.LIQUIDATION_ENDED).reason in (Reason.RESTORED, Reason.CLOSED_OUT)
    if not venue.engine.positions(own):
        assert venue.cash(own) == 0 and venue.cash(venue.alice) > left
    else:
        assert venue.cash(venue.alice) == left
        view = bucket(venue, venue.alice)
        assert view.equity_minor > view.maintenance_margin_minor
    venue.sound()


def place_bid(account, auction_id, limit):
    return commands.record(
        CommandKind.PLACE_BID, account, auction_id=auction_id, phase=1, share_ppm=1_000_000, limit_minor=limit, key_id=1
    )


def test_added_collateral_cures() -> None:
    venue = made_venue()
    own = isolated(venue, venue.alice, "buy", 100_000)
    run(venue, 1, 98_400)
    assert venue.engine.account(own).in_liquidation
    assert only(move(venue, venue.alice, COIN), EventKind.COMMAND_DONE)
    assert only(run(venue, 1, 98_400), EventKind.LIQUIDATION_ENDED).reason == Reason.RESTORED
    assert bucket(venue, venue.alice).equity_minor > COIN
    venue.sound()


def test_a_bidder_cannot_have_beside_its_bucket_what_it_holds_in_it() -> None:
    venue = made_venue()
    isolated(venue, venue.alice, "buy", 100_000)
    bidder = venue.account("bidder", btc=100)
    set_mode(venue, bidder)
    auction = only(run(venue, 1, 98_400), EventKind.AUCTION_OPENED)
    venue.submit(place_bid(bidder, auction.auction_id, auction.price_minor))
    assert only(run(venue, 2, 98_400), EventKind.BID_REJECTED).reason == Reason.ISOLATED_POSITION


def two_sides(lots=100_000, opposite=100_000, fund_btc=5.0):
    """Alice long in a bucket, her other account short in one: (venue, long bucket, other account, short bucket)."""
    venue = made_venue(fund_btc)
    long = isolated(venue, venue.alice, "buy", lots)
    other = venue.account("alice-2", btc=10, owner=venue.alice)
    short = isolated(venue, other, "sell", opposite)
    return venue, long, other, short


def test_an_opposite_bucket_is_torn_up_before_the_fund() -> None:
    venue, long, other, short = two_sides()
    long_paid, before = 10 * COIN - venue.cash(venue.alice), venue.cash(other)
    venue.marks(97_000)
    deficit = -bucket(venue, venue.alice).equity_minor
    gained = bucket(venue, other).equity_minor
    assert 0 < deficit < gained
    found = run(venue, 1, 97_000)
    (receipt,) = torn_up(found)
    assert (receipt.account_id, receipt.from_account_id, receipt.quantity_lots) == (short, long, 100_000)
    assert (receipt.loss_minor, receipt.rank) == (deficit, 1)
    assert only(found, EventKind.AUCTION_CLOSED).reason == Reason.TORN_UP
    assert not [e for e in found if e.kind in (EventKind.FUND_LEASE_REQUESTED, EventKind.FUND_DRAWN)]
    assert venue.engine.ledger("BTC")["fund"] == 5 * COIN
    # both buckets are empty: the long one lost what it had, the short one has given the difference up and pays out
    assert venue.cash(long) == venue.cash(short) == 0
    assert venue.cash(venue.alice) == 10 * COIN - long_paid
    assert venue.cash(other) == before + gained - deficit
    venue.sound()


def test_the_bankruptcy_price_is_the_price_of_a_tear_up() -> None:
    venue, long, _, short = two_sides()
    price = bucket(venue, venue.alice).bankruptcy_price_e8 / 10**8
    (receipt,) = torn_up(run(venue, 1, 97_000))
    # an inverse position of so many dollars, for so many coins
    assert 100_000 * 10 / (-receipt.cost_minor / COIN) == pytest.approx(price, rel=1e-6)
    assert receipt.account_id == short
    assert receipt.from_account_id == long


def test_what_opposite_buckets_cannot_take_comes_to_the_fund() -> None:
    venue, long, _, short = two_sides(opposite=40_000)
    venue.marks(97_000)
    deficit = -bucket(venue, venue.alice).equity_minor
    found = run(venue, 1, 97_000)
    (receipt,) = torn_up(found)
    assert (receipt.quantity_lots, receipt.loss_minor) == (40_000, deficit * 4 // 10)
    asked = only(found, EventKind.FUND_LEASE_REQUESTED)
    left = -venue.engine.account(long).currencies[0].equity_minor
    assert left == deficit - deficit * 4 // 10
    assert asked.amount_minor >= left
    assert venue.engine.positions(short) == []
    venue.sound()


def test_no_bucket_is_torn_up_beyond_its_own_equity() -> None:
    """The short bucket was opened near the low: it has little to give."""
    venue = made_venue()
    long = isolated(venue, venue.alice, "buy", 100_000)
    other = venue.account("alice-2", btc=10, owner=venue.alice)
    venue.marks(98_200)
    set_mode(venue, other, leverage=100)
    venue.trade(venue.maker, other, BTC, "sell", 196_200, 100_000)
    short = bucket(venue, other).bucket_account_id
    venue.marks(96_000)
    deficit, has = -bucket(venue, venue.alice).equity_minor, bucket(venue, other).equity_minor
    assert has > 0
    # the move against the long one since it opened is more than the short one has won and put up
    venue.marks(95_000)
    deficit, has = -bucket(venue, venue.alice).equity_minor, bucket(venue, other).equity_minor
    found = run(venue, 1, 95_000)
    parts = torn_up(found)
    borne = sum(p.loss_minor for p in parts)
    assert borne <= has
    if deficit > has:
        assert parts[0].quantity_lots == (has - 1) * 100_000 // deficit
        assert venue.engine.account(short).currencies[0].equity_minor >= 0
    assert venue.engine.account(long).currencies[0].equity_minor <= 0
    venue.sound()


def test_others_buckets_and_own_positions_outside_buckets_are_left_alone() -> None:
    venue = made_venue()
    long = isolated(venue, venue.alice, "buy", 100_000)
    outside = venue.account("alice-2", btc=100, owner=venue.alice)
    venue.trade(venue.maker, outside, BTC, "sell", 200_000, 100_000)
    stranger = venue.account("stranger", btc=10)
    short = isolated(venue, stranger, "sell", 100_000)
    found = run(venue, 1, 97_000)
    assert not torn_up(found)
    assert only(found, EventKind.FUND_LEASE_REQUESTED).account_id == long
    assert len(venue.engine.positions(short)) == len(venue.engine.positions(outside)) == 1


def test_a_linear_bucket_is_torn_up_in_dollars() -> None:
    venue = made_venue()
    venue.cold(CommandKind.ENDOW_FUND, config.Transfer("USDC", 100_000 * USDC))
    long = isolated(venue, venue.alice, "buy", 1_000, name=LINEAR)
    other = venue.account("alice-2", usdc=100_000, owner=venue.alice)
    short = isolated(venue, other, "sell", 1_000, name=LINEAR)
    found = run(venue, 1, 97_000)
    (receipt,) = torn_up(found)
    assert (receipt.account_id, receipt.from_account_id) == (short, long)
    assert receipt.cost_minor == 97_000 * USDC + receipt.loss_minor
    assert venue.engine.ledger("USDC")["fund"] == 100_000 * USDC
    assert venue.cash(long, 1) == venue.cash(short, 1) == 0
    venue.sound()


def test_deleveraging_leaves_no_debt_in_a_bucket_while_others_can_bear_it() -> None:
    """A short bucket of little collateral ranks first; what it cannot bear goes to the next."""
    venue = made_venue(fund_btc=0)
    venue.marks(98_000)
    big, small = venue.account("big", btc=2, model="segregated_sm"), venue.account("small", btc=1)
    venue.trade(venue.maker, big, BTC, "buy", 196_000, 100_000)
    venue.marks(80_000)
    set_mode(venue, small, leverage=100)
    venue.trade(venue.account("buyer", btc=1_000), small, BTC, "sell", 160_000, 60_000)
    short = bucket(venue, small).bucket_account_id
    deficit, has = -venue.view(big).equity_minor, bucket(venue, small).equity_minor
    assert deficit * 6 // 10 > has > 0
    found = until_deleveraged(venue, 80_000, amount=0)
    first, second = receipts(found)
    assert (first.account_id, first.rank, first.quantity_lots) == (short, 1, (has - 1) * 100_000 // deficit)
    assert (second.account_id, second.rank) == (venue.maker, 2)
    assert first.loss_minor + second.loss_minor == deficit
    assert 0 < has - first.loss_minor < has
    assert venue.engine.account(short).currencies[0].equity_minor >= 0
    venue.sound()
