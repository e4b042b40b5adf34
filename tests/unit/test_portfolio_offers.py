"""Portfolios offered for sale in the engine: offers, sealed bids, one sale, their ends, what a replay remembers."""

import pytest

from exchange import commands, config, payloads
from exchange.commands import CommandKind
from exchange.control_events import OfferOutcome
from exchange.engine import Engine
from exchange.events import EventKind
from exchange.reasons import Reason
from exchange.trading.offers import MAX_BIDS, MAX_OFFERS
from tests.driver import DAY, SECOND, START_NS, Driver, kinds, linear_perpetual, only, option, patient, perpetual

NAME, LINEAR = "BTC-PERPETUAL", "BTC_USDC-PERPETUAL"
EXPIRY = START_NS // DAY * DAY + 8 * 3_600 * SECOND + DAY
CALL = option(100_000, "call", EXPIRY)
SHORT = option(110_000, "call", EXPIRY, name="BTC-SOON")


@pytest.fixture
def venue():
    """alice is long 3,000 lots of the perpetual and short 5 calls; bob and carol may bid."""
    made = Driver([perpetual(), CALL, linear_perpetual(), SHORT], patient())
    made.alice, made.bob, made.carol = (made.account(name, btc=3) for name in ("alice", "bob", "carol"))
    made.house = made.account("house", btc=1_000)
    made.marks(100_000)
    made.trade(made.house, made.alice, NAME, "buy", 200_000, 30_000)
    made.mark = made.engine.market(made.slot(CALL.name)).mark_price_e8 // 10_000
    made.trade(made.house, made.alice, CALL.name, "sell", made.mark, 5)
    return made


def offer(venue, account, legs, seconds=60):
    chosen = tuple(payloads.OfferLeg(venue.slot(name), lots) for name, lots in legs.items())
    payload = payloads.OfferPortfolio(chosen, venue.now + seconds * SECOND)
    return venue.cold(CommandKind.OFFER_PORTFOLIO, payload, account)


def bid(venue, account, *prices, offer_id=1):
    return venue.cold(CommandKind.BID_PORTFOLIO, payloads.BidPortfolio(offer_id, prices), account)


def close(venue, account, bid_id=0, offer_id=1):
    return venue.cold(CommandKind.CLOSE_PORTFOLIO_OFFER, payloads.ClosePortfolioOffer(offer_id, bid_id), account)


def refused(venue, found):
    assert kinds(found) == [EventKind.COMMAND_REJECTED]
    venue.sound()
    return Reason(found[0].reason)


WHOLE = {NAME: 30_000, CALL.name: -5}


def test_the_whole_is_sold_once_in_one_command(venue):
    said, done = offer(venue, venue.alice, WHOLE)
    assert (said.kind, said.account_id, said.offer_id, said.leg_count) == (
        EventKind.PORTFOLIO_OFFERED, venue.alice, 1, 2,
    )  # fmt: skip
    assert (said.expires_ns, done.detail) == (venue.now + 60 * SECOND, 1)
    for bidder, price, number in ((venue.bob, 199_000, 1), (venue.carol, 199_900, 2), (venue.bob, 199_950, 3)):
        told, done = bid(venue, bidder, price, venue.mark)
        assert (told.kind, told.account_id, told.other_account_id, told.bid_id, done.detail) == (
            EventKind.PORTFOLIO_BID, bidder, venue.alice, number, number,
        )  # fmt: skip
    (view,) = venue.engine.offers.views()
    assert [(one.bid_id, one.account_id, one.price_units) for one in view.bids] == [
        (3, venue.bob, (199_950, venue.mark)), (2, venue.carol, (199_900, venue.mark)),
    ]  # fmt: skip
    assert refused(venue, close(venue, venue.alice, 1)) == Reason.UNKNOWN_BID  # replaced
    found = close(venue, venue.alice, 3)
    ended = only(found, EventKind.PORTFOLIO_OFFER_ENDED)
    assert (ended.account_id, ended.other_account_id, ended.bid_id, ended.outcome) == (
        venue.alice, venue.bob, 3, OfferOutcome.SOLD,
    )  # fmt: skip
    assert only(found, EventKind.BLOCK_TRADE_EXECUTED).maker_account_id == venue.bob
    assert venue.engine.desk.holdings(venue.alice) == {}
    assert venue.engine.desk.holdings(venue.bob) == {venue.slot(NAME): 30_000, venue.slot(CALL.name): -5}
    assert refused(venue, close(venue, venue.alice, 2)) == Reason.UNKNOWN_OFFER
    assert venue.engine.offers.views() == []
    venue.sound()


def test_offers_that_cannot_be(venue):
    assert refused(venue, offer(venue, 99, WHOLE)) == Reason.UNKNOWN_ACCOUNT
    assert refused(venue, offer(venue, venue.alice, {})) == Reason.BLOCK_LEGS
    assert refused(venue, offer(venue, venue.alice, dict(reversed(WHOLE.items())))) == Reason.BLOCK_LEGS
    for seconds in (0, -1, 3_601):
        assert refused(venue, offer(venue, venue.alice, WHOLE, seconds)) == Reason.BAD_PAYLOAD
    for legs in ({NAME: 30_001}, {NAME: -1}, {CALL.name: 5}, {CALL.name: -6}, {LINEAR: 1}, {NAME: 0}):
        assert refused(venue, offer(venue, venue.alice, legs)) == Reason.REDUCE_ONLY_WOULD_INCREASE, legs
    odd = payloads.OfferPortfolio((payloads.OfferLeg(-1, 5),), venue.now + SECOND)
    answer = venue.cold(CommandKind.OFFER_PORTFOLIO, odd, venue.alice)
    assert refused(venue, answer) == Reason.REDUCE_ONLY_WOULD_INCREASE
    assert venue.engine.offers.export() == []
    offer(venue, venue.alice, {NAME: 1_000})
    assert refused(venue, offer(venue, venue.alice, WHOLE)) == Reason.OFFER_LIMIT


def test_bids_that_cannot_be(venue):
    twin = venue.account("twin", btc=3, owner=venue.alice)
    poor = venue.account("poor", btc=0.001)
    offer(venue, venue.alice, WHOLE)
    assert refused(venue, bid(venue, venue.bob, 199_000, 1, offer_id=2)) == Reason.UNKNOWN_OFFER
    assert refused(venue, bid(venue, 99, 199_000, 1)) == Reason.UNKNOWN_ACCOUNT
    assert refused(venue, bid(venue, venue.bob, 199_000)) == Reason.BLOCK_LEGS
    for own in (venue.alice, twin):
        assert refused(venue, bid(venue, own, 199_000, venue.mark)) == Reason.OWN_GROUP
    assert refused(venue, bid(venue, venue.bob, 100_000, venue.mark)) == Reason.PRICE_TOO_LOW
    assert refused(venue, bid(venue, poor, 199_000, venue.mark)) == Reason.NOT_ENOUGH_FUNDS
    assert refused(venue, bid(venue, venue.bob, 2**62, venue.mark)) != Reason.NONE
    assert refused(venue, bid(venue, venue.bob)) == Reason.UNKNOWN_BID  # nothing to withdraw
    bid(venue, venue.bob, 199_000, venue.mark)
    gone = only(bid(venue, venue.bob), EventKind.PORTFOLIO_BID)
    assert (gone.bid_id, gone.outcome) == (1, OfferOutcome.WITHDRAWN)
    for stranger in (venue.bob, 99):
        assert refused(venue, close(venue, stranger)) == Reason.UNKNOWN_OFFER
    assert refused(venue, close(venue, venue.alice, 1)) == Reason.UNKNOWN_BID


def test_who_holds_less_by_now_or_has_no_margin_sells_nothing_and_the_offer_stands(venue):
    offer(venue, venue.alice, {NAME: 20_000})
    bid(venue, venue.bob, 199_900)
    venue.trade(venue.house, venue.alice, NAME, "sell", 200_000, 15_000)
    assert refused(venue, close(venue, venue.alice, 1)) == Reason.REDUCE_ONLY_WOULD_INCREASE
    venue.trade(venue.house, venue.alice, NAME, "buy", 200_000, 5_000)
    venue.cold(CommandKind.WITHDRAW, config.Transfer("BTC", 29_900_000_000), venue.bob)
    assert refused(venue, close(venue, venue.alice, 1)) == Reason.NOT_ENOUGH_FUNDS
    assert venue.engine.desk.holdings(venue.bob) == {}
    assert [one.offer_id for one in venue.engine.offers.views()] == [1]


def test_ends_by_time_by_the_owner_and_with_a_contract(venue):
    offer(venue, venue.alice, WHOLE, 10)
    venue.now += 10 * SECOND
    assert refused(venue, bid(venue, venue.bob, 199_000, venue.mark)) == Reason.UNKNOWN_OFFER  # before any Tick
    ended = only(venue.tick(), EventKind.PORTFOLIO_OFFER_ENDED)
    assert (ended.outcome, ended.offer_id, ended.other_account_id) == (OfferOutcome.EXPIRED, 1, 0)
    offer(venue, venue.alice, {NAME: 1_000})
    assert only(close(venue, venue.alice, offer_id=2), EventKind.PORTFOLIO_OFFER_ENDED).outcome == (
        OfferOutcome.WITHDRAWN
    )  # fmt: skip
    venue.now = EXPIRY - 20 * SECOND
    venue.tick()
    venue.marks(100_000)
    offer(venue, venue.alice, WHOLE, 3_000)
    venue.now = EXPIRY
    ended = only(venue.tick(), EventKind.PORTFOLIO_OFFER_ENDED)
    assert (ended.outcome, ended.offer_id) == (OfferOutcome.GONE, 3)
    assert venue.engine.offers.views() == []
    venue.sound()


def test_what_is_being_liquidated_is_not_the_owners_to_offer(venue):
    offer(venue, venue.alice, WHOLE, 3_000)
    bid(venue, venue.bob, 199_000, venue.mark)
    for index in range(96_000, 20_000, -4_000):
        venue.marks(index)
        venue.tick(SECOND)
        if venue.engine.desk.in_liquidation(venue.alice):
            break
    for price in (90_000, 100_000):
        venue.marks(price)
        venue.marks(price)
    assert refused(venue, close(venue, venue.alice, 1)) == Reason.ACCOUNT_IN_LIQUIDATION
    close(venue, venue.alice)
    assert refused(venue, offer(venue, venue.alice, WHOLE)) == Reason.ACCOUNT_IN_LIQUIDATION


def test_there_are_so_many_at_most(venue):
    offer(venue, venue.alice, {NAME: 1}, 3_000)
    accounts = [venue.account(f"a{n}", btc=1) for n in range(MAX_OFFERS)]
    for account in accounts[:MAX_BIDS]:
        bid(venue, account, 200_000)
    assert refused(venue, bid(venue, accounts[MAX_BIDS], 200_000)) == Reason.BATCH_FULL
    assert only(bid(venue, accounts[0], 199_999), EventKind.PORTFOLIO_BID).bid_id == MAX_BIDS + 1
    for account in accounts:
        venue.trade(venue.house, account, NAME, "buy", 200_000, 1)
    for account in accounts[:-1]:
        assert offer(venue, account, {NAME: 1}, 3_000)[0].kind == EventKind.PORTFOLIO_OFFERED
    assert refused(venue, offer(venue, accounts[-1], {NAME: 1})) == Reason.OFFER_LIMIT


def test_a_replay_has_them_and_malformed_payloads_are_refused(venue):
    offer(venue, venue.alice, WHOLE)
    bid(venue, venue.bob, 199_000, venue.mark)
    for kind in (CommandKind.OFFER_PORTFOLIO, CommandKind.BID_PORTFOLIO, CommandKind.CLOSE_PORTFOLIO_OFFER):
        for payload in ({}, {"offer_id": -1, "legs": 3}, {"offer_id": 1, "price_units": ["x"], "bid_id": "y"}):
            found = venue.submit(commands.cold(kind, payload, venue.alice))
            assert refused(venue, found) == Reason.BAD_PAYLOAD
    fresh = Engine()
    fresh.apply_many(b"".join(venue.journal.records))
    assert fresh.state_digest() == venue.engine.state_digest()
    assert fresh.offers.views() == venue.engine.offers.views() != []
    before = venue.engine.state_digest()
    bid(venue, venue.carol, 199_500, venue.mark)
    assert venue.engine.state_digest() != before


def test_digests_of_venues_without_offers_are_unchanged():
    assert Driver([perpetual()]).engine.offers.export() == []
