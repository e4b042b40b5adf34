"""Scenes of combos: a spread from listing to its end, and a future spread at negative prices."""

from exchange import config
from exchange.commands import CommandKind, TimeInForce
from tests.combos import CALENDAR, CALLS, NEAR, SPREAD, STRADDLE, ZERO, fair, instruments
from tests.driver import SECOND, make_config
from tests.golden.scenes import Recorder, Scene


def _venue(**limits: int) -> Recorder:
    made = Recorder(instruments(), make_config(limits=config.Limits(**limits)))
    made.alice, made.bob, made.carol = (made.account(name, btc=20) for name in ("alice", "bob", "carol"))
    made.marks(100_000)
    return made


def _option_combo() -> Recorder:
    made = _venue(max_combos=1)
    made.action()
    made.cold(CommandKind.LIST_INSTRUMENTS, config.ListInstruments((STRADDLE,)))
    made.cold(CommandKind.LIST_INSTRUMENTS, config.ListInstruments((SPREAD,)))
    price = fair(made, SPREAD)
    made.place(made.bob, "BTC-CS", "sell", price + 5, 10)
    made.place(made.carol, "BTC-CS", "sell", price + 6, 10)
    made.place(made.alice, "BTC-CS", "buy", price + 6, 15, time_in_force=TimeInForce.IMMEDIATE_OR_CANCEL)
    made.place(made.alice, "BTC-CS", "sell", ZERO - 9_999, 3)
    made.place(made.alice, "BTC-CS", "buy", price + 7, 3, flags=4)
    made.cold(CommandKind.LIST_INSTRUMENTS, config.ListInstruments((STRADDLE,)))
    made.cold(CommandKind.SET_INSTRUMENT_STATE, config.InstrumentState(CALLS[1], "halted"))
    made.place(made.alice, "BTC-CS", "buy", price + 6, 3)
    made.now = NEAR - SECOND
    made.marks(108_000)
    made.tick(2 * SECOND)
    return made


def _future_combo() -> Recorder:
    made = _venue()
    made.action()
    made.cold(CommandKind.LIST_INSTRUMENTS, config.ListInstruments((CALENDAR,)))
    zero = CALENDAR.zero_units
    made.place(made.bob, "BTC-FS", "buy", zero - 40, 1_000)
    made.place(made.alice, "BTC-FS", "sell", zero - 60, 400)
    made.place(made.alice, "BTC-FS", "buy", zero, 400, time_in_force=TimeInForce.FILL_OR_KILL)
    return made


SCENES: dict[str, Scene] = {"option_combo": _option_combo, "future_combo": _future_combo}
