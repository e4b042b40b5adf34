"""The market of the scenarios: what is listed, and marks as exact integers of an index factor and a vol factor."""

from typing import Any, NamedTuple

from exchange import commands, config
from gateway.feeds.names import option_name, perpetual_name, prefix

E8 = 100_000_000
PPM = 1_000_000
SECOND_NS = 1_000_000_000
DAY_NS = 86_400 * SECOND_NS
START_NS = 1_760_121_600 * SECOND_NS
"""2025-10-10T18:40:00Z; every scenario begins here."""
EXPIRIES_NS = (1_760_688_000 * SECOND_NS, 1_761_897_600 * SECOND_NS)
"""2025-10-17 and 2025-10-31, 08:00 UTC."""
BETA_PPM = {"BTC": PPM, "ETH": 1_300_000}
"""Move of each coin per move of the scripted index."""


class Coin(NamedTuple):
    """A coin as the scenarios list it. `lot_e8`: linear and option lots, coins."""

    name: str
    start_usd: int
    strike_step_usd: int
    vol_e6: int
    linear_lot_e8: int
    option_lot_e8: int
    linear_unit_e8: int


COINS = (
    Coin("BTC", 116_000, 4_000, 480_000, 100_000, 10_000_000, 10_000_000),
    Coin("ETH", 4_200, 200, 680_000, 1_000_000, 100_000_000, 1_000_000),
)
STRIKES_EACH_SIDE = 5
SKEW_PPM = 400_000
"""Vol rises by this part of itself per 100 % that a strike lies below the forward."""
CARRY_PPM = 40_000


def venue_config(name: str, liquidation: config.Liquidation) -> config.Config:
    """Two coins and a dollar coin: perpetuals of both kinds, options on two expiries."""
    underlyings = tuple(config.Underlying(name=coin.name, index_name=f"{coin.name.lower()}_usd") for coin in COINS)
    return config.Config(
        venue_id=f"scenario-{name}",
        currencies=(
            config.Currency(name="USDC", exponent=6),
            *(config.Currency(name=coin.name, exponent=10, underlying=coin.name) for coin in COINS),
        ),
        underlyings=underlyings,
        instruments=tuple(one for coin in COINS for one in _instruments(coin)),
        liquidation=liquidation,
    )


def _instruments(coin: Coin) -> list[config.Instrument]:
    inverse = config.Instrument(
        name=perpetual_name(prefix(coin.name, coin.name, True)),
        kind="perpetual",
        underlying=coin.name,
        settlement=coin.name,
        inverse=True,
        price_unit_e8=coin.linear_unit_e8,
        lot_size_e8=10 * E8,
    )
    linear = config.Instrument(
        name=perpetual_name(prefix(coin.name, "USDC", False)),
        kind="perpetual",
        underlying=coin.name,
        settlement="USDC",
        inverse=False,
        price_unit_e8=coin.linear_unit_e8,
        lot_size_e8=coin.linear_lot_e8,
    )
    options = [
        config.Instrument(
            name=option_name(coin.name, expiry_ns, strike * E8, side),
            kind="option",
            underlying=coin.name,
            settlement=coin.name,
            inverse=True,
            price_unit_e8=10_000,
            lot_size_e8=coin.option_lot_e8,
            expiry_ns=expiry_ns,
            strike_e8=strike * E8,
            option_type=side,
            fees=config.Fees(maker_ppm=300, taker_ppm=300),
        )
        for expiry_ns in EXPIRIES_NS
        for strike in strikes(coin)
        for side in ("call", "put")
    ]
    return [inverse, linear, *options]


def strikes(coin: Coin) -> list[int]:
    """Strikes in USD around the start price, ascending."""
    middle = round(coin.start_usd / coin.strike_step_usd) * coin.strike_step_usd
    return [middle + n * coin.strike_step_usd for n in range(-STRIKES_EACH_SIDE, STRIKES_EACH_SIDE + 1)]


def index_e8(coin: Coin, factor_ppm: int) -> int:
    """The coin's index where the scripted index stands at `factor_ppm` of its start."""
    moved = PPM + (factor_ppm - PPM) * BETA_PPM[coin.name] // PPM
    return coin.start_usd * E8 * max(moved, PPM // 20) // PPM


class Market:
    """Marks of one venue's listing."""

    def __init__(self, engine: Any) -> None:
        self.engine = engine
        self.number = {coin.name: engine.underlying_index(coin.name) for coin in COINS}
        self.slots = {engine.instrument(slot).name: slot for slot in engine.instruments()}
        self.views = {name: engine.instrument(slot) for name, slot in self.slots.items()}

    def marks(self, coin: Coin, factor_ppm: int, vol_ppm: int, now_ns: int) -> bytearray:
        """UPDATE_MARKS of a coin at an index factor and a vol factor."""
        index = index_e8(coin, factor_ppm)
        forwards = {}
        for expiry_ns in EXPIRIES_NS:
            carry = CARRY_PPM * (expiry_ns - now_ns) // (365 * DAY_NS)
            forwards[expiry_ns] = index + index * carry // PPM
        base = coin.vol_e6 * vol_ppm // PPM
        vols = []
        for slot, expiry_ns, strike_e8 in self.engine.pairs(self.number[coin.name]):
            below = (forwards[expiry_ns] - strike_e8) * PPM // forwards[expiry_ns]
            vols.append((slot, max(50_000, base + base * SKEW_PPM // PPM * below // PPM)))
        return commands.update_marks(self.number[coin.name], index, now_ns, list(forwards.items()), vols)

    def usd_e4(self, currency: int, minor: int) -> int:
        """Minor units of a currency in 1e-4 USD at the current index, towards zero."""
        if currency == 0:
            return minor // 100 if minor >= 0 else -(-minor // 100)
        index = int(self.engine.index_price(currency - 1))
        value = abs(minor) * index // 10**14
        return value if minor >= 0 else -value

    def notional_e4(self, slot: int, lots: int) -> int:
        """Size of lots at the index, 1e-4 USD: of inverse futures their dollars, of all else coins x index."""
        view = self.engine.instrument(slot)
        size_e8 = abs(lots) * view.lot_size_e8
        if view.inverse and view.kind != "option":
            return int(size_e8 // 10**4)
        index = int(self.engine.index_price(self.number[view.underlying]))
        return int(size_e8 * index // 10**12)

    def price_units(self, name: str) -> int:
        """The mark in price units, to the nearest tick."""
        view = self.views[name]
        mark = int(self.engine.market(view.instrument).mark_price_e8)
        return max(1, (mark + view.price_unit_e8 // 2) // view.price_unit_e8)

    def lots(self, name: str, usd: int) -> int:
        """Lots of about so many dollars of size; at least one."""
        per_lot = self.notional_e4(self.slots[name], 1)
        return max(1, usd * 10_000 // max(1, per_lot))
