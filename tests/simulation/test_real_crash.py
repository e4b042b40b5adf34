"""10 October 2025 on a real option chain, through the bare engine: marks as in the file, a crash that conserves."""

import csv
import gzip

import numpy as np
import pytest

from exchange import commands, config
from exchange.commands import CommandKind
from exchange.events import EventKind
from gateway.defaults import default_config
from gateway.feeds import MarkPublisher, open_replay
from tests.driver import COIN, SECOND, Driver

CHAIN = "options/deribit_options_snapshot_20260206T043012Z.csv.gz"
INDEX = "crash/BTCUSD_PERP-1m-2025-10-10.zip"
CRASH_MINUTES = (1_262, 1_300)


@pytest.fixture
def crash(real_data):
    """(venue with the chain listed and marked, feed, publisher, the file's marks)."""
    feed = open_replay(real_data(CHAIN), {"BTC": real_data(INDEX)}, betas={"ETH": 1.3}, speed=600.0)
    venue = Driver(configuration=default_config("crash", speed=600.0))
    venue.now = feed.start_time_ns
    venue.cold(CommandKind.LIST_INSTRUMENTS, config.ListInstruments(tuple(feed.instruments())))
    publisher = MarkPublisher(venue.engine)
    for update in feed.snapshot():
        assert venue.submit(publisher.record(update))[0].kind == EventKind.MARKS_UPDATED
    with gzip.open(real_data(CHAIN), "rt", newline="") as file:
        marks = {row["instrument_name"]: float(row["mark_price"]) for row in csv.DictReader(file)}
    return venue, feed, publisher, marks


def test_every_listed_option_is_marked_as_in_the_file(crash):
    venue, _, _, marks = crash
    slots = [venue.engine.instrument_slot(name) for name in marks]
    assert len(slots) == 1_884
    assert min(slots) >= 0
    shown = np.array([venue.engine.market(slot).mark_price_e8 for slot in slots]) / 1e8
    errors = np.abs(shown - np.array(list(marks.values())))
    assert np.quantile(errors, 0.99) < 1e-3
    assert np.median(errors) < 5e-5


def leverage(venue, count=60):
    """Longs at 3 to 5 times their coins against one short; returns the accounts."""
    house = venue.account("house", btc=2_000)
    price = venue.engine.market(venue.slot("BTC-PERPETUAL")).mark_price_e8 // 50_000_000
    usd = price / 2
    accounts = []
    for i in range(count):
        account = venue.account(f"long{i}", btc=1)
        lots = int(usd * (3.0 + 2.0 * i / count) / 10)
        venue.trade(house, account, "BTC-PERPETUAL", "buy", price, lots)
        accounts.append(account)
    return house, accounts


def test_the_crash_liquidates_without_losing_a_unit(crash):
    venue, feed, publisher, _ = crash
    _, longs = leverage(venue)
    buyer = venue.account("buyer", btc=2_000)
    venue.cold(CommandKind.ENDOW_FUND, config.Transfer("BTC", 50 * COIN))
    liquidated, closed, drawn = set(), 0, 0
    for minute in range(CRASH_MINUTES[0], CRASH_MINUTES[1]):
        venue.now = feed.start_time_ns + minute * 60 * SECOND
        for update in feed.step(venue.now):
            venue.submit(publisher.record(update))
        for _ in range(8):
            found = venue.tick(SECOND)
            liquidated |= {e.account_id for e in found if e.kind == EventKind.LIQUIDATION_STARTED}
            closed += sum(e.kind == EventKind.AUCTION_CLOSED for e in found)
            drawn += sum(e.amount_minor for e in found if e.kind == EventKind.FUND_DRAWN)
            for lease in venue.engine.leases():
                if lease.state == "requested":
                    grant = {"lease_id": lease.lease_id, "amount_minor": lease.requested_minor}
                    venue.submit(commands.record(CommandKind.GRANT_FUND_LEASE, **grant))
            for auction in venue.engine.auctions():
                if not auction.bids:
                    bid = {"auction_id": auction.auction_id, "phase": auction.phase, "share_ppm": 1_000_000}
                    limit = auction.value_minor * 9 // 10 if auction.value_minor > 0 else auction.price_minor
                    venue.submit(commands.record(CommandKind.PLACE_BID, buyer, limit_minor=limit, **bid))
    assert len(liquidated) > len(longs) // 2
    assert closed >= len(liquidated)
    assert all(not venue.engine.account(account).in_liquidation for account in longs)
    ledger = venue.engine.ledger("BTC")
    assert sum(ledger.values()) == 0
    # fees of solvent sales in, draws of insolvent ones out
    assert ledger["fund"] != 50 * COIN
    venue.sound()
