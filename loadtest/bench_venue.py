"""The venue that the benches trade on: one perpetual, and twenty options where they are asked for."""

import itertools
from typing import Any

from exchange import config

E8 = 100_000_000
START_NS = 1_767_225_600_000_000_000  # 2026-01-01T00:00:00Z
DAY_NS = 86_400_000_000_000
EXPIRIES_DAYS = (30, 90)
STRIKES_USD = (80_000, 90_000, 100_000, 110_000, 120_000)


def venue_config(options: bool) -> config.Config:
    """One inverse perpetual, and with `options` twenty options on two expiries."""
    instruments = [
        config.Instrument(
            name="BTC-PERPETUAL",
            kind="perpetual",
            underlying="BTC",
            settlement="BTC",
            inverse=True,
            price_unit_e8=E8 // 2,
            lot_size_e8=10 * E8,
        )
    ]
    if options:
        terms = itertools.product(EXPIRIES_DAYS, STRIKES_USD, ("call", "put"))
        instruments.extend(_option(days, strike, option_type) for days, strike, option_type in terms)
    return config.Config(
        currencies=(config.Currency("BTC", 10, underlying="BTC"), config.Currency("USDC", 6)),
        underlyings=(config.Underlying("BTC", "btc_usd", mark_stale_ns=DAY_NS, mark_halt_ns=DAY_NS),),
        instruments=tuple(instruments),
        checkpoint_every=1 << 40,
    )


def _option(days: int, strike: int, option_type: Any) -> config.Instrument:
    return config.Instrument(
        name=f"BTC-{days}D-{strike}-{option_type[0].upper()}",
        kind="option",
        underlying="BTC",
        settlement="BTC",
        inverse=True,
        price_unit_e8=10_000,
        lot_size_e8=10_000_000,
        expiry_ns=START_NS + days * DAY_NS + DAY_NS // 3,
        strike_e8=strike * E8,
        option_type=option_type,
        max_price_units=262_143,
        fees=config.Fees(maker_ppm=300, taker_ppm=300),
    )
