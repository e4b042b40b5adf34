"""Marks as commands: what is listed gets its vol whatever its slot, and changes of listing are noticed."""

import time

import numpy as np
import pytest

from exchange.commands import FORWARD_ENTRY, UPDATE_MARKS, VOL_ENTRY, CommandKind
from exchange.views import InstrumentView
from gateway.feeds.chain import default_rules
from gateway.feeds.publisher import MarkPublisher
from gateway.feeds.replay import open_replay
from gateway.feeds.sim import SimFeed

START_NS = 1_770_199_200 * 10**9


class Board:
    """A listing as the engine shows it: slots handed out in any order."""

    def __init__(self, instruments, rng, names=("BTC", "ETH")):
        self.names = list(names)
        slots = rng.permutation(len(instruments) + 50)[: len(instruments)].tolist()
        self.listed = dict(zip(slots, instruments, strict=True))

    def underlying_index(self, name):
        return self.names.index(name) if name in self.names else -1

    def instruments(self):
        return list(self.listed)

    def instrument(self, slot):
        terms = self.listed[slot]
        return InstrumentView(
            instrument=slot,
            instrument_id=slot + 1,
            name=terms.name,
            kind=terms.kind,
            underlying=terms.underlying,
            settlement=terms.settlement,
            inverse=terms.inverse,
            option_type=terms.option_type,
            strike_e8=terms.strike_e8,
            expiry_ns=terms.expiry_ns,
            created_ns=0,
            price_unit_e8=terms.price_unit_e8,
            lot_size_e8=terms.lot_size_e8,
            tick_steps=(),
            min_quantity_lots=1,
            max_quantity_lots=1,
            max_price_units=1,
            maker_ppm=0,
            taker_ppm=0,
        )

    def pairs(self, underlying_index):
        name = self.names[underlying_index]
        first = {}
        for slot, terms in self.listed.items():
            if terms.kind == "option" and terms.underlying == name:
                first.setdefault((terms.expiry_ns, terms.strike_e8), slot)
        return [(slot, expiry, strike) for (expiry, strike), slot in first.items()]


def decode(record):
    header = np.frombuffer(record, UPDATE_MARKS, 1)[0]
    start = UPDATE_MARKS.itemsize
    forwards = np.frombuffer(record, FORWARD_ENTRY, header["forward_count"], start)
    vols = np.frombuffer(record, VOL_ENTRY, header["vol_count"], start + forwards.nbytes)
    return header, forwards, vols


def quoted(update):
    keys = zip(update.expiry_ns.tolist(), update.strike_e8.tolist(), strict=True)
    return dict(zip(keys, update.vol_e6.tolist(), strict=True))


def test_record_carries_index_forwards_and_every_listed_pair(rng):
    feed = SimFeed(START_NS)
    board = Board(feed.instruments(), rng)
    publisher = MarkPublisher(board)
    for update in [*feed.snapshot(), *feed.step(START_NS + 10**9)]:
        header, forwards, vols = decode(publisher.record(update))
        assert header["kind"] == CommandKind.UPDATE_MARKS
        assert header["underlying"] == board.underlying_index(update.underlying)
        assert header["index_price_e8"] == update.index_price_e8
        assert header["source_time_ns"] == update.time_ns
        assert [tuple(entry) for entry in forwards.tolist()] == update.forwards
        terms = [board.listed[slot] for slot in vols["instrument"].tolist()]
        assert {one.underlying for one in terms} == {update.underlying}
        sent = {(one.expiry_ns, one.strike_e8): vol for one, vol in zip(terms, vols["vol_e6"].tolist(), strict=True)}
        assert sent == quoted(update)
        assert publisher.unmarked(update.underlying) == 0


def test_listing_changes_are_noticed_at_the_next_record(rng):
    feed = SimFeed(START_NS)
    board = Board(feed.instruments(), rng)
    publisher = MarkPublisher(board)
    update = feed.snapshot()[0]
    _, _, before = decode(publisher.record(update))
    gone_ns = update.forwards[0][0]
    board.listed = {slot: one for slot, one in board.listed.items() if one.expiry_ns != gone_ns}
    _, forwards, after = decode(publisher.record(update))
    assert forwards["expiry_ns"].tolist() == [expiry for expiry, _ in update.forwards[1:]]
    assert len(after) == len(before) - np.count_nonzero(update.expiry_ns == gone_ns)
    assert set(after["instrument"].tolist()) <= set(board.listed)
    # the same terms under other slots: a recycled slot must not get a stranger's vol
    board.listed = {slot + 1_000: one for slot, one in board.listed.items()}
    _, _, moved = decode(publisher.record(update))
    assert (moved["instrument"] - 1_000).tolist() == after["instrument"].tolist()


def test_recycled_slot_gets_the_vol_of_its_new_terms(rng):
    feed = SimFeed(START_NS)
    options = [one for one in feed.instruments() if one.name.endswith("-C") and one.name.startswith("BTC-")]
    board = Board(options[:-1], rng)
    publisher = MarkPublisher(board)
    update = feed.snapshot()[0]
    publisher.record(update)
    slot = board.instruments()[-1]
    board.listed[slot] = options[-1]
    _, _, vols = decode(publisher.record(update))
    vol_of = dict(vols.tolist())
    assert vol_of[slot] == quoted(update)[options[-1].expiry_ns, options[-1].strike_e8]


def test_expired_and_new_pairs_meet_the_listing_as_it_is(rng):
    feed = SimFeed(START_NS)
    board = Board(feed.instruments(), rng)
    publisher = MarkPublisher(board)
    first = feed.snapshot()[0]
    publisher.record(first)
    expired_ns = first.forwards[0][0]
    later = next(u for u in reversed(feed.step(expired_ns)) if u.underlying == "BTC")
    _, forwards, vols = decode(publisher.record(later))
    old = quoted(first).keys()
    assert len(vols) == len(old & quoted(later).keys()) < len(later.vol_e6)
    assert publisher.unmarked("BTC") == sum(expiry == expired_ns for expiry, _ in old) > 0
    assert set(forwards["expiry_ns"].tolist()) == {expiry for expiry, _ in old} - {expired_ns}
    board.listed |= dict(enumerate(feed.listings_due(), start=2_000))
    _, forwards, vols = decode(publisher.record(later))
    assert len(vols) == len(later.vol_e6)
    assert [tuple(entry) for entry in forwards.tolist()] == later.forwards


def test_unknown_underlying_is_refused(rng):
    feed = SimFeed(START_NS)
    publisher = MarkPublisher(Board(feed.instruments(), rng, names=("SOL",)))
    with pytest.raises(ValueError, match="no underlying BTC"):
        publisher.record(feed.snapshot()[0])


def test_real_chain_update_costs_little(real_data, rng, monkeypatch):
    chain = real_data("options/deribit_options_snapshot_20260206T043012Z.csv.gz")
    klines = real_data("crash/BTCUSD_PERP-1m-2025-10-10.zip")
    feed = open_replay(chain, {"BTC": klines}, rules=default_rules())
    board = Board(feed.instruments(), rng)
    publisher = MarkPublisher(board)
    sizes = [decode(publisher.record(update))[0]["vol_count"] for update in feed.snapshot()]
    assert sum(sizes) == 942
    slots, pairs = board.instruments(), [board.pairs(0), board.pairs(1)]
    monkeypatch.setattr(board, "instruments", slots.copy)  # the board's own cost is not the publisher's
    monkeypatch.setattr(board, "pairs", lambda underlying_index: pairs[underlying_index].copy())
    began, count = time.process_time(), 0
    for minute in range(1, 101):
        for update in feed.step(feed.start_time_ns + minute * 60 * 10**9):
            publisher.record(update)
            count += 1
    assert count >= 200
    assert (time.process_time() - began) / count < 1e-3  # feed and record: 0.05 ms when nothing else runs
