"""What an auction sells: the fewest lots that restore the account, margined exactly, and no hedge among them."""

import numpy as np
import pytest

from exchange import commands, config, events
from exchange.commands import CommandKind
from exchange.events import EventKind
from exchange.liquidation.slices import PPM, Path, Seller, Terms, Unwind, closed_form_ppm
from exchange.payloads import SetUnwind
from tests.driver import DAY, SECOND, START_NS, USDC, Driver, linear_perpetual, make_config, only, option, perpetual
from tests.oracles.shadow import Shadow
from tests.oracles.slicing import NaiveSlices
from tests.unit.test_liquidation import bid, run

NAME, LINEAR = "BTC-PERPETUAL", "BTC_USDC-PERPETUAL"
EXPIRY = START_NS // DAY * DAY + 40 * DAY + 8 * 3_600 * 10**9
CALL = f"BTC-{EXPIRY // DAY}-110000-C"
MODELS = ("segregated_pm", "cross_pm", "segregated_sm", "cross_sm")
UNIT = 10**8

# Figures of Derive's v2-core (commit 7736900): value, requirement, buffer 20 %, price at 98 % of value; the fee of 2 %
# is taken once, when the auction starts
VALUE, FEE, AFTER_FEE = 12_062_841_000, 132_208_463, 11_930_633_018
REQUIREMENT = 11_930_633_018 + 10_309_061_949
SHARE, PAID, LEFT = 0.557941285, 65.23460868, 117.97501164


def linear(lot_size_e8):
    return perpetual(LINEAR, settlement="USDC", inverse=False, price_unit_e8=10_000_000, lot_size_e8=lot_size_e8)


def test_golden_d_the_closed_form() -> None:
    at_par = closed_form_ppm(VALUE, REQUIREMENT, Terms(VALUE, 0, 200_000))
    assert VALUE * at_par // PPM * 2 // 100 == pytest.approx(FEE, rel=2e-6)
    assert abs(VALUE - FEE - AFTER_FEE) <= 500  # the first is known to 1e-5
    price = AFTER_FEE * 98 // 100
    share = closed_form_ppm(AFTER_FEE, REQUIREMENT, Terms(price, 0, 200_000))
    assert share == -(-SHARE * PPM // 1)
    paid = price * share // PPM
    assert paid / UNIT == pytest.approx(PAID, rel=2e-6)
    left = AFTER_FEE - AFTER_FEE * share // PPM + paid
    assert left / UNIT == pytest.approx(LEFT, rel=1e-6)
    # the buffer margin is zero afterwards
    assert left - REQUIREMENT * (PPM - share) // PPM * 12 // 10 == pytest.approx(0, abs=REQUIREMENT // PPM * 2)


def test_golden_d_in_an_auction_within_a_lot() -> None:
    """The same figures a thousandfold: an account of 119,306.33 USD with a requirement of 222,396.95."""
    terms = config.Liquidation(buffer_ppm=200_000, discount_start_ppm=980_000, fee_ppm=0)
    venue = Driver([linear(10_000)], make_config(liquidation=terms))
    venue.marks(100_000)
    alice = venue.account("alice", usdc=300_000, model="cross_pm")
    bob, carol = (venue.account(name, usdc=10**8, model="cross_pm") for name in ("bob", "carol"))
    venue.trade(bob, alice, LINEAR, "buy", 1_000_000, 1_000)
    per_lot = venue.engine.account(alice).maintenance_margin_usd_e4 / 1_000
    lots = round(222_396.94967 * 1e4 / per_lot)
    venue.trade(bob, alice, LINEAR, "buy", 1_000_000, lots - 1_000)
    surplus = venue.engine.account(alice).currencies[1].equity_minor - 119_306_330_180
    desk = venue.engine.desk
    # a loss elsewhere brings the equity to the figure without moving the marks
    desk.pay(alice, bob, 1, surplus)
    desk.after(alice)
    run(venue, 1, 100_000)
    (auction,) = venue.engine.auctions()
    assert auction.value_minor == pytest.approx(119_306_330_180, abs=100)
    assert auction.requirement_minor / USDC == pytest.approx(222_396.94967, abs=per_lot / 1e4)
    bid(venue, carol, auction)
    found = venue.tick(SECOND // 2)
    sold = only(found, EventKind.AUCTION_LOT_SOLD)
    moved = only(found, EventKind.POSITION_TRANSFERRED).quantity_lots
    # half a second into the minute the price is a little below 98 %
    falls = (980_000 - 700_000) / 60 / 2 / PPM
    missing = 147_570.00942
    assert moved == pytest.approx(missing / (missing + 119_306.33018 * (0.98 - falls)) * lots, abs=1)
    assert moved / lots == pytest.approx(SHARE, abs=0.002)
    assert sold.price_minor / USDC == pytest.approx(PAID * 1_000, rel=0.002)
    account = venue.engine.account(alice)
    assert account.equity_usd_e4 / 1e4 == pytest.approx(LEFT * 1_000, rel=0.002)
    assert 0 <= account.equity_usd_e4 - account.maintenance_margin_usd_e4 * 12 // 10 <= 2 * per_lot
    assert only(found, EventKind.AUCTION_CLOSED)


def hedged(**liquidation):
    """Short calls hedged by coins' worth of perpetuals, and as many again outright: the second half is the risk."""
    call = option(110_000, "call", EXPIRY)
    venue = Driver([perpetual(), linear_perpetual(), call], make_config(liquidation=config.Liquidation(**liquidation)))
    venue.marks(100_000)
    alice = venue.account("alice", usdc=62_000, model="cross_pm")
    bob, carol = (venue.account(name, btc=50, usdc=10**7, model="cross_pm") for name in ("bob", "carol"))
    mark = venue.engine.market(venue.slot(CALL)).mark_price_e8 // 10_000
    venue.trade(bob, alice, LINEAR, "buy", 1_000_000, 3_000)
    venue.trade(bob, alice, CALL, "sell", mark, 20)
    return venue, alice, carol


def moved_by(found):
    return {e.instrument: e.quantity_lots for e in found if e.kind == EventKind.POSITION_TRANSFERRED}


def sold_at(index, unwind=Unwind.SMALLEST):
    venue, alice, carol = hedged()
    if unwind:
        done = venue.cold(CommandKind.SET_UNWIND, SetUnwind(unwind.name.lower()), alice)
        assert only(done, EventKind.COMMAND_DONE).detail == unwind
    for step in range(99_000, index, -1_000):
        run(venue, 1, step)
    run(venue, 1, index)
    (auction,) = venue.engine.auctions()
    before = {p.instrument: p.quantity_lots for p in venue.engine.positions(alice)}
    bid(venue, carol, auction)
    found = run(venue, 1, index)
    assert only(found, EventKind.AUCTION_CLOSED)
    assert not venue.engine.account(alice).in_liquidation
    venue.sound()
    return venue, before, moved_by(found)


def breach():
    venue, alice, _ = hedged()
    for index in range(99_000, 60_000, -1_000):
        run(venue, 1, index)
        if venue.engine.account(alice).in_liquidation:
            return index
    raise AssertionError("never below maintenance")


def test_a_hedge_is_not_stripped_and_less_is_sold_than_of_everything() -> None:
    index = breach()
    venue, _, smallest = sold_at(index)
    perpetual_slot, call_slot = venue.slot(LINEAR), venue.slot(CALL)
    assert set(smallest) == {perpetual_slot}
    _, before, proportional = sold_at(index, Unwind.PROPORTIONAL)
    assert set(proportional) == {perpetual_slot, call_slot}
    for slot, lots in proportional.items():
        assert lots / before[slot] == pytest.approx(proportional[perpetual_slot] / before[perpetual_slot], abs=0.05)
    # two coins of perpetuals beside the short calls stay
    assert smallest[perpetual_slot] < before[perpetual_slot] - 2_000 + 500


def test_the_owner_prefers_futures_or_options_where_they_suffice() -> None:
    index = breach()
    venue, _, futures = sold_at(index, Unwind.FUTURES_FIRST)
    assert set(futures) == {venue.slot(LINEAR)}
    # buying back the calls alone would strip the hedge of what is left: everything is sold in proportion
    venue, _, options = sold_at(index, Unwind.OPTIONS_FIRST)
    assert set(options) == {venue.slot(LINEAR), venue.slot(CALL)}


def test_a_share_smaller_than_a_lot_is_refused() -> None:
    venue = Driver([perpetual(lot_size_e8=10_000 * 10**8)])
    venue.marks(100_000)
    alice, bob, carol = venue.account("alice", btc=0.1), venue.account("bob", btc=50), venue.account("carol", btc=50)
    venue.trade(bob, alice, NAME, "buy", 200_000, 3)
    run(venue, 1, 86_000)
    (auction,) = venue.engine.auctions()
    bid(venue, carol, auction, share_ppm=300_000)
    found = run(venue, 1, 86_000)
    assert only(found, EventKind.BID_REJECTED).reason == 124
    bid(venue, carol, auction, share_ppm=400_000)
    sold = run(venue, 1, 86_000)
    assert only(sold, EventKind.AUCTION_LOT_SOLD).share_ppm == 333_334
    assert only(sold, EventKind.POSITION_TRANSFERRED).quantity_lots == 1
    venue.sound()


class Watched(Driver):
    """A venue whose margins the naive model follows."""

    shadow = None

    def submit(self, record):
        if self.shadow is None and self.engine.config is not None:
            self.shadow = Shadow(self.engine)
        if self.shadow is not None:
            self.shadow.before(bytes(record))
        raw = self.sequencer.submit(record)
        if self.shadow is not None:
            self.shadow.saw(bytes(record), list(events.records(raw)))
        out = []
        for kind, fields, _ in events.records(raw):
            values = {name: fields[name].item() for name in fields.dtype.names if "reserved" not in name}
            out.append(type("Event", (), {"kind": kind, **values}))
        return out


def sold_under(move_ppm, model="cross_sm"):
    """Outright perpetuals by formula, with maintenance margin of 1 % of size: (lots before, lots sold, excess left)."""
    rules = config.Liquidation(buffer_move_ppm=move_ppm)
    venue = Driver([linear_perpetual()], make_config(liquidation=rules))
    venue.marks(100_000)
    alice = venue.account("alice", usdc=30_000, model=model)
    bob, carol = (venue.account(name, usdc=10**7, model="cross_pm") for name in ("bob", "carol"))
    venue.trade(bob, alice, LINEAR, "buy", 1_000_000, 10_000)
    run(venue, 1, 98_000)
    (auction,) = venue.engine.auctions()
    bid(venue, carol, auction)
    found = run(venue, 1, 98_000)
    assert only(found, EventKind.AUCTION_CLOSED)
    moved = only(found, EventKind.POSITION_TRANSFERRED).quantity_lots
    entity = 0 if model == "cross_sm" else 1
    equity, _, maintenance = venue.engine.desk.margins(alice, entity)
    unit = 10**4 if model == "cross_sm" else USDC
    venue.sound()
    return 10_000, moved, (equity - maintenance) / unit


@pytest.mark.parametrize("model", ["cross_sm", "segregated_sm"])
def test_what_is_left_stands_a_move_of_the_index(model) -> None:
    held, moved, excess = sold_under(0, model)
    size = (held - moved) / 1_000 * 98_000
    assert excess < 0.003 * size
    held, moved, excess = sold_under(5_000, model)
    size = (held - moved) / 1_000 * 98_000
    assert 0.005 * size <= excess < 0.0055 * size


def test_an_options_value_is_not_counted_as_risk_released() -> None:
    """By formula a short option's requirement contains its mark, which its owner pays to buy it back: a slice of it
    costs no more of the money than one of perpetuals that restores as well."""
    call = option(95_000, "call", EXPIRY)
    venue = Driver([linear_perpetual(), call], make_config())
    venue.marks(100_000)
    alice = venue.account("alice", btc=0.2, usdc=42_000, model="cross_sm")
    bob = venue.account("bob", btc=50, usdc=10**7, model="cross_pm")
    name = f"BTC-{EXPIRY // DAY}-95000-C"
    mark = venue.engine.market(venue.slot(name)).mark_price_e8 // 10_000
    venue.trade(bob, alice, name, "sell", mark, 20)
    venue.trade(bob, alice, LINEAR, "buy", 1_000_000, 4_000)
    desk = venue.engine.desk
    equity, _, maintenance = desk.margins(alice, 0)
    worth = desk.worth(alice, 0)
    seller = Seller(desk, alice, 0, 1, Terms(worth * 9 // 10, 20_000, 150_000))
    options, futures = (Path((venue.slot(one),), False) for one in (name, LINEAR))
    for path in (options, futures):
        count = seller.size(path) // 2
        part = seller.at(path, count)
        legs = [(slot, -lots) for slot, lots in part.legs]
        left = desk.margins_with(alice, 0, legs, {})
        released = (left[0] - left[2]) - (equity - maintenance)
        assert part.share_ppm == -(-released * PPM // (worth + maintenance - equity))
    # the mark of the options sold is part of the fall of the requirement, and none of the share
    half = seller.at(options, 10)
    fallen = maintenance - desk.margins_with(alice, 0, [(s, -n) for s, n in half.legs], {})[2]
    assert half.share_ppm < 0.9 * fallen * PPM / maintenance


def coarse_venue(rng, buffer_ppm):
    """Contracts in coarse lots, so that every count of lots can be tried."""
    listed = [perpetual(lot_size_e8=1_000 * 10**8), linear(2_000_000)]
    strikes = ((95_000, "put"), (110_000, "call"))
    listed += [option(strike, side, EXPIRY, lot_size_e8=50_000_000) for strike, side in strikes]
    venue = Watched(listed, make_config(liquidation=config.Liquidation(buffer_ppm=buffer_ppm)))
    venue.marks(100_000, vol=float(rng.choice((0.4, 0.8))))
    return venue, [spec.name for spec in listed]


def take_as_much(venue, house, account, name, side):
    """As many lots as margin allows of a hundred and their halves."""
    unit = venue.engine.instrument(venue.slot(name)).price_unit_e8
    price = max(1, venue.engine.market(venue.slot(name)).mark_price_e8 // unit)
    for lots in (120, 80, 50, 30, 20, 12, 7, 4, 2, 1):
        resting = venue.place(house, name, "sell" if side == "buy" else "buy", price, lots)[0]
        if any(e.kind == EventKind.TRADE_EXECUTED for e in venue.place(account, name, side, price, lots)):
            return
        venue.submit(commands.record(CommandKind.CANCEL_ORDER, house, order_id=resting.order_id, reason=60))


@pytest.mark.parametrize("number", range(12))
def test_every_sale_is_the_naive_smallest_slice(number, seed) -> None:
    rng = np.random.default_rng([seed, number])
    compared = 0
    venue, names = coarse_venue(rng, int(rng.choice((100_000, 150_000, 300_000))))
    house = venue.account("house", btc=3_000, usdc=10**9, model="cross_pm")
    carol = venue.account("carol", btc=3_000, usdc=10**9, model="cross_pm")
    for turn in range(8):
        money = {"btc": float(rng.uniform(0.1, 0.6)), "usdc": float(rng.uniform(5_000, 40_000))}
        alice = venue.account(f"a{turn}", model=MODELS[(number + turn) % 4], **money)
        for name in rng.permutation(names)[: rng.integers(1, 5)]:
            take_as_much(venue, house, alice, str(name), str(rng.choice(("buy", "sell"))))
    index = 100_000.0
    for _ in range(60):
        index *= 1 + float(rng.normal(0, 0.03))
        venue.now += SECOND
        venue.marks(index)
        venue.tick()
        for auction in venue.engine.auctions():
            if auction.phase == 1:
                bid(venue, carol, auction)
        expected = {a.auction_id: predicted(venue, a) for a in venue.engine.auctions() if a.phase == 1 and a.bids}
        found = venue.tick(SECOND // 2)
        compared += compare(found, expected)
    assert compared > 0
    venue.sound()


def predicted(venue, view):
    """The naive slices of an auction half a second from now."""
    engine = venue.engine
    auction = engine.liquidation.auctions[view.auction_id]
    terms = engine.config.liquidation
    clock = auction.clock_ns + SECOND // 2
    if clock < terms.fast_ns:
        off = (terms.discount_start_ppm - terms.discount_cutoff_ppm) * clock // terms.fast_ns
        share = terms.discount_start_ppm - off
    else:
        share = terms.discount_cutoff_ppm * (terms.slow_ns - clock + terms.fast_ns) // terms.slow_ns
    price = engine.desk.robust_value(auction.account_id, auction.entity) * share // PPM
    account = venue.shadow.account(auction.account_id)
    return NaiveSlices(venue.shadow.state, account, auction.entity, price, auction.currency).restoring()


def compare(found, expected) -> int:
    compared = 0
    for event in found:
        if event.kind != EventKind.AUCTION_LOT_SOLD or event.phase != 1 or event.auction_id not in expected:
            continue
        legs = {e.instrument: e.quantity_lots for e in found
                if e.kind == EventKind.POSITION_TRANSFERRED and e.auction_id == event.auction_id}  # fmt: skip
        paths = expected.pop(event.auction_id)
        match = [e for path in paths for e in path if e.legs == legs and e.share_ppm == event.share_ppm]
        assert match, (legs, event.share_ppm, paths)
        # no path would have cost much less, nor done with less size at that (one may cross its target more than once)
        least = min(max(edge.share_ppm for edge in path) for path in paths)
        assert match[0].share_ppm * 10 <= least * 11, (match[0], paths)
        about = [path for path in paths if max(edge.share_ppm for edge in path) * 10 <= least * 11]
        assert all(match[0].size <= max(edge.size for edge in path) for path in about), (match[0], paths)
        compared += 1
    return compared
