"""Whole liquidations through the engine and the naive venue: every event of every command is the same.

The naive venue predicts who enters which stage, what is for sale in which auction at which price, the clearing of
every batch, fees, draws through the waterfall of capital, fund and deleveraging, tear-ups, and every receipt. Accounts
of all four models and isolated positions default under jumps of the index; bids are of every kind, the fund's answers
are lost, late, twice or wrong, marks grow stale, switches stop trading, terms and preferences change.
"""

from collections import Counter
from collections.abc import Callable

import msgspec
import pytest

from exchange import commands, config
from exchange.commands import CommandKind
from exchange.engine import Engine
from exchange.events import EventKind
from exchange.reasons import Reason
from tests.driver import SECOND, Driver, linear_perpetual, make_config, perpetual
from tests.oracles import world
from tests.oracles.compare import state_faults
from tests.oracles.default_compare import default_faults
from tests.oracles.default_draws import DefaultHistory, hasty
from tests.oracles.twins import compared
from tests.oracles.venue import Venue

COMPARE_EVERY = 250
PLAIN = ("defaults", "isolated")
OTHERS = ("icebergs", "auctions", "switches", "blocks", "quotes", "combos", "advanced", "linked", "governance",
          "transfers")  # fmt: skip
EVERYTHING = (*PLAIN, *OTHERS)
MET = (
    "LIQUIDATION_ENDED:RESTORED LIQUIDATION_ENDED:CLOSED_OUT LIQUIDATION_ENDED:DELEVERAGED LIQUIDATION_ENDED:TORN_UP "
    "AUCTION_OPENED:1 AUCTION_OPENED:2 AUCTION_PHASE_CHANGED:1 AUCTION_PHASE_CHANGED:2 AUCTION_LOT_SOLD:1 "
    "AUCTION_LOT_SOLD:2 sold:part sold:path sold:paid BID_REJECTED:WRONG_PHASE BID_REJECTED:OWN_GROUP "
    "BID_REJECTED:BIDDER_MARGIN BID_REJECTED:BATCH_FULL BID_REJECTED:AUCTION_CLOSED BID_REJECTED:SHARE_OUT_OF_RANGE "
    "BID_REJECTED:ACCOUNT_IN_LIQUIDATION BID_REJECTED:UNKNOWN_AUCTION BID_REJECTED:AWAITING_LEASE "
    "ORDER_CANCELLED:AUTO_LIQUIDATION ORDER_REJECTED:ACCOUNT_IN_LIQUIDATION COMMAND_REJECTED:ACCOUNT_IN_LIQUIDATION "
    "COMMAND_REJECTED:UNKNOWN_LEASE COMMAND_REJECTED:AMOUNT_TOO_LARGE AUCTION_PHASE_CHANGED:STALE_MARKS "
    "AUCTION_PHASE_CHANGED:FUND_EXHAUSTED AUCTION_PHASE_CHANGED:EVENT_CAP_REACHED FUND_LEASE_REQUESTED "
    "FUND_LEASE_GRANTED FUND_LEASE_GRANTED:FUND_EXHAUSTED FUND_DRAWN CAPITAL_DRAWN FUND_LEASE_SETTLED "
    "DEFAULT_COVERED:CLOSED_OUT DEFAULT_COVERED:DELEVERAGED POSITION_DELEVERAGED POSITION_TORN_UP "
    "started:segregated_pm started:cross_pm started:segregated_sm started:cross_sm started:isolated"
).split()
"""What long histories have met."""
ALWAYS = (
    "AUCTION_LOT_SOLD:1 AUCTION_LOT_SOLD:2 sold:part FUND_DRAWN CAPITAL_DRAWN POSITION_DELEVERAGED POSITION_TORN_UP "
    "LIQUIDATION_ENDED:RESTORED LIQUIDATION_ENDED:CLOSED_OUT LIQUIDATION_ENDED:DELEVERAGED BID_REJECTED:OWN_GROUP "
    "ORDER_CANCELLED:AUTO_LIQUIDATION ORDER_REJECTED:ACCOUNT_IN_LIQUIDATION"
).split()
SHIPPED = {"buffer_move_ppm": 5_000, "lease_stress_ppm": 60_000}
"""What the shipped venue has beside the defaults: a buffer by size, leases by joint stress."""
HISTORIES = 4
"""How many may share what must be met."""
Note = Callable[[str], None]


def count(happened: list, venue: Venue, counts: Counter) -> None:
    """What the events of one command show."""
    for kind, event, _ in happened:
        name = kind.name
        counts[name] += 1
        names = event.dtype.names
        if "reason" in names and event["reason"]:
            counts[f"{name}:{Reason(event['reason']).name}"] += 1
        if name.startswith("AUCTION_") and "phase" in names:
            counts[f"{name}:{event['phase']}"] += 1
        if kind == EventKind.LIQUIDATION_STARTED:
            counts[f"started:{venue.state.accounts[int(event['account_id'])].model}"] += 1
        if kind == EventKind.AUCTION_LOT_SOLD:
            counts["sold:part"] += event["share_ppm"] < 10**6
            counts["sold:paid"] += event["compensation_minor"] > 0
            moved = [e for k, e, _ in happened if k == EventKind.POSITION_TRANSFERRED]
            seller = venue.state.accounts[int(event["account_id"])]
            counts["sold:path"] += event["phase"] == 1 and len(moved) <= len(seller.holdings) // 2


def run(seed: int, length: int, features: tuple[str, ...], **rules: int) -> Counter:
    """Both twins over one history; fails at the first command on which they differ."""
    expiry_ns = world.START_NS + 20 * world.DAY_NS + 17 * world.HOUR_NS // 2
    combos = world.combos(expiry_ns) if "combos" in features else ()
    shape = hasty(world.with_buckets(world.configuration(instruments=world.instruments(expiry_ns))), **rules)
    if "governance" in features:
        shape = msgspec.structs.replace(shape, governance=world.GOVERNANCE)
    history = DefaultHistory(seed, shape, features, combos)
    engine, venue = Engine(), Venue()
    counts: Counter = Counter()
    for _, happened, faults in compared(seed, length, history, engine, venue):
        count(happened, venue, counts)
        if engine.seq % COMPARE_EVERY == 0:
            faults += state_faults(engine, venue.state) + default_faults(engine, venue.defaulting) + engine.audit()
    return counts


def two_coins() -> config.Config:
    currencies = (config.Currency("BTC", 10, underlying="BTC"), config.Currency("USDC", 6))
    eth = config.Currency("ETH", 10, underlying="ETH")
    underlyings = (config.Underlying("BTC", "btc_usd"), config.Underlying("ETH", "eth_usd"))
    return make_config(currencies=(*currencies, eth), underlyings=underlyings)


def note_of(seed: int, counts: Counter, length: int) -> str:
    names = ("LIQUIDATION_STARTED", "AUCTION_LOT_SOLD", "FUND_DRAWN", "CAPITAL_DRAWN", "POSITION_DELEVERAGED")
    shown = ", ".join(f"{counts[name]} {name}" for name in (*names, "POSITION_TORN_UP"))
    return f"whole liquidations against the naive venue: {length:,} commands from seed {seed}, {shown}"


def agree(
    seed: int, length: int, features: tuple[str, ...], wanted: list[str], note: Note, **rules: int
) -> None:  # fmt: skip
    """Histories on which the two agree; what one of them has not met, another must."""
    met: Counter = Counter()
    for number in range(HISTORIES):
        counts = run(seed + number, length, features, **rules)
        note(note_of(seed + number, counts, length))
        met.update(counts)
        if all(met[name] for name in wanted):
            return
    pytest.fail(f"{HISTORIES} histories from seed {seed} have not met {[name for name in wanted if not met[name]]}")


def test_whole_liquidations_are_the_naive_ones(seed: int, history_note: Note) -> None:
    agree(seed, 6_000, PLAIN, ALWAYS, history_note)


def test_whole_liquidations_amid_everything_else(seed: int, history_note: Note) -> None:
    agree(seed, 4_000, EVERYTHING, ALWAYS, history_note, **SHIPPED)


def test_an_order_on_stale_marks_holds_no_liquidation_back() -> None:
    """An account in breach with an order, and no lots, on an underlying without fresh marks."""
    venue = Driver([linear_perpetual(), perpetual("ETH-PERPETUAL", underlying="ETH", settlement="ETH")], two_coins())
    venue.marks(100_000)
    venue.submit(commands.update_marks(1, 3_000 * 10**8, venue.now, [], []))
    alice = venue.account("alice", usdc=30_000, model="segregated_sm")
    bob = venue.account("bob", usdc=10**7)
    venue.cold(CommandKind.DEPOSIT, config.Transfer("ETH", 10**11), alice)
    venue.trade(bob, alice, "BTC_USDC-PERPETUAL", "buy", 1_000_000, 10_000)
    venue.place(alice, "ETH-PERPETUAL", "buy", 5_900, 1)
    venue.now += 11 * SECOND
    venue.marks(97_500)
    started = [e for e in venue.tick() if e.kind == EventKind.LIQUIDATION_STARTED]
    assert [e.account_id for e in started] == [alice]


@pytest.mark.full
@pytest.mark.parametrize("number", range(10))
def test_whole_liquidations_at_length(number: int, seed: int, history_note: Note) -> None:
    rules = SHIPPED if number % 4 < 2 else {}
    agree(seed + 10 * number, 40_000, EVERYTHING if number % 2 else PLAIN, MET, history_note, **rules)
