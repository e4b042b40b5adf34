"""Generated histories through the engine and the naive venue: the same events, money and margins.

Every field of every event of every command is compared, and each currency's ledger sums to zero after each.

- Tight: bands in vol and limits on orders and owners that bind, and accounts so poor that margin decides about many
  orders and fills; the naive venue works every margin out. Positions, cash, books, waiting orders, rows and all
  margins are compared every 200 commands, margins also after every fifth mark.
- Ample: accounts so rich that nothing is ever refused for want of money; the naive venue takes that for granted and
  works margins out for withdrawals only. Everything that the two hold, margins included, is compared every 5,000.

The counters at the end say that the histories went everywhere they should.
"""

from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from exchange.commands import CommandKind, OrderFlag, OrderType, TimeInForce, TriggerSource
from exchange.config import Config
from exchange.engine import Engine
from exchange.events import BalanceCause, EventKind
from exchange.mark_events import JumpOutcome, OverrideState
from exchange.reasons import Reason
from tests.oracles import world
from tests.oracles.compare import margin_faults, state_faults
from tests.oracles.history import History
from tests.oracles.twins import compared
from tests.oracles.venue import Venue

# a history of either kind: how wealthy accounts are, how often everything is compared
TIGHT, AMPLE = (1, 200), (20_000, 5_000)
FEATURES = (
    "icebergs", "auctions", "switches", "blocks", "quotes", "combos", "advanced", "linked", "isolated",
    "governance", "transfers",
)  # fmt: skip
MET = {
    "icebergs": "ORDER_REPLENISHED accepted:iceberg ORDER_REJECTED:BAD_TERMS",
    "advanced": "accepted:advanced ORDER_REJECTED:BAD_TERMS",
    "auctions": "ORDER_REJECTED:AUCTION_ONLY AUCTION_UNCROSSED",
    "switches": "TRADING_STOPPED ORDER_REJECTED:TRADING_STOPPED ORDER_CANCELLED:KILL_SWITCH",
    "blocks": "BLOCK_TRADE_EXECUTED COMMAND_REJECTED:BLOCK_LEGS COMMAND_REJECTED:BLOCK_NONCE_USED "
    "COMMAND_REJECTED:BLOCK_SAME_ACCOUNT COMMAND_REJECTED:BLOCK_TIMED_OUT COMMAND_REJECTED:BLOCK_TOO_SMALL",
    "isolated": "MARGIN_MODE_CHANGED cause:COLLATERAL ORDER_REJECTED:ISOLATED_POSITION COMMAND_REJECTED:NOT_ISOLATED "
    "COMMAND_REJECTED:MODE_IN_USE COMMAND_REJECTED:LEVERAGE_OUT_OF_RANGE bucket:traded bucket:drew bucket:returned",
    "combos": "LEG_TRADE_EXECUTED",
    "transfers": "FUNDS_TRANSFERRED cause:TRANSFER transfer:repeated COMMAND_REJECTED:UNKNOWN_SUBACCOUNT "
    "COMMAND_REJECTED:BUCKET_ACCOUNT COMMAND_REJECTED:SAME_ACCOUNT COMMAND_REJECTED:NOT_MAIN_ACCOUNT "
    "COMMAND_REJECTED:NONCE_USED",
    "governance": "MARGIN_ANNOUNCED COMMAND_REJECTED:NOTICE_TOO_SHORT COMMAND_REJECTED:STRESSED_MARGIN "
    "COMMAND_REJECTED:OWN_PROPOSAL COMMAND_REJECTED:UNKNOWN_PROPOSAL MARKS_REJECTED:MARK_OVERRIDDEN override:IN_FORCE "
    "override:DONE override:REJECTED override:WITHDRAWN override:LAPSED override:ENDED override:REVOKED",
    "quotes": "PROTECTION_CHANGED PROTECTION_TRIGGERED accepted:quote accepted:protected "
    "COMMAND_REJECTED:UNKNOWN_GROUP COMMAND_REJECTED:QUOTES_FROZEN ORDER_REJECTED:QUOTE_NOT_EDITABLE "
    "ORDER_CANCELLED:PROTECTION_TRIGGERED ORDER_CANCELLED:PROTECTION_CHANGED",
    "linked": "ORDERS_LINKED accepted:linked ORDER_CANCELLED:OTHER_CLOSED ORDER_CANCELLED:PRIMARY_CLOSED "
    "fired:PRIMARY_ORDER ORDER_REJECTED:BAD_LINK",
}
"""What a history with a feature has met."""
LEAP_EVERY = 2_500
HISTORIES = 9
"""How many histories may share what must be met; those after the first are a third as long."""
DEBT_HISTORIES = 6
DAYS = 6
ORDER_REASONS = (
    "UNKNOWN_ACCOUNT UNKNOWN_INSTRUMENT UNKNOWN_ORDER NOT_OWNER_OF_ORDER INSTRUMENT_NOT_OPEN INSTRUMENT_EXPIRED "
    "PRICE_OFF_TICK PRICE_TOO_LOW PRICE_TOO_HIGH QUANTITY_TOO_SMALL QUANTITY_TOO_LARGE QUANTITY_NOT_POSITIVE "
    "POST_ONLY_WOULD_CROSS REDUCE_ONLY_WOULD_INCREASE FILL_OR_KILL_UNFILLABLE NOT_ENOUGH_FUNDS OPEN_ORDER_LIMIT "
    "POSITION_LIMIT DUPLICATE_LABEL NO_MARK BAD_ORDER_TYPE BAD_TIME_IN_FORCE POST_ONLY_NOT_ALLOWED "
    "LABEL_TOO_LONG VALID_UNTIL_PASSED BOOK_FULL EDIT_BELOW_FILLED NO_LIQUIDITY TRIGGER_PRICE_TOO_LOW "
    "TRIGGER_PRICE_TOO_HIGH BAD_TRIGGER TRIGGER_LIMIT"
).split()
# the largest order comes before the bound on rows, where there is one
LIMITS = "ORDER_NOTIONAL_LIMIT ORDER_DELTA_LIMIT ORDER_VEGA_LIMIT OWNER_ORDER_LIMIT OWNER_POSITION_LIMIT".split()
ENDS = (
    "USER_REQUEST IMMEDIATE_OR_CANCEL MARKET_REMAINDER SELF_TRADE REDUCE_ONLY_POSITION_GONE MAINTENANCE_WOULD_BREACH "
    "DAY_ENDED"
).split()
POVERTY = (
    "STRESSED_MARGIN NOT_ENOUGH_FUNDS MAINTENANCE_WOULD_BREACH INSUFFICIENT_WITHDRAWABLE accepted:lane level:".split()
)
COMMAND_REASONS = (
    "UNKNOWN_ACCOUNT UNKNOWN_INSTRUMENT UNKNOWN_ORDER NOT_OWNER_OF_ORDER UNKNOWN_CURRENCY ACCOUNT_EXISTS BAD_PAYLOAD "
    "NOT_ENOUGH_FUNDS INSUFFICIENT_WITHDRAWABLE AMOUNT_NOT_POSITIVE AMOUNT_TOO_LARGE"
).split()
STAGES = (
    "BREAKER_TRIPPED jump:HELD jump:CONFIRMED jump:RETURNED jump:LAPSED stage:0 stage:1 stage:2 "
    "ORDER_REJECTED:MARK_STALE COMMAND_REJECTED:MARK_STALE"
)
MARK_REASONS = "MARK_JUMP MARK_OUT_OF_RANGE UNKNOWN_INSTRUMENT UNKNOWN_UNDERLYING BAD_PAYLOAD".split()


def count_marks(kind: EventKind, event: Any, counts: Counter) -> None:
    if kind == EventKind.MARK_STAGE_CHANGED:
        counts[f"stage:{event['stage']}"] += 1
    elif kind == EventKind.OVERRIDE_CHANGED:
        counts[f"override:{OverrideState(event['state']).name}"] += 1
    elif kind == EventKind.MARK_JUMP:
        counts[f"jump:{JumpOutcome(event['outcome']).name}"] += 1


def coverage(happened: list, counts: Counter, waiting: set[int]) -> None:
    """Count what the events of one command show; `waiting` follows the orders that wait."""
    names = [kind.name for kind, _, _ in happened]
    counts.update(names)
    counts["at once"] = max(counts["at once"], names.count("ORDER_TRIGGERED"))
    for kind, event, _ in happened:
        if "reason" in event.dtype.names and event["reason"]:
            counts[f"{kind.name}:{Reason(event['reason']).name}"] += 1
        if kind in (EventKind.ORDER_ACCEPTED, EventKind.TRIGGER_PLACED, EventKind.ORDER_TRIGGERED):
            counts[f"{kind.name}:{OrderType(event['order_type']).name}"] += 1
        if kind == EventKind.BALANCE_CHANGED:
            collateral = event["cause"] == BalanceCause.COLLATERAL
            counts[f"cause:{BalanceCause(event['cause']).name}"] += 1
            counts["bucket:drew"] += collateral and names[-1] != "COMMAND_DONE" and "ORDER_ACCEPTED" in names
            counts["bucket:returned"] += collateral and "ORDER_CANCELLED" in names
        repeated = kind == EventKind.COMMAND_DONE and event["command_kind"] == CommandKind.SUBMIT_TRANSFER
        counts["transfer:repeated"] += repeated and "FUNDS_TRANSFERRED" not in names
        counts["bucket:traded"] += kind == EventKind.TRADE_EXECUTED and event["account_id"] > world.ACCOUNTS
        if kind == EventKind.ORDER_ACCEPTED:
            counts["accepted:" + TimeInForce(event["time_in_force"]).name] += 1
            for flag in (OrderFlag.ICEBERG, OrderFlag.ADVANCED, OrderFlag.QUOTE, OrderFlag.PROTECTED, OrderFlag.LINKED):
                counts["accepted:" + flag.name.lower()] += bool(event["flags"] & flag)
            counts["accepted:lane"] += bool(event["flags"] & OrderFlag.RISK_REDUCING)
            counts["accepted:adjusted"] += bool(event["flags"] & OrderFlag.PRICE_ADJUSTED)
        elif kind == EventKind.TRIGGER_PLACED:
            waiting.add(int(event["order_id"]))
        elif kind == EventKind.ORDER_TRIGGERED:
            if event["trigger_source"] != TriggerSource.PRIMARY_ORDER:  # of those, a part may wait on
                waiting.remove(int(event["trigger_order_id"]))
            counts["fired:" + TriggerSource(event["trigger_source"]).name] += 1
        elif kind == EventKind.ORDER_EDITED:
            how = "waiting" if int(event["order_id"]) in waiting else "kept" if event["kept_priority"] else "moved"
            counts[f"edited:{how}"] += 1
        elif kind == EventKind.ORDER_CANCELLED and int(event["order_id"]) in waiting:
            waiting.remove(int(event["order_id"]))
            counts[f"withdrawn:{Reason(event['reason']).name}"] += 1
        elif kind == EventKind.LEVEL_CHANGED:
            counts[f"level:{event['level']}"] += 1
        else:
            count_marks(kind, event, counts)


def missing(counts: Counter, ample: bool) -> list[str]:
    """What a long history should have met and has not."""
    wanted = [f"ORDER_REJECTED:{name}" for name in ORDER_REASONS]
    wanted += [f"ORDER_REJECTED:{name}" for name in (["ROW_LIMIT"] if ample else LIMITS)]
    wanted += [f"ORDER_CANCELLED:{name}" for name in ENDS]
    wanted += [f"COMMAND_REJECTED:{name}" for name in COMMAND_REASONS]
    wanted += [f"MARKS_REJECTED:{name}" for name in MARK_REASONS]
    wanted += [*STAGES.split(), *[f"accepted:{tif.name}" for tif in TimeInForce]]
    wanted += [f"ORDER_ACCEPTED:{OrderType(n).name}" for n in range(3)]
    wanted += [f"{event}:{OrderType(n).name}" for n in range(3, 8) for event in ("TRIGGER_PLACED", "ORDER_TRIGGERED")]
    wanted += [f"fired:{TriggerSource(n).name}" for n in range(3)]
    wanted += ["accepted:lane", "accepted:adjusted", "edited:kept", "edited:moved", "edited:waiting"]
    wanted += ["withdrawn:USER_REQUEST", "withdrawn:DAY_ENDED", "level:0", "level:1", "level:2", "TRADE_EXECUTED"]
    wanted += [name for feature in FEATURES for name in MET[feature].split()]
    if ample:
        wanted += ["ORDER_CANCELLED:INSTRUMENT_SETTLED"]
        wanted = [name for name in wanted if not any(part in name for part in POVERTY)]
    return [name for name in wanted if not counts[name]]


def run(
    seed: int, length: int, kind: tuple[int, int], shape: Callable[[Config], Config] = lambda plain: plain,
    expires_in_ns: int = DAYS * world.DAY_NS + 17 * world.HOUR_NS // 2, leap_every: int = LEAP_EVERY,
) -> tuple[Engine, Counter]:  # fmt: skip
    """Both twins over one history; fails at the first command on which they differ. `shape` changes the venue's
    configuration."""
    wealth, sample_every = kind
    ample = kind == AMPLE
    expiry_ns = world.START_NS + expires_in_ns
    combos = world.combos(expiry_ns) if "combos" in FEATURES else ()
    venue_of = world.governed(world.configuration(instruments=world.instruments(expiry_ns)))
    venue_of = world.with_buckets(venue_of if ample else world.tightened(venue_of))
    venue_of = shape(venue_of)
    history = History(
        seed, configuration=venue_of, leap_every=leap_every, wealth=wealth, features=FEATURES, combos=combos
    )
    engine, venue = Engine(), Venue(ample)
    counts: Counter = Counter()
    waiting: set[int] = set()
    for command, happened, faults in compared(seed, length, history, engine, venue):
        coverage(happened, counts, waiting)
        counts[command.name] += 1
        state = venue.state
        if engine.seq % sample_every == 0 or (faults and engine.seq > 100):
            faults += state_faults(engine, state) + engine.audit()
        elif not ample and command == CommandKind.UPDATE_MARKS and engine.seq % 5 == 0:
            for account in state.accounts.values():
                faults += margin_faults(engine, state, account)
    print(", ".join(f"{name} {count}" for name, count in sorted(counts.items())))
    return engine, counts


SPANNED = (
    "accepted:lane ORDER_REJECTED:NOT_ENOUGH_FUNDS ORDER_CANCELLED:MAINTENANCE_WOULD_BREACH level:0 level:1 level:2 "
    "TRADE_EXECUTED LEG_TRADE_EXECUTED accepted:quote accepted:linked"
).split()
"""What a tight history under `span16` has met."""
Note = Callable[[str], None]


def agree(seed: int, length: int, kind: tuple[int, int], note: Note) -> tuple[Engine, Counter]:
    """Histories of `length` commands on which the two agree; what one of them has not met, another must."""
    what, met, at_once = "ample" if kind == AMPLE else "tight", Counter(), 0
    longest: Engine | None = None
    for number in range(HISTORIES):
        count = length if number == 0 else length // 3
        note(f"engine against naive venue, {what}: {count:,} commands from seed {seed + number}, every event compared")
        engine, counts = run(seed + number, count, kind)
        assert counts["TRADE_EXECUTED"] > count // 25
        assert engine.counters().trades == counts["TRADE_EXECUTED"] + counts["LEG_TRADE_EXECUTED"]
        longest = longest or engine
        met.update(counts)
        at_once = max(at_once, counts["at once"])
        if at_once >= 64 and not missing(met, kind == AMPLE):
            return longest, met
    pytest.fail(
        f"{HISTORIES} histories from seed {seed} have not met {missing(met, kind == AMPLE)} ({at_once} at once)"
    )


def test_engine_and_naive_venue_agree(seed: int, history_note: Note) -> None:
    engine, counts = agree(seed, 24_000, TIGHT, history_note)
    assert counts["ORDER_ACCEPTED"] > 3_000
    assert all(engine.ledger(name)["funding"] for name in ("BTC", "USDC", "ETH"))


def test_engine_and_naive_venue_agree_on_charges_beside_the_grid(seed: int, history_note: Note) -> None:
    history_note(f"engine against naive venue with charges: 8,000 commands from seed {seed}, every event compared")
    _, counts = run(seed, 8_000, TIGHT, world.charged)
    met = ("ORDER_REJECTED:NOT_ENOUGH_FUNDS", "ORDER_CANCELLED:MAINTENANCE_WOULD_BREACH", "accepted:lane", "level:2")
    assert [name for name in met if not counts[name]] == []
    assert counts["TRADE_EXECUTED"] > 200


AVERAGED: dict[str, Callable[[Config], Config]] = {
    "matrix": world.averaged,
    "charges": lambda plain: world.averaged(world.charged(plain)),
    "span16": lambda plain: world.averaged(world.spanned(plain)),
    "span16 in points": lambda plain: world.averaged(world.spanned(plain, False)),
}


@pytest.mark.parametrize("shape", AVERAGED)
def test_engine_and_naive_venue_agree_on_settlement_averages(shape: str, seed: int, history_note: Note) -> None:
    """Contracts that come into their half hour and go through it; how far is the seed's affair."""
    ahead = 25 + seed % 10
    history_note(f"engine against naive venue, {shape} on settlement averages: 1,500 commands from seed {seed}")
    engine, counts = run(seed, 1_500, TIGHT, AVERAGED[shape], ahead * 60 * 10**9, 0)
    assert counts["TRADE_EXECUTED"] > 30
    assert any(left < 28 * 60 * 10**9 for left in known_averages(engine)), known_averages(engine)


def known_averages(engine: Engine) -> list[int]:
    """Time left, at the last marks, to expiries whose average has begun."""
    expiries = {engine.instrument(slot).expiry_ns for slot in engine.listing.slots()} - {0}
    left = [expiry - engine.marks_time_ns(0) for expiry in expiries]
    return [ns for ns in left if ns < 30 * 60 * 10**9]


@pytest.mark.parametrize("spans", [1, 2])
def test_engine_and_naive_venue_agree_under_span16(spans: int, seed: int, history_note: Note) -> None:
    """BTC with vols in points beside an ETH with columns of its own, then both with credits between them."""
    history_note(f"engine against naive venue, span16 on {spans}: 12,000 commands from seed {seed}")
    _, counts = run(seed + spans, 12_000, TIGHT, lambda plain: world.spanned(plain, spans > 1))
    assert [name for name in SPANNED if not counts[name]] == []


def test_engine_and_naive_venue_agree_on_debts(seed: int, history_note: Note) -> None:
    """Until interest was charged and a debt converted; how soon a debt arises is the seed's affair."""
    met: Counter = Counter()
    for number in range(DEBT_HISTORIES):
        engine, counts = run(seed + number, 8_000, TIGHT, world.indebted)
        met.update(counts)
        said = f"{counts['cause:INTEREST']} charges of interest, {counts['cause:CONVERSION']} legs of conversions"
        history_note(f"engine against naive venue on debts: 8,000 commands from seed {seed + number}, {said}")
        assert engine.audit() == []
        if met["cause:INTEREST"] and met["cause:CONVERSION"]:
            return
    pytest.fail(f"{DEBT_HISTORIES} histories from seed {seed} have not met interest and a conversion: {met}")


def test_engine_and_naive_venue_agree_where_money_is_no_object(seed: int, history_note: Note) -> None:
    agree(seed, 90_000, AMPLE, history_note)


@pytest.mark.full
@pytest.mark.parametrize("number", range(8))
def test_engine_and_naive_venue_agree_at_length(number: int, seed: int, history_note: Note) -> None:
    agree(seed + number, 60_000, TIGHT, history_note)


@pytest.mark.full
@pytest.mark.parametrize("number", range(10))
def test_engine_and_naive_venue_agree_over_millions(number: int, seed: int, history_note: Note) -> None:
    agree(seed + number, 500_000, AMPLE, history_note)
