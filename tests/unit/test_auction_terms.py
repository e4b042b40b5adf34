"""Auction terms per underlying and version, owners' preferences, retained bidders."""

import pytest

from exchange import payloads
from exchange.commands import CommandKind
from exchange.engine import Engine
from exchange.events import EventKind
from exchange.liquidation.terms import MAX_BACKSTOPS
from exchange.reasons import Reason
from tests.driver import SECOND, only
from tests.unit.test_liquidation import NAME, PPM, bid, grant, leveraged, run


def set_terms(venue, **terms):
    return venue.cold(CommandKind.SET_AUCTION_TERMS, payloads.AuctionTerms("BTC", **terms))


def retain(venue, account, most_usd):
    return venue.cold(CommandKind.SET_BACKSTOP, payloads.SetBackstop(most_usd), account)


def replayed(venue):
    twin = Engine()
    twin.apply_many(b"".join(venue.journal.records))
    return twin.state_digest() == venue.engine.state_digest()


def test_new_terms_are_told_and_bind_the_next_auction() -> None:
    venue, alice, bob, _ = leveraged()
    twin = venue.account("twin", btc=1)
    digest = venue.engine.state_digest()
    told = only(
        set_terms(venue, discount_start_ppm=900_000, fee_ppm=0, buffer_ppm=300_000), EventKind.AUCTION_TERMS_CHANGED
    )
    assert (told.version, told.underlying, told.discount_start_ppm, told.fee_ppm) == (1, 0, 900_000, 0)
    assert (told.fast_ns, told.discount_cutoff_ppm) == (60 * SECOND, 700_000)
    assert venue.engine.state_digest() != digest
    run(venue, 1, 92_500)
    (first,) = venue.engine.auctions()
    assert first.terms_version == 1 and first.account_id == alice
    assert first.price_minor / first.value_minor == pytest.approx(0.9, abs=1e-6)
    # the one that runs keeps its terms, the next has the new ones; what is not named is the configuration's again
    done = set_terms(venue, discount_start_ppm=980_000)
    assert only(done, EventKind.COMMAND_DONE).detail == 2
    assert venue.engine.auctions()[0].price_minor == first.price_minor
    venue.trade(bob, twin, NAME, "buy", 185_000, 40_000)
    run(venue, 1, 87_000)
    second = venue.engine.auctions()[1]
    assert (second.account_id, second.terms_version) == (twin, 2)
    assert second.price_minor / second.value_minor == pytest.approx(0.98, abs=1e-6)
    assert venue.engine.liquidation.auctions[second.auction_id].terms.buffer_ppm == 150_000
    assert replayed(venue)
    venue.sound()


def test_the_buffer_of_the_terms_is_what_a_sale_restores() -> None:
    venue, alice, _, carol = leveraged()
    set_terms(venue, buffer_ppm=400_000)
    run(venue, 1, 92_500)
    bid(venue, carol, venue.engine.auctions()[0])
    run(venue, 1, 92_500)
    account = venue.engine.account(alice)
    assert not account.in_liquidation
    assert 1.4 <= account.equity_usd_e4 / account.maintenance_margin_usd_e4 < 1.41
    venue.sound()


@pytest.mark.parametrize(
    "terms",
    [
        {"discount_start_ppm": 600_000}, {"discount_cutoff_ppm": 0}, {"discount_start_ppm": PPM + 1}, {"fee_ppm": PPM},
        {"fast_ns": 0}, {"batch_ns": 10**15}, {"buffer_ppm": -1}, {"compensation_cap_ppm": PPM + 1},
    ],
)  # fmt: skip
def test_terms_that_cannot_be_are_refused(terms) -> None:
    venue, *_ = leveraged()
    digest = venue.engine.state_digest()
    assert only(set_terms(venue, **terms), EventKind.COMMAND_REJECTED).reason == Reason.BAD_CONFIGURATION
    unknown = venue.cold(CommandKind.SET_AUCTION_TERMS, payloads.AuctionTerms("DOGE"))
    assert only(unknown, EventKind.COMMAND_REJECTED).reason == Reason.UNKNOWN_CURRENCY
    assert venue.engine.liquidation.terms.export() == [] and digest != venue.engine.state_digest()


def abandoned(venue, alice):
    """A breach so deep that the insolvent phase runs out without a bid; the fund grants what is asked."""
    found = run(venue, 2, 81_000)
    for _ in range(30):
        for lease in venue.engine.leases():
            if lease.state == "requested":
                found += grant(venue, lease)
        found += run(venue, 5, 81_000, step=5)
        if not venue.engine.account(alice).in_liquidation:
            return found
    return found


def test_a_retained_bidder_takes_what_nobody_has_bid_for() -> None:
    venue, alice, bob, carol = leveraged()
    assert only(retain(venue, carol, 500_000), EventKind.COMMAND_DONE).detail == 1
    before = venue.view(carol).equity_minor
    found = abandoned(venue, alice)
    sold = only(found, EventKind.AUCTION_LOT_SOLD)
    assert (sold.buyer_account_id, sold.share_ppm) == (carol, PPM) and sold.compensation_minor > 0
    assert only(found, EventKind.AUCTION_CLOSED).reason == Reason.CLOSED_OUT
    assert [e for e in found if e.kind == EventKind.POSITION_DELEVERAGED] == []
    # nobody has to take more than deleveraging would have cost it: the fund has paid the full compensation
    assert venue.view(carol).equity_minor > before
    assert venue.engine.positions_room.lots(bob, venue.slot(NAME)) == -45_000
    assert replayed(venue)
    venue.sound()


def test_who_is_not_asked_and_what_then() -> None:
    """A portfolio beyond its size, its own owner's, without margin: deleveraging goes on as ever."""
    venue, alice, bob, carol = leveraged()
    owner = venue.engine.desk.owner(alice)
    sibling = venue.account("sibling", btc=50, owner=owner)
    poor = venue.account("poor", btc=0.001)
    for account, most in ((carol, 400_000), (sibling, 10**7), (poor, 10**7)):
        retain(venue, account, most)
    found = abandoned(venue, alice)
    refused = {e.account_id: e.reason for e in found if e.kind == EventKind.BID_REJECTED}
    assert refused == {sibling: Reason.OWN_GROUP, poor: Reason.BIDDER_MARGIN}
    assert only(found, EventKind.POSITION_DELEVERAGED).account_id == bob
    venue.sound()


def test_retained_no_longer_and_at_most_so_many() -> None:
    venue, _, _, carol = leveraged()
    for number in range(MAX_BACKSTOPS):
        retain(venue, venue.account(f"r{number}", btc=1), 1)
    assert only(retain(venue, carol, 1), EventKind.COMMAND_REJECTED).reason == Reason.LIMIT_REACHED
    assert only(retain(venue, carol, -1), EventKind.COMMAND_REJECTED).reason == Reason.BAD_PAYLOAD
    assert only(retain(venue, 999, 1), EventKind.COMMAND_REJECTED).reason == Reason.UNKNOWN_ACCOUNT
    first = venue.engine.account_id("r0")
    assert only(retain(venue, first, 0), EventKind.COMMAND_DONE).detail == MAX_BACKSTOPS - 1
    assert only(retain(venue, carol, 1), EventKind.COMMAND_DONE).detail == MAX_BACKSTOPS


def test_preferences_are_kept_and_a_wrong_one_refused() -> None:
    venue, alice, _, _ = leveraged()
    terms = venue.engine.liquidation.terms
    for word, number in (("options_first", 3), ("proportional", 1), ("smallest", 0)):
        venue.cold(CommandKind.SET_UNWIND, payloads.SetUnwind(word), alice)
        assert terms.unwind.get(alice, 0) == number
    assert terms.export() == []
    wrong = venue.cold(CommandKind.SET_UNWIND, {"preference": "never"}, alice)
    assert only(wrong, EventKind.COMMAND_REJECTED).reason == Reason.BAD_PAYLOAD
    nobody = venue.cold(CommandKind.SET_UNWIND, payloads.SetUnwind(), 999)
    assert only(nobody, EventKind.COMMAND_REJECTED).reason == Reason.UNKNOWN_ACCOUNT
