"""Venues with combos for tests: a perpetual, two futures, four options, and combos of them."""

from exchange import config
from exchange.commands import CommandKind
from tests.driver import DAY, START_NS, Driver, future, kinds, make_config, option, perpetual

NEAR, FAR = START_NS + 30 * DAY, START_NS + 60 * DAY
PERPETUAL = "BTC-PERPETUAL"
NEAR_FUTURE, FAR_FUTURE = f"BTC-{NEAR // DAY}", f"BTC-{FAR // DAY}"
CALLS = tuple(f"BTC-{NEAR // DAY}-{strike}-C" for strike in (100_000, 110_000, 120_000))
PUT = f"BTC-{NEAR // DAY}-100000-P"
ZERO = 1_000_000
FEES = config.Fees(maker_ppm=100, taker_ppm=500)


def instruments():
    return [
        perpetual(fees=FEES),
        future(NEAR, fees=FEES),
        future(FAR, fees=FEES),
        *(option(strike, "call", NEAR) for strike in (100_000, 110_000, 120_000)),
        option(100_000, "put", NEAR),
    ]


def combo(name, legs, **changes):
    """A combo of (instrument, ratio) pairs; of options where the first leg is one."""
    options = legs[0][0].endswith(("-C", "-P"))
    base = {
        "name": name,
        "kind": "option_combo" if options else "future_combo",
        "underlying": "BTC",
        "settlement": "BTC",
        "inverse": True,
        "price_unit_e8": 10_000 if options else 50_000_000,
        "lot_size_e8": 10_000_000 if options else 10 * 10**8,
        "expiry_ns": NEAR,
        "max_quantity_lots": 1_000_000,
        "max_price_units": 2 * ZERO if options else 8_000_000,
        "legs": tuple(config.Leg(instrument, ratio) for instrument, ratio in legs),
        "zero_units": ZERO if options else 4_000_000,
    }
    return config.Instrument(**{**base, **changes})


SPREAD = combo("BTC-CS", [(CALLS[0], 1), (CALLS[1], -1)])
STRADDLE = combo("BTC-STRD", [(CALLS[0], 1), (PUT, 1)])
BUTTERFLY = combo("BTC-CBUT", [(CALLS[0], 1), (CALLS[1], -2), (CALLS[2], 1)])
CALENDAR = combo("BTC-FS", [(NEAR_FUTURE, 1), (PERPETUAL, -1)])


def venue(*combos, index=100_000, **limits):
    """Three rich accounts (alice, bob, carol), marks, and the combos listed."""
    made = Driver(instruments(), make_config(limits=config.Limits(**limits)))
    made.alice, made.bob, made.carol = (made.account(name, btc=100) for name in ("alice", "bob", "carol"))
    made.marks(index)
    if combos:
        found = made.cold(CommandKind.LIST_INSTRUMENTS, config.ListInstruments(combos))
        assert "COMMAND_REJECTED" not in [kind.name for kind in kinds(found)], found
    return made


def mark_units(made, name):
    """A leg's mark to the nearest price unit."""
    slot = made.slot(name)
    return round(made.engine.market(slot).mark_price_e8 / made.engine.instrument(slot).price_unit_e8)


def fair(made, spec):
    """The combo's price units at its legs' marks."""
    return spec.zero_units + sum(leg.ratio * mark_units(made, leg.instrument) for leg in spec.legs)


def held(made, account_id):
    """{name: lots} of an account's positions."""
    return {
        made.engine.listing.name(position.instrument): position.quantity_lots
        for position in made.engine.positions(account_id)
        if position.quantity_lots
    }
