"""Generated histories through the engine and the naive venue: the same events, money and margins.

The events of every command are compared field by field; positions, cash, books, rows and margins every few
hundred commands and after some marks. The counters at the end say that the histories went everywhere they should.
"""

from collections import Counter

import pytest

from exchange import events
from exchange.commands import CommandKind, OrderFlag, TimeInForce
from exchange.engine import Engine
from exchange.events import EventKind
from exchange.reasons import Reason
from tests.oracles.compare import event_faults, margin_faults, state_faults
from tests.oracles.history import History
from tests.oracles.venue import Venue

SAMPLE_EVERY = 200
ORDER_REASONS = (
    "UNKNOWN_ACCOUNT UNKNOWN_INSTRUMENT UNKNOWN_ORDER NOT_OWNER_OF_ORDER INSTRUMENT_NOT_OPEN INSTRUMENT_EXPIRED "
    "PRICE_OFF_TICK PRICE_TOO_LOW PRICE_TOO_HIGH QUANTITY_TOO_SMALL QUANTITY_TOO_LARGE QUANTITY_NOT_POSITIVE "
    "POST_ONLY_WOULD_CROSS REDUCE_ONLY_WOULD_INCREASE FILL_OR_KILL_UNFILLABLE NOT_ENOUGH_FUNDS OPEN_ORDER_LIMIT "
    "POSITION_LIMIT ROW_LIMIT DUPLICATE_LABEL NO_MARK BAD_ORDER_TYPE BAD_TIME_IN_FORCE POST_ONLY_NOT_ALLOWED "
    "LABEL_TOO_LONG VALID_UNTIL_PASSED BOOK_FULL EDIT_BELOW_FILLED"
).split()
ENDS = "USER_REQUEST IMMEDIATE_OR_CANCEL MARKET_REMAINDER SELF_TRADE REDUCE_ONLY_POSITION_GONE MAINTENANCE_WOULD_BREACH"
COMMAND_REASONS = (
    "UNKNOWN_ACCOUNT UNKNOWN_INSTRUMENT UNKNOWN_ORDER NOT_OWNER_OF_ORDER UNKNOWN_CURRENCY ACCOUNT_EXISTS BAD_PAYLOAD "
    "NOT_ENOUGH_FUNDS INSUFFICIENT_WITHDRAWABLE AMOUNT_NOT_POSITIVE AMOUNT_TOO_LARGE"
).split()
MARK_REASONS = "MARK_JUMP MARK_OUT_OF_RANGE UNKNOWN_INSTRUMENT UNKNOWN_UNDERLYING BAD_PAYLOAD".split()


def coverage(happened: list, counts: Counter) -> None:
    """Count what the events of one command show."""
    for kind, event, _ in happened:
        counts[kind.name] += 1
        if "reason" in event.dtype.names and event["reason"]:
            counts[f"{kind.name}:{Reason(event['reason']).name}"] += 1
        if kind == EventKind.ORDER_ACCEPTED:
            counts["accepted:" + TimeInForce(event["time_in_force"]).name] += 1
            counts["accepted:lane"] += bool(event["flags"] & OrderFlag.RISK_REDUCING)
            counts["accepted:adjusted"] += bool(event["flags"] & OrderFlag.PRICE_ADJUSTED)
        elif kind == EventKind.ORDER_EDITED:
            counts[f"edited:{'kept' if event['kept_priority'] else 'moved'}"] += 1
        elif kind == EventKind.LEVEL_CHANGED:
            counts[f"level:{event['level']}"] += 1


def missing(counts: Counter) -> list[str]:
    """What a long history should have met and has not."""
    wanted = [f"ORDER_REJECTED:{name}" for name in ORDER_REASONS]
    wanted += [f"ORDER_CANCELLED:{name}" for name in ENDS.split()]
    wanted += [f"COMMAND_REJECTED:{name}" for name in COMMAND_REASONS]
    wanted += [f"MARKS_REJECTED:{name}" for name in MARK_REASONS]
    wanted += ["accepted:lane", "accepted:adjusted", "accepted:FILL_OR_KILL", "edited:kept", "edited:moved"]
    wanted += ["level:0", "level:1", "level:2", "TRADE_EXECUTED"]
    return [name for name in wanted if not counts[name]]


def run(seed: int, length: int) -> tuple[Engine, Counter]:
    """Both twins over one history; fails at the first command on which they differ."""
    history, engine, venue = History(seed), Engine(), Venue()
    counts: Counter = Counter()
    for _ in range(length):
        record = history.next()
        engine.apply(record)
        happened = list(events.records(engine.take_events()))
        predicted = venue.apply(record)
        history.saw(happened)
        coverage(happened, counts)
        faults = event_faults(happened, predicted)
        kind = CommandKind(int.from_bytes(record[:2], "little"))
        state = venue.state
        faults += [
            f"{currency.name} does not sum to zero"
            for c, currency in enumerate(state.config.currencies)
            if sum(engine.ledger(currency.name).values()) or state.imbalance(c)
        ]
        if engine.seq % SAMPLE_EVERY == 0:
            faults += state_faults(engine, state) + engine.audit()
        elif kind == CommandKind.UPDATE_MARKS and engine.seq % 5 == 0:
            for account in state.accounts.values():
                faults += margin_faults(engine, state, account)
        if faults:
            pytest.fail(f"seed {seed}, command {engine.seq} ({kind.name}):\n" + "\n".join(faults[:20]))
    return engine, counts


def test_engine_and_naive_venue_agree(seed: int) -> None:
    engine, counts = run(seed, 21_000)
    print(f"seed {seed}: " + ", ".join(f"{name} {count}" for name, count in sorted(counts.items())))
    assert missing(counts) == []
    assert engine.counters().trades == counts["TRADE_EXECUTED"] > 1_000
    assert counts["ORDER_ACCEPTED"] > 5_000
    assert all(engine.ledger(name)["funding"] for name in ("BTC", "USDC", "ETH"))


@pytest.mark.full
@pytest.mark.parametrize("number", range(8))
def test_engine_and_naive_venue_agree_at_length(number: int, seed: int) -> None:
    _, counts = run(seed + number, 60_000)
    assert missing(counts) == []
