"""Long generated histories with expiries and liquidations: what must hold after every command does.

Every command: each currency's ledger sums to zero, and positions net in whatever was traded. Every few hundred: the
full audit (incremental risk == recomputed risk), and rows and margins against the naive model.
"""

from collections import Counter

import pytest

from exchange import events
from exchange.config import Config
from exchange.engine import Engine
from exchange.events import EventKind
from exchange.reasons import Reason
from tests.oracles import world
from tests.oracles.history import History
from tests.oracles.receipts import Receipts
from tests.oracles.shadow import Shadow

MOVING = (EventKind.TRADE_EXECUTED, EventKind.POSITION_TRANSFERRED, EventKind.POSITION_SETTLED)
WANTED = (
    "INSTRUMENT_SETTLED POSITION_SETTLED LIQUIDATION_STARTED LIQUIDATION_ENDED AUCTION_OPENED AUCTION_CLOSED "
    "AUCTION_LOT_SOLD POSITION_TRANSFERRED BID_ACCEPTED BID_REJECTED FUND_LEASE_REQUESTED FUND_LEASE_GRANTED "
    "FUND_LEASE_SETTLED TRADE_EXECUTED ORDER_CANCELLED:AUTO_LIQUIDATION ORDER_CANCELLED:INSTRUMENT_SETTLED "
    "ORDER_CANCELLED:MAINTENANCE_WOULD_BREACH ORDER_REJECTED:ACCOUNT_IN_LIQUIDATION"
).split()

ISOLATED_WANTED = (
    "MARGIN_MODE_CHANGED BALANCE_CHANGED LIQUIDATION_STARTED LIQUIDATION_ENDED POSITION_TORN_UP AUCTION_LOT_SOLD "
    "LEVEL_CHANGED INSTRUMENT_SETTLED"
).split()


def quick_faults(engine: Engine, happened: list) -> list[str]:
    """What one command can have broken: conservation of money and of lots."""
    faults = [
        f"{currency.name} sums to {sum(engine.ledger(currency.name).values())}"
        for currency in engine.config.currencies
        if sum(engine.ledger(currency.name).values())
    ]
    for slot in {int(event["instrument"]) for kind, event, _ in happened if kind in MOVING}:
        net = sum(engine.positions_room.lots(account_id, slot) for account_id in engine.account_ids())
        if net:
            faults.append(f"positions of instrument {slot} net to {net}")
    return faults


def run(seed: int, length: int, sample_every: int, isolated: bool = False) -> Counter:
    """One history; fails at the first command that breaks something."""
    history, engine = History(seed, ticks=True), Engine()
    if isolated:
        history = History(seed, ticks=True, configuration=bucket_world(), features=("isolated",))
    shadow, receipts = None, Receipts(engine)
    counts: Counter = Counter()
    for _ in range(length):
        record = history.next()
        if shadow:
            shadow.before(record)
        receipts.before(record)
        engine.apply(record)
        happened = list(events.records(engine.take_events()))
        history.saw(happened)
        shadow = shadow or Shadow(engine)
        shadow.saw(record, happened)
        for kind, event, _ in happened:
            counts[kind.name] += 1
            if "reason" in event.dtype.names and event["reason"]:
                counts[f"{kind.name}:{Reason(event['reason']).name}"] += 1
        faults = quick_faults(engine, happened) + receipts.faults(happened)
        counts["receipts worked out"] = receipts.checked
        if engine.seq % sample_every == 0:
            faults += engine.audit() + shadow.faults()
        if faults:
            pytest.fail(f"seed {seed}, command {engine.seq}:\n" + "\n".join(faults[:20]))
    return counts


def test_invariants_hold_through_liquidations_and_expiries(seed: int) -> None:
    counts = run(seed, 110_000, 250)
    print(f"seed {seed}: " + ", ".join(f"{name} {count}" for name, count in sorted(counts.items())))
    assert [name for name in WANTED if not counts[name]] == []


def bucket_world() -> Config:
    """The world with buckets; the last four accounts, of two owners, begin with isolated perpetuals."""
    return world.with_buckets(world.configuration())


def test_invariants_hold_through_liquidations_of_isolated_positions(seed: int) -> None:
    counts = run(seed, 40_000, 250, isolated=True)
    print(f"seed {seed}: " + ", ".join(f"{name} {count}" for name, count in sorted(counts.items())))
    assert [name for name in (*ISOLATED_WANTED, "receipts worked out") if not counts[name]] == []


@pytest.mark.full
@pytest.mark.parametrize("number", range(6))
def test_invariants_hold_at_length(number: int, seed: int) -> None:
    counts = run(seed + number, 250_000, 1_000)
    assert [name for name in WANTED if not counts[name]] == []
