"""Block trades: booked whole for both accounts or refused without a trace."""

import pytest

from exchange import commands, config, payloads
from exchange.commands import CommandKind, OrderType, TradeFlag, TriggerSource
from exchange.engine import Engine
from exchange.events import EventKind
from exchange.reasons import Reason
from tests.driver import DAY, SECOND, START_NS, Driver, kinds, only, option, patient, perpetual

NAME = "BTC-PERPETUAL"
EXPIRY = START_NS + 30 * DAY
CALL = option(100_000, "call", EXPIRY, block_min_lots=10)


@pytest.fixture(params=["segregated_pm", "cross_pm"])
def venue(request):
    listed = [perpetual(fees=config.Fees(maker_ppm=100, taker_ppm=500)), CALL, option(110_000, "call", EXPIRY)]
    made = Driver(listed, patient())
    made.names = [spec.name for spec in listed]
    made.alice, made.bob, made.carol = (
        made.account(name, btc=2, model=request.param) for name in ("alice", "bob", "carol")
    )
    made.marks(100_000)
    return made


def leg(venue, index, side, price, lots):
    return payloads.BlockLeg(venue.slot(venue.names[index]), 0 if side == "buy" else 1, price, lots)


def block(venue, *trades, maker=None, taker=None, nonce="n1", timestamp_ms=None):
    stamp = venue.now // 1_000_000 if timestamp_ms is None else timestamp_ms
    agreed = payloads.BlockTrade(maker or venue.alice, taker or venue.bob, stamp, nonce, tuple(trades))
    return venue.cold(CommandKind.BLOCK_TRADE, agreed)


def refused(venue, *trades, **fields):
    before = venue.engine.export()[2:]
    found = only(block(venue, *trades, **fields), EventKind.COMMAND_REJECTED)
    assert venue.engine.export()[2:] == before
    venue.sound()
    return Reason(found.reason), found.detail


def test_all_trades_are_booked_for_both_accounts(venue):
    venue.trade(venue.carol, venue.bob, NAME, "buy", 200_200, 3)
    calls = venue.engine.market(venue.slot(CALL.name))
    price = round(calls.mark_price_e8 / 10_000)
    found = block(venue, leg(venue, 0, "sell", 199_000, 100), leg(venue, 1, "buy", price, 12))
    assert kinds(found) == [
        EventKind.BLOCK_TRADE_EXECUTED, EventKind.TRADE_EXECUTED, EventKind.TRADE_EXECUTED, EventKind.COMMAND_DONE,
    ]  # fmt: skip
    said, future, premium, done = found
    assert (said.block_id, said.maker_account_id, said.account_id, said.trade_count) == (1, venue.alice, venue.bob, 2)
    assert (said.timestamp_ms, done.detail) == (START_NS // 10**6, 1)
    assert (future.taker_order_id, future.maker_order_id, future.taker_flags) == (0, 0, TradeFlag.BLOCK)
    assert (future.side, future.price_units, future.quantity_lots, premium.side) == (0, 199_000, 100, 1)
    # 1,000 USD at 99,500 USD: fees at the maker's 0.01 % and the taker's 0.05 %, rounded up
    assert (future.maker_fee_minor, future.taker_fee_minor) == (10_051, 50_252)
    held = venue.engine.positions_room.held
    assert [lots for _, lots, _ in held(venue.alice)] == [-100, 12]
    assert [lots for _, lots, _ in held(venue.bob)] == [103, -12]
    market = venue.engine.market(venue.slot(NAME))
    # volume and open interest count it; the last price is that of the book
    assert (market.last_price_units, market.volume_lots, market.open_interest_lots) == (200_200, 103, 103)
    assert (market.trade_seq, future.trade_seq, future.tick_direction) == (2, 2, 0)
    assert venue.engine.market(venue.slot(CALL.name)).last_price_units is None
    venue.sound()
    twin = Engine()
    twin.apply_many(b"".join(venue.journal.records))
    assert twin.state_digest() == venue.engine.state_digest()


def test_agreements_that_are_refused(venue):
    good = leg(venue, 0, "sell", 200_000, 10)
    assert refused(venue, good, taker=venue.alice) == (Reason.BLOCK_SAME_ACCOUNT, 0)
    for account in (99, -1, 1 << 40):
        assert refused(venue, good, maker=account)[0] == Reason.UNKNOWN_ACCOUNT
        assert refused(venue, good, taker=account)[0] == Reason.UNKNOWN_ACCOUNT
    assert refused(venue)[0] == Reason.BLOCK_LEGS
    assert refused(venue, good, leg(venue, 0, "buy", 200_000, 20))[0] == Reason.BLOCK_LEGS
    many = [payloads.BlockLeg(slot, 0, 200_000, 10) for slot in range(21)]
    assert refused(venue, *many)[0] == Reason.BLOCK_LEGS
    for nonce in ("", "x" * 65):
        assert refused(venue, good, nonce=nonce)[0] == Reason.BAD_PAYLOAD
    for stamp in (0, -(1 << 62), (1 << 63) - 1, START_NS // 10**6 + 300_001, START_NS // 10**6 - 300_001):
        assert refused(venue, good, timestamp_ms=stamp)[0] == Reason.BLOCK_TIMED_OUT


@pytest.mark.parametrize(
    ("index", "side", "price", "lots", "reason"),
    [
        (0, "sell", 200_000, 0, Reason.QUANTITY_NOT_POSITIVE),
        (0, "sell", 200_000, -5, Reason.QUANTITY_NOT_POSITIVE),
        (0, "sell", 200_000, 1 << 63, Reason.QUANTITY_TOO_LARGE),
        (0, "sell", 200_000, 10_000_001, Reason.QUANTITY_TOO_LARGE),
        (0, "sell", 1 << 63, 10, Reason.PRICE_TOO_HIGH),
        (0, "buy", 1 << 63, 10, Reason.PRICE_TOO_HIGH),
        (0, "sell", 0, 10, Reason.PRICE_TOO_LOW),
        (0, "sell", 240_001, 10, Reason.PRICE_TOO_HIGH),
        (0, "buy", 159_999, 10, Reason.PRICE_TOO_LOW),
        (0, "buy", 240_001, 10, Reason.PRICE_TOO_HIGH),
        (0, "sell", 159_999, 10, Reason.PRICE_TOO_LOW),
        (1, "sell", 600, 9, Reason.BLOCK_TOO_SMALL),
        (0, "sell", 200_000, 100_000, Reason.NOT_ENOUGH_FUNDS),
    ],
)
def test_trades_that_are_refused(venue, index, side, price, lots, reason):
    assert refused(venue, leg(venue, index, side, price, lots))[0] == reason
    # the second of two is named
    if reason not in (Reason.NOT_ENOUGH_FUNDS,):
        other = leg(venue, 2, "sell", 300, 10)
        assert refused(venue, other, leg(venue, index, side, price, lots)) == (reason, 1)


def test_numbers_that_name_nothing(venue):
    for instrument in (50, -1, 1 << 32, 1 << 63):
        assert refused(venue, {"instrument": instrument, "side": 0, "price_units": 1, "quantity_lots": 1})[0] in (
            Reason.UNKNOWN_INSTRUMENT,
            Reason.BAD_PAYLOAD,
        )
    assert refused(venue, payloads.BlockLeg(0, 2, 200_000, 10)) == (Reason.BLOCK_LEGS, 0)


def test_off_tick(venue):
    spec = perpetual("BTC-COARSE", tick_steps=(config.TickStep(0, 10),))
    venue.cold(CommandKind.LIST_INSTRUMENTS, config.ListInstruments((spec,)))
    venue.marks(100_000)
    trade = payloads.BlockLeg(venue.slot("BTC-COARSE"), 0, 200_001, 10)
    assert refused(venue, trade) == (Reason.PRICE_OFF_TICK, 0)


@pytest.mark.parametrize("state", ["halted", "close_only", "auction"])
def test_blocks_need_an_open_instrument_and_accounts_that_may_trade(venue, state):
    trade = leg(venue, 0, "sell", 200_000, 10)
    venue.cold(CommandKind.SET_INSTRUMENT_STATE, config.InstrumentState(NAME, state))
    assert refused(venue, trade) == (Reason.INSTRUMENT_NOT_OPEN, 0)
    venue.cold(CommandKind.SET_INSTRUMENT_STATE, config.InstrumentState(NAME, "open"))
    for account in (venue.alice, venue.bob):
        venue.cold(CommandKind.KILL_SWITCH, payloads.KillSwitch("account", str(account)))
        assert refused(venue, trade) == (Reason.TRADING_STOPPED, 0)
        venue.cold(CommandKind.KILL_SWITCH, payloads.KillSwitch("account", str(account), on=False))
    assert block(venue, trade)[0].kind == EventKind.BLOCK_TRADE_EXECUTED


def test_a_nonce_is_good_once_within_its_five_minutes(venue):
    trade, stamp = leg(venue, 0, "sell", 200_000, 10), START_NS // 10**6
    assert block(venue, trade)[0].kind == EventKind.BLOCK_TRADE_EXECUTED
    assert refused(venue, trade) == (Reason.BLOCK_NONCE_USED, 0)
    assert refused(venue, trade, maker=venue.bob, taker=venue.alice)[0] == Reason.BLOCK_NONCE_USED
    assert block(venue, trade, nonce="n2")[0].kind == EventKind.BLOCK_TRADE_EXECUTED
    # whoever the other account is: what one has signed is good for one block
    assert refused(venue, trade, taker=venue.carol)[0] == Reason.BLOCK_NONCE_USED
    assert block(venue, trade, timestamp_ms=stamp + 1)[0].kind == EventKind.BLOCK_TRADE_EXECUTED
    venue.tick(300 * SECOND)
    assert refused(venue, trade, timestamp_ms=stamp)[0] == Reason.BLOCK_NONCE_USED
    venue.tick(SECOND)
    assert refused(venue, trade, timestamp_ms=stamp)[0] == Reason.BLOCK_TIMED_OUT
    assert block(venue, trade)[0].kind == EventKind.BLOCK_TRADE_EXECUTED
    now = venue.now // 10**6
    assert venue.engine.blocks.export()[1] == [[now, venue.alice, "n1"], [now, venue.bob, "n1"]]


def test_margin_is_that_of_all_trades_together_with_open_orders(venue):
    # alone the short calls cost too much; with the longer ones below them they are a spread
    lots = 400
    short, long = leg(venue, 1, "sell", 900, lots), leg(venue, 2, "buy", 350, lots)
    assert refused(venue, short) == (Reason.NOT_ENOUGH_FUNDS, venue.alice)
    rich = venue.account("rich", btc=100)
    assert refused(venue, short, taker=rich) == (Reason.NOT_ENOUGH_FUNDS, venue.alice)
    assert block(venue, short, long, taker=rich)[0].kind == EventKind.BLOCK_TRADE_EXECUTED
    venue.sound()
    # open orders count
    for power in range(18, -1, -1):
        venue.place(venue.carol, NAME, "buy", 200_000, 1 << power)
    trade = leg(venue, 0, "buy", 200_000, 20_000)
    assert refused(venue, trade, maker=venue.carol, taker=rich, nonce="n2") == (Reason.NOT_ENOUGH_FUNDS, venue.carol)
    everything = {"instrument": 0xFFFFFFFF, "currency": 0xFFFF, "instrument_kind": 0xFF, "order_type": 0xFF}
    venue.submit(commands.record(CommandKind.CANCEL_ALL, venue.carol, reason=60, **everything))
    assert block(venue, trade, maker=venue.carol, taker=rich, nonce="n2")[0].kind == EventKind.BLOCK_TRADE_EXECUTED


def test_who_is_below_initial_margin_may_lower_it(venue):
    venue.trade(venue.carol, venue.alice, NAME, "buy", 200_000, 50_000)
    venue.marks(84_500)
    view = venue.engine.account(venue.alice)
    assert view.equity_usd_e4 < view.initial_margin_usd_e4
    more = leg(venue, 0, "buy", 169_000, 10)
    less = leg(venue, 0, "sell", 169_000, 10)
    assert refused(venue, more) == (Reason.NOT_ENOUGH_FUNDS, venue.alice)
    # at a price that loses more than the requirement falls
    assert refused(venue, leg(venue, 0, "sell", 136_000, 10)) == (Reason.NOT_ENOUGH_FUNDS, venue.alice)
    assert block(venue, less)[0].kind == EventKind.BLOCK_TRADE_EXECUTED
    venue.sound()


def test_position_limits_hold(venue):
    spec = perpetual("BTC-SMALL", max_position_lots=15)
    venue.cold(CommandKind.LIST_INSTRUMENTS, config.ListInstruments((spec,)))
    venue.marks(100_000)
    trade = payloads.BlockLeg(venue.slot("BTC-SMALL"), 0, 200_000, 10)
    assert block(venue, trade)[0].kind == EventKind.BLOCK_TRADE_EXECUTED
    assert refused(venue, trade, nonce="n2") == (Reason.POSITION_LIMIT, 0)
    closing = payloads.BlockLeg(venue.slot("BTC-SMALL"), 1, 200_000, 25)
    assert block(venue, closing, nonce="n3")[0].kind == EventKind.BLOCK_TRADE_EXECUTED


def test_a_block_fires_no_last_price_trigger(venue):
    venue.trade(venue.carol, venue.bob, NAME, "buy", 200_000, 1)
    terms = commands.order_terms(trigger_price_e8=99_900 * 10**8, trigger_source=TriggerSource.LAST_PRICE)
    fields = {"order_type": OrderType.STOP_MARKET, "terms_slots": 1, "quantity_lots": 1, "side": 1}
    venue.submit(commands.record(CommandKind.PLACE_ORDER, venue.carol, tail=terms, instrument=0, **fields))
    assert EventKind.ORDER_TRIGGERED not in kinds(block(venue, leg(venue, 0, "sell", 190_000, 10)))
    assert len(venue.engine.trigger_orders(venue.carol)) == 1


def test_a_simulation_says_the_same_and_changes_nothing(venue):
    good, bad = leg(venue, 0, "sell", 200_000, 10), leg(venue, 1, "sell", 600, 9)
    before, simulate = venue.engine.export(), venue.engine.blocks.simulate
    for account, maker in ((venue.alice, True), (venue.bob, False)):
        assert simulate(account, (good,), maker) == (Reason.NONE, account)
        assert simulate(account, (good, bad), maker) == (Reason.BLOCK_TOO_SMALL, 1)
        assert simulate(account, (), maker) == (Reason.BLOCK_LEGS, 0)
        huge = leg(venue, 0, "sell", 200_000, 300_000)
        assert simulate(account, (huge,), maker) == (Reason.NOT_ENOUGH_FUNDS, account)
    assert simulate(99, (good,), True)[0] == Reason.UNKNOWN_ACCOUNT
    assert venue.engine.export() == before
