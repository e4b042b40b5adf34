"""Faults of the core that were found once and must not come back; each test names what went wrong."""

import pytest

from exchange import commands, config
from exchange.commands import CommandKind
from exchange.events import EventKind, Level
from exchange.reasons import Reason
from tests.driver import COIN, DAY, SECOND, START_NS, Driver, kinds, linear_perpetual, only, option, perpetual
from tests.unit.test_liquidation import NAME, PPM, bid, grant, leveraged, run

LINEAR = "BTC_USDC-PERPETUAL"


def hedged() -> tuple[Driver, int]:
    """A cross account whose ten coins hedge a short perpetual of a million dollars."""
    venue = Driver([perpetual(), linear_perpetual()])
    venue.marks(100_000)
    alice, bob = venue.account("alice", btc=10, model="cross_pm"), venue.account("bob", btc=1_000)
    venue.trade(bob, alice, NAME, "sell", 200_000, 100_000)
    return venue, alice


def test_cash_that_hedges_positions_cannot_be_withdrawn() -> None:
    # equity less requirement was paid out although the requirement grows as the hedge leaves
    venue, alice = hedged()
    before = venue.engine.account(alice)
    assert before.equity_usd_e4 - before.initial_margin_usd_e4 > 980_000 * 10**4
    refused = venue.cold(CommandKind.WITHDRAW, config.Transfer("BTC", 98 * COIN // 10), alice)
    assert only(refused, EventKind.COMMAND_REJECTED).reason == Reason.INSUFFICIENT_WITHDRAWABLE
    assert venue.engine.account(alice) == before
    allowed = before.currencies[0].withdrawable_minor
    assert 8 * COIN < allowed < 9 * COIN
    assert EventKind.COMMAND_DONE in kinds(venue.cold(CommandKind.WITHDRAW, config.Transfer("BTC", allowed), alice))
    after = venue.engine.account(alice)
    assert after.initial_margin_usd_e4 <= after.equity_usd_e4 < after.initial_margin_usd_e4 * 1.001
    assert after.level != Level.MAINTENANCE_BREACHED
    more = venue.cold(CommandKind.WITHDRAW, config.Transfer("BTC", COIN // 1_000), alice)
    assert only(more, EventKind.COMMAND_REJECTED).reason == Reason.INSUFFICIENT_WITHDRAWABLE
    venue.sound()


def test_withdrawing_a_coin_that_has_no_index_yet_is_refused() -> None:
    # divided by the index
    venue = Driver([perpetual(), linear_perpetual()])
    alice = venue.account("alice", usdc=1_000, model="cross_pm")
    refused = venue.cold(CommandKind.WITHDRAW, config.Transfer("BTC", 5), alice)
    assert only(refused, EventKind.COMMAND_REJECTED).reason == Reason.INSUFFICIENT_WITHDRAWABLE


@pytest.mark.parametrize("lots", [10**6, 10**8, 10**9])
def test_an_order_of_any_size_near_price_zero_does_not_stop_the_engine(lots: int) -> None:
    # an inverse future's cost at price 1 left 64 bits
    venue = Driver([perpetual(max_quantity_lots=10**9, max_position_lots=10**10)])
    venue.marks(100_000)
    alice = venue.account("alice", btc=10**6)
    (answer,) = venue.place(alice, NAME, "buy", 1, lots)
    if answer.kind == EventKind.ORDER_REJECTED:
        assert answer.reason in (Reason.QUANTITY_TOO_LARGE, Reason.ROW_LIMIT)
    assert (answer.kind == EventKind.ORDER_ACCEPTED) == (lots == 10**6)
    venue.sound()


@pytest.mark.parametrize("reference", [-1, 1 << 63])
def test_a_reference_outside_its_field_is_a_bad_payload(reference: int) -> None:
    venue = Driver([perpetual()])
    alice = venue.account("alice")
    refused = venue.cold(CommandKind.DEPOSIT, config.Transfer("BTC", 5, reference), alice)
    assert only(refused, EventKind.COMMAND_REJECTED).reason == Reason.BAD_PAYLOAD


@pytest.mark.parametrize("owner", [-1, 1 << 32])
def test_an_owner_outside_its_field_is_a_bad_payload(owner: int) -> None:
    venue = Driver([perpetual()])
    refused = venue.cold(CommandKind.CREATE_ACCOUNT, config.CreateAccount("alice", owner))
    assert only(refused, EventKind.COMMAND_REJECTED).reason == Reason.BAD_PAYLOAD


@pytest.mark.parametrize(
    "change",
    [
        {"max_position_lots": 1 << 63},
        {"max_price_units": -5},
        {"max_price_units": 1 << 40},
        {"max_quantity_lots": 0},
        {"min_quantity_lots": 0},
        {"tick_steps": (config.TickStep(0, 0),)},
        {"tick_steps": (config.TickStep(0, 1), config.TickStep(0, 5))},
        {"fees": config.Fees(taker_ppm=-1)},
        {"lot_size_e8": 1 << 62, "price_unit_e8": 1 << 62},
    ],
    ids=lambda change: "-".join(change),
)
def test_an_instrument_whose_figures_would_leave_their_fields_is_refused(change: dict[str, object]) -> None:
    # a tick of zero divided by zero, a ladder of 2**40 prices was cut to 32 bits
    venue = Driver([perpetual()])
    listed = venue.cold(CommandKind.LIST_INSTRUMENTS, config.ListInstruments((perpetual("OTHER", **change),)))
    assert only(listed, EventKind.COMMAND_REJECTED).reason == Reason.BAD_CONFIGURATION


def test_risk_reducing_orders_of_two_chains_count_together_in_a_cross_account() -> None:
    # each of them was let in alone: filled together they turned the position round and grew it
    venue = Driver([perpetual(), linear_perpetual()])
    venue.marks(100_000)
    alice = venue.account("alice", usdc=200_000, model="cross_pm")
    bob = venue.account("bob", btc=1_000, usdc=10**8)
    venue.trade(bob, alice, NAME, "buy", 200_000, 100_000)
    venue.now += SECOND
    venue.marks(96_000)
    account = venue.engine.account(alice)
    assert account.maintenance_margin_usd_e4 < account.equity_usd_e4 < account.initial_margin_usd_e4
    first = only(venue.place(alice, NAME, "sell", 193_000, 190_000), EventKind.ORDER_ACCEPTED)
    assert first.flags & commands.OrderFlag.RISK_REDUCING
    second = only(venue.place(alice, LINEAR, "sell", 965_000, 19_000), EventKind.ORDER_REJECTED)
    assert second.reason == Reason.NOT_ENOUGH_FUNDS
    assert only(venue.place(alice, LINEAR, "sell", 965_000, 100), EventKind.ORDER_ACCEPTED)
    venue.sound()


def test_bids_that_are_never_filled_keep_nobody_out() -> None:
    # 256 bids at a limit below every asking price filled the batch for good
    venue, _, _, carol = leveraged()
    crowd = [venue.account(f"crowd{number}") for number in range(17)]
    run(venue, 1, 92_000)
    (auction,) = venue.engine.auctions()
    answers = [bid(venue, account, auction, limit=-(1 << 63))[0] for account in crowd for _ in range(17)]
    taken = [answer for answer in answers if answer.kind == EventKind.BID_ACCEPTED]
    assert len(taken) == 256
    assert {answer.reason for answer in answers if answer.kind == EventKind.BID_REJECTED} == {Reason.BATCH_FULL}
    displaced, accepted = bid(venue, carol, auction)
    assert (displaced.kind, displaced.reason) == (EventKind.BID_REJECTED, Reason.BATCH_FULL)
    assert displaced.bid_id == taken[-1].bid_id
    assert (accepted.kind, accepted.account_id) == (EventKind.BID_ACCEPTED, carol)
    sold = [event for event in run(venue, 1, 92_000) if event.kind == EventKind.AUCTION_LOT_SOLD]
    assert [event.buyer_account_id for event in sold] == [carol]


def test_a_book_of_value_again_is_not_given_away() -> None:
    # once insolvent, an auction paid bidders for taking a book that had become worth something
    venue, _, _, carol = leveraged(lots=40_000)
    run(venue, 1, 90_000)
    found = run(venue, 1, 78_000)
    (auction,) = venue.engine.auctions()
    assert auction.phase == 2 and auction.value_minor < 0
    grant(venue, venue.engine.leases()[0])
    found = run(venue, 1, 81_500)
    (auction,) = venue.engine.auctions()
    assert auction.value_minor > 0
    assert auction.phase == 1 and auction.price_minor > 0
    changed = [event for event in found if event.kind == EventKind.AUCTION_PHASE_CHANGED]
    assert changed[-1].phase == 1
    bid(venue, carol, auction)
    sold = only(run(venue, 2, 81_500), EventKind.AUCTION_LOT_SOLD)
    assert sold.price_minor > 0 and sold.compensation_minor == 0
    venue.sound()


def test_the_solvent_clock_goes_on_where_it_stood() -> None:
    # a value that swings round zero must not make an auction endless
    venue, *_ = leveraged(lots=40_000, fund_btc=0)
    run(venue, 1, 90_000)
    phases, found = [], []
    for _ in range(80):
        for index in (78_000, 81_500):
            found += run(venue, 10, index, step=5)
            phases += [auction.phase for auction in venue.engine.auctions()]
    assert phases[:2] == [2, 1]
    assert only(found, EventKind.AUCTION_CLOSED).reason == Reason.DELEVERAGED
    # every swing gave each clock its turn; the insolvent one ran out first
    assert len(phases) < 80 and phases[-1] == 2


def test_the_row_budget_of_a_bidder_counts_all_legs_together() -> None:
    # two legs within the budget each, beyond it together, broke the exact sums at the next mark
    venue = Driver([perpetual(), option(100_000, "call", START_NS + 40 * DAY)])
    venue.marks(100_000)
    alice = venue.account("alice", btc=1)
    caps = {slot: cap for slot, _, cap in venue.engine.rows.export()[3]}
    legs = [(slot, int(0.6 * (1 << 52)) // cap) for slot, cap in sorted(caps.items())]
    assert len(legs) == 2
    assert all(venue.engine.desk.row_budget(alice, [leg]) for leg in legs)
    assert not venue.engine.desk.row_budget(alice, legs)
    assert venue.engine.desk.row_budget(alice, [(slot, -(lots // 2)) for slot, lots in legs])


def test_shares_are_bounded_by_a_whole() -> None:
    venue, *_, carol = leveraged()
    run(venue, 1, 92_000)
    (auction,) = venue.engine.auctions()
    for share in (0, PPM + 1, (1 << 32) - 1):
        assert bid(venue, carol, auction, share_ppm=share)[0].reason == Reason.SHARE_OUT_OF_RANGE


def test_an_auction_does_not_age_while_the_venue_is_down() -> None:
    # the first Tick after new marks added the whole downtime: the price fell to zero at once
    venue, *_ = leveraged()
    run(venue, 5, 92_000)
    (before,) = venue.engine.auctions()
    venue.now += 3_600 * SECOND
    venue.marks(92_000)
    venue.tick()
    (after,) = venue.engine.auctions()
    assert (after.phase, after.phase_ns) == (1, before.phase_ns)
    run(venue, 1, 92_000)
    assert venue.engine.auctions()[0].phase_ns == before.phase_ns + SECOND


def test_a_full_row_budget_does_not_lock_a_position_in() -> None:
    # a position that had used the budget up could not be closed: the closing order itself was beyond it
    venue = Driver([perpetual(max_quantity_lots=10**9, max_position_lots=10**10)])
    venue.marks(100_000)
    alice, bob = venue.account("alice", btc=10**6), venue.account("bob", btc=10**6)
    ((_, _, cap),) = venue.engine.rows.export()[3]
    lots = (1 << 52) // cap
    venue.trade(bob, alice, NAME, "buy", 200_000, lots)
    more = only(venue.place(alice, NAME, "buy", 190_000, 10), EventKind.ORDER_REJECTED)
    assert more.reason == Reason.ROW_LIMIT
    assert kinds(venue.place(alice, NAME, "sell", 210_000, lots // 2)) == [EventKind.ORDER_ACCEPTED]
    assert only(venue.place(alice, NAME, "sell", 210_000, 10), EventKind.ORDER_REJECTED).reason == Reason.ROW_LIMIT
    venue.marks(100_100)
    venue.sound()
