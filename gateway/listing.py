"""Instruments as the wire sees them: names, currencies and units of each listed contract, cached by slot."""

from typing import Any

from exchange.views import InstrumentView
from gateway.units import E8, E12

PERPETUAL_EXPIRY_MS = 32_503_708_800_000
_DAY_NS = 86_400_000_000_000
LINEAR_COINS = ("USDC", "USDT", "USD")


class Listing:
    """One contract: the engine's view plus everything derived from it once."""

    __slots__ = (
        "base",
        "contract_e8",
        "counter",
        "currency",
        "exponent",
        "index_name",
        "is_combo",
        "is_option",
        "is_premium",
        "kind",
        "lot_e8",
        "name",
        "quote",
        "settlement_period",
        "slot",
        "tick_e8",
        "underlying",
        "unit_e8",
        "view",
        "wire",
        "zero_units",
    )

    def __init__(self, view: InstrumentView, exponent: int, underlying: int, index_name: str):
        self.view, self.slot, self.name = view, view.instrument, view.name
        self.is_option = view.kind == "option"
        self.is_combo = bool(view.legs)
        self.is_premium = view.kind in ("option", "option_combo")
        """Quoted as a premium: in the coin, or in the settlement currency where linear."""
        self.kind = "future" if view.kind == "perpetual" else view.kind
        self.zero_units = view.zero_units
        self.base, self.currency = view.underlying, view.settlement
        self.exponent, self.underlying, self.index_name = exponent, underlying, index_name
        self.unit_e8, self.lot_e8 = view.price_unit_e8, view.lot_size_e8
        # Deribit quotes inverse options in the coin and counts their contracts in whole coins.
        self.quote = view.settlement if self.is_premium or not view.inverse else "USD"
        self.counter = "USD" if view.inverse else view.settlement
        self.contract_e8 = E8 if self.is_premium and view.inverse else view.lot_size_e8
        self.tick_e8 = view.tick_steps[0][1] * view.price_unit_e8
        self.settlement_period = _period(view)
        self.wire = _wire(self)

    def amount(self, lots: int) -> float:
        """Lots as the wire's amount: USD of inverse futures, coins otherwise."""
        return lots * self.lot_e8 / E8

    def contracts(self, lots: int) -> float:
        """Lots in units of the contract size."""
        return lots * self.lot_e8 / self.contract_e8

    def price(self, units: int | None) -> float | None:
        """Price units as the wire's price; a combo's are counted from its zero."""
        return None if units is None else (units - self.zero_units) * self.unit_e8 / E8

    def is_of(self, word: str) -> bool:
        """Whether a word for a kind covers it: its own, `any`, or `combo`."""
        return word in ("any", self.kind) or (word == "combo" and self.is_combo)

    @property
    def counts_dollars(self) -> bool:
        """Whether its lots are dollars and its volume is shown in coins: inverse futures and their combos."""
        return self.view.inverse and not self.is_premium

    def coins_e12(self, event: Any) -> int:
        """The coins, 1e-12, behind the dollars of a trade: at its price; of a combo, whose price is a difference, at
        the index. 0 where lots are coins."""
        price_e8 = event.index_price_e8 if self.is_combo else event.price_units * self.unit_e8
        if not self.counts_dollars or price_e8 <= 0:
            return 0
        return event.quantity_lots * self.lot_e8 * E12 // price_e8


def _period(view: InstrumentView) -> str:
    if view.kind == "perpetual":
        return "perpetual"
    life_ns = view.expiry_ns - view.created_ns
    return "day" if life_ns <= 2 * _DAY_NS else "week" if life_ns <= 15 * _DAY_NS else "month"


def _wire(listing: Listing) -> dict[str, Any]:
    """The instrument object without its changing members (`state`, `is_active`)."""
    view = listing.view
    perpetual = view.kind == "perpetual"
    found: dict[str, Any] = {
        "instrument_name": view.name,
        "instrument_id": view.instrument_id,
        "kind": listing.kind,
        "base_currency": listing.base,
        "quote_currency": listing.quote,
        "counter_currency": listing.counter,
        "settlement_currency": view.settlement,
        "settlement_period": listing.settlement_period,
        "instrument_type": "reversed" if view.inverse else "linear",
        "underlying_type": "crypto",
        "price_index": listing.index_name,
        "tick_size": listing.tick_e8 / E8,
        "tick_size_steps": [
            {"above_price": above * view.price_unit_e8 / E8, "tick_size": tick * view.price_unit_e8 / E8}
            for above, tick in view.tick_steps[1:]
        ],
        "min_trade_amount": listing.amount(view.min_quantity_lots),
        "qty_tick_size": listing.amount(1),
        "contract_size": listing.contract_e8 / E8,
        "maker_commission": view.maker_ppm / 1_000_000,
        "taker_commission": view.taker_ppm / 1_000_000,
        "creation_timestamp": view.created_ns // 1_000_000,
        "expiration_timestamp": PERPETUAL_EXPIRY_MS if perpetual else view.expiry_ns // 1_000_000,
    }
    if listing.is_option:
        found |= {"strike": view.strike_e8 / E8, "option_type": view.option_type}
    elif not listing.is_combo:
        found |= {
            "future_type": "reversed" if view.inverse else "linear",
            "max_leverage": 50,
            "max_liquidation_commission": view.taker_ppm / 1_000_000,
        }
    return found


class Listings:
    """Live listings by slot and by name, read from the engine and refreshed when instruments change."""

    def __init__(self, engine: Any):
        self._engine = engine
        self.by_slot: dict[int, Listing] = {}
        self.by_name: dict[str, Listing] = {}
        self.exponents: dict[str, int] = {}
        self.index_names: list[str] = []
        self.revision = 0
        self.reload()

    def reload(self) -> None:
        """Read everything again (start-up, or after a batch of listings)."""
        config = self._engine.config
        self.exponents = {currency.name: currency.exponent for currency in config.currencies}
        self.index_names = [underlying.index_name for underlying in config.underlyings]
        live = self._engine.instruments()
        for slot in set(self.by_slot) - set(live):
            self.forget(slot)
        for slot in live:
            self.refresh(slot)

    def refresh(self, slot: int) -> Listing:
        """Read one slot again; a recycled slot replaces its former contract."""
        view = self._engine.instrument(slot)
        known = self.by_slot.get(slot)
        if known is not None and known.view == view:
            return known
        self.forget(slot)
        underlying = self._engine.underlying_index(view.underlying)
        listing = Listing(view, self.exponents[view.settlement], underlying, self.index_names[underlying])
        self.by_slot[slot] = listing
        self.by_name[view.name] = listing
        self.revision += 1
        return listing

    def combos_of(self, name: str) -> list[Listing]:
        """Combos that have an instrument as a leg, ascending instrument id; all of them for an empty name."""
        found = [one for one in self.by_slot.values() if one.is_combo and (not name or name in dict(one.view.legs))]
        return sorted(found, key=lambda one: one.view.instrument_id)

    def forget(self, slot: int) -> None:
        """Drop a slot that no longer holds a live contract."""
        listing = self.by_slot.pop(slot, None)
        if listing is not None:
            self.by_name.pop(listing.name, None)
            self.revision += 1

    def index_by_name(self, name: str) -> int:
        """Underlying number of an index name ("btc_usd", its linear twin "btc_usdc"); -1 unknown."""
        for index, known in enumerate(self.index_names):
            if name == known or (known.endswith("_usd") and name in (known + "c", known + "t")):
                return index
        return -1
