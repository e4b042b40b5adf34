"""The engine's frame: genesis, stamps, cold commands, checkpoints, and that a broken invariant stops it."""

import pytest

from exchange import commands, config
from exchange.commands import CommandKind
from exchange.engine import CheckpointMismatch, Engine, InvariantBroken
from exchange.events import EventKind
from exchange.reasons import Reason
from tests.driver import COIN, DAY, START_NS, Driver, kinds, linear_perpetual, make_config, only, option, perpetual


def stamped(kind, seq, time_ns=START_NS, payload=None, **fields):
    record = commands.cold(kind, payload) if payload is not None else commands.record(kind, **fields)
    record[8:16] = seq.to_bytes(8, "little")
    record[16:24] = time_ns.to_bytes(8, "little")
    return record


def test_first_command_must_be_genesis():
    with pytest.raises(InvariantBroken, match="genesis"):
        Engine().apply(stamped(CommandKind.TICK, 1))


def test_genesis_comes_once():
    venue = Driver()
    with pytest.raises(InvariantBroken, match="genesis"):
        venue.submit(commands.cold(CommandKind.GENESIS, make_config()))


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({"currencies": ()}, "currencies"),
        ({"currencies": (config.Currency("BTC", 8, underlying="BTC"),)}, "exponent must be 10"),
        ({"currencies": (config.Currency("SOL", 10, underlying="SOL"),)}, "unknown underlying SOL"),
        ({"liquidation": config.Liquidation(discount_start_ppm=1, discount_cutoff_ppm=2)}, "cutoff <= start"),
        ({"checkpoint_every": 0}, "checkpoint_every"),
    ],
)
def test_bad_configuration_is_refused_by_name(changes, fault):
    with pytest.raises(InvariantBroken, match=fault):
        Driver(configuration=make_config(**changes))


def test_gap_in_seq_stops_the_engine_for_good():
    venue = Driver([perpetual()])
    with pytest.raises(InvariantBroken, match="expected seq 3"):
        venue.engine.apply(stamped(CommandKind.TICK, 4))
    with pytest.raises(InvariantBroken, match="stopped before"):
        venue.engine.apply(stamped(CommandKind.TICK, 3))


def test_time_never_goes_back():
    venue = Driver([perpetual()])
    with pytest.raises(InvariantBroken, match="backwards"):
        venue.engine.apply(stamped(CommandKind.TICK, 3, START_NS - 1))


def test_record_must_be_whole():
    venue = Driver()
    with pytest.raises(InvariantBroken, match="not whole"):
        venue.engine.apply(bytes(stamped(CommandKind.TICK, 2))[:63])


def test_cold_command_with_a_bad_payload_is_rejected_and_changes_nothing():
    venue = Driver([perpetual()])
    before = venue.engine.export()[6:]
    for kind, payload in [
        (CommandKind.CREATE_ACCOUNT, {"nome": "x"}),
        (CommandKind.DEPOSIT, {"currency": 5}),
        (CommandKind.LIST_INSTRUMENTS, [1, 2]),
        (CommandKind.SET_INSTRUMENT_STATE, {"name": "BTC-PERPETUAL", "state": "exploded"}),
    ]:
        assert only(venue.cold(kind, payload), EventKind.COMMAND_REJECTED).reason == Reason.BAD_PAYLOAD
    assert venue.engine.export()[6:] == before


@pytest.mark.parametrize(
    ("spec", "reason"),
    [
        (perpetual(underlying="DOGE"), Reason.UNKNOWN_UNDERLYING),
        (perpetual(settlement="EUR"), Reason.UNKNOWN_CURRENCY),
        (perpetual("BTC-PERPETUAL"), Reason.DUPLICATE_NAME),
        (option(100_000, "call", START_NS - DAY), Reason.INSTRUMENT_EXPIRED),
        (perpetual("X", price_unit_e8=3), Reason.BAD_CONFIGURATION),
        (perpetual("X", settlement="USDC"), Reason.BAD_CONFIGURATION),
        (perpetual("X", expiry_ns=START_NS + DAY), Reason.BAD_CONFIGURATION),
    ],
)
def test_listing_is_all_or_nothing(spec, reason):
    venue = Driver([perpetual()])
    good = linear_perpetual()
    rejected = venue.cold(CommandKind.LIST_INSTRUMENTS, config.ListInstruments((good, spec)))
    assert only(rejected, EventKind.COMMAND_REJECTED).reason == reason
    assert venue.engine.instrument_slot(good.name) == -1
    venue.sound()


def test_accounts_deposits_and_withdrawals():
    venue = Driver([perpetual()])
    alice = venue.account("alice", btc=1.5)
    assert venue.engine.account_id("alice") == alice == 1
    again = venue.cold(CommandKind.CREATE_ACCOUNT, config.CreateAccount("alice"))
    assert only(again, EventKind.COMMAND_REJECTED).reason == Reason.ACCOUNT_EXISTS
    for amount, currency, reason in [
        (0, "BTC", Reason.AMOUNT_NOT_POSITIVE),
        (-5, "BTC", Reason.AMOUNT_NOT_POSITIVE),
        (1 << 60, "BTC", Reason.AMOUNT_TOO_LARGE),
        (5, "EUR", Reason.UNKNOWN_CURRENCY),
    ]:
        found = venue.cold(CommandKind.DEPOSIT, config.Transfer(currency, amount), alice)
        assert only(found, EventKind.COMMAND_REJECTED).reason == reason
    found = venue.cold(CommandKind.DEPOSIT, config.Transfer("BTC", 5), 99)
    assert only(found, EventKind.COMMAND_REJECTED).reason == Reason.UNKNOWN_ACCOUNT
    found = venue.cold(CommandKind.WITHDRAW, config.Transfer("BTC", 2 * COIN), alice)
    assert only(found, EventKind.COMMAND_REJECTED).reason == Reason.INSUFFICIENT_WITHDRAWABLE
    venue.cold(CommandKind.WITHDRAW, config.Transfer("BTC", COIN), alice)
    assert venue.cash(alice) == COIN // 2
    assert venue.engine.ledger("BTC")["outside"] == -COIN // 2
    venue.sound()


def test_withdrawal_keeps_initial_margin():
    venue = Driver([perpetual()])
    alice, bob = venue.account("alice", btc=1), venue.account("bob", btc=10)
    venue.marks(100_000)
    venue.trade(bob, alice, "BTC-PERPETUAL", "buy", 200_000, 30_000)
    free = venue.view(alice).available_minor
    assert 0 < free < COIN
    found = venue.cold(CommandKind.WITHDRAW, config.Transfer("BTC", free + 1), alice)
    assert only(found, EventKind.COMMAND_REJECTED).reason == Reason.INSUFFICIENT_WITHDRAWABLE
    assert EventKind.COMMAND_DONE in kinds(venue.cold(CommandKind.WITHDRAW, config.Transfer("BTC", free), alice))
    assert venue.view(alice).available_minor == 0


def test_margin_model_changes_only_where_the_new_requirement_is_met():
    venue = Driver([perpetual(), linear_perpetual()])
    alice, bob = venue.account("alice", btc=0.807), venue.account("bob", btc=50)
    venue.marks(100_000)
    venue.trade(bob, alice, "BTC-PERPETUAL", "buy", 200_000, 40_000)
    # a long whose collateral is the coin itself carries more risk in USD than in coins
    found = venue.cold(CommandKind.CHANGE_MARGIN_MODEL, config.ChangeMarginModel("cross_pm"), alice)
    assert only(found, EventKind.COMMAND_REJECTED).reason == Reason.NOT_ENOUGH_FUNDS
    assert venue.engine.account(alice).margin_model == "segregated_pm"
    found = venue.cold(CommandKind.CHANGE_MARGIN_MODEL, config.ChangeMarginModel("cross_pm"), bob)
    assert EventKind.COMMAND_DONE in kinds(found)
    assert venue.engine.account(bob).margin_model == "cross_pm"
    venue.sound()


def test_halted_and_close_only_instruments():
    venue = Driver([perpetual()])
    alice, bob = venue.account("alice", btc=5), venue.account("bob", btc=5)
    venue.marks(100_000)
    venue.trade(bob, alice, "BTC-PERPETUAL", "buy", 200_000, 100)
    venue.cold(CommandKind.SET_INSTRUMENT_STATE, config.InstrumentState("BTC-PERPETUAL", "halted"))
    found = venue.place(alice, "BTC-PERPETUAL", "sell", 200_000, 10)
    assert only(found, EventKind.ORDER_REJECTED).reason == Reason.INSTRUMENT_NOT_OPEN
    venue.cold(CommandKind.SET_INSTRUMENT_STATE, config.InstrumentState("BTC-PERPETUAL", "close_only"))
    found = venue.place(alice, "BTC-PERPETUAL", "buy", 200_000, 10)
    assert only(found, EventKind.ORDER_REJECTED).reason == Reason.REDUCE_ONLY_WOULD_INCREASE
    assert kinds(venue.place(alice, "BTC-PERPETUAL", "sell", 210_000, 500)) == [EventKind.ORDER_ACCEPTED]
    assert venue.engine.open_orders(alice)[0].quantity_lots == 100


def test_label_longer_than_its_record_is_refused():
    venue = Driver([perpetual()])
    alice = venue.account("alice", btc=5)
    venue.marks(100_000)
    record = commands.record(CommandKind.PLACE_ORDER, alice, price_units=1, quantity_lots=1, label_bytes=30)
    assert only(venue.submit(record), EventKind.COMMAND_REJECTED).reason == Reason.BAD_PAYLOAD


def test_replay_reproduces_state_and_checkpoints():
    venue = Driver([perpetual(), option(100_000, "call", START_NS + 30 * DAY)])
    alice, bob = venue.account("alice", btc=5), venue.account("bob", btc=5)
    venue.marks(100_000)
    venue.trade(bob, alice, "BTC-PERPETUAL", "buy", 200_000, 100)
    venue.sequencer.checkpoint()
    venue.marks(101_000)
    venue.sequencer.checkpoint()
    twin = Engine()
    twin.apply_many(b"".join(venue.journal.records))
    assert twin.checkpoints == 2
    assert twin.state_digest() == venue.engine.state_digest()
    assert twin.event_chain() == venue.engine.event_chain()
    assert twin.audit() == []


def test_a_checkpoint_that_is_not_reproduced_names_its_seq():
    venue = Driver([perpetual()])
    venue.account("alice", btc=5)
    venue.sequencer.checkpoint()
    records = list(venue.journal.records)
    payload = commands.cold(CommandKind.CREATE_ACCOUNT, config.CreateAccount("alice", 0, "cross_pm"))
    payload[:24] = records[2][:24]
    records[2] = bytes(payload)
    twin = Engine()
    with pytest.raises(CheckpointMismatch) as caught:
        twin.apply_many(b"".join(records))
    assert caught.value.seq == len(records)


def test_actors_stand_on_administrative_commands_only():
    tick = commands.by(commands.Actor.CLOCK, commands.record(CommandKind.TICK))
    assert tick[24] == commands.Actor.CLOCK
    deposit = commands.by(commands.Actor.OPERATOR, commands.cold(CommandKind.DEPOSIT, config.Transfer("BTC", 5), 1))
    assert deposit[28] == commands.Actor.OPERATOR
    assert commands.payload(deposit) == commands.payload(commands.cold(CommandKind.DEPOSIT, config.Transfer("BTC", 5)))
    order = commands.record(CommandKind.PLACE_ORDER, 1, price_units=5)
    assert commands.by(commands.Actor.OPERATOR, bytearray(order)) == order
