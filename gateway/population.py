"""The first start's accounts: the house, and a seeded population of leveraged traders a crash can liquidate.

Everything goes through commands. A trade is two orders: the house posts at the mark, the account takes.
Accounts under segregated portfolio margin hold inverse contracts on a coin deposit, those under cross portfolio
margin linear ones on dollars.
"""

import math
import random
from collections.abc import Callable
from typing import Any

from exchange.commands import CommandKind, OrderType, Side, TimeInForce
from exchange.config import Config, CreateAccount, MarginModel, Transfer, Underlying
from exchange.parameters_span import SpanParameters
from exchange.views import InstrumentView
from gateway import records
from gateway.defaults import Population
from gateway.feeds.names import perpetual_name, prefix
from gateway.records import EventKind
from gateway.venue_core import Core, Refused

E8 = 100_000_000
PPM = 1_000_000
HOUSE = "house"
KEYED = ("demo", "maker", "taker", "liquidator")
"""House accounts with keys; all but `demo` are those of the bots."""
DEPOSITS: dict[str, dict[str, int]] = {
    HOUSE: {"BTC": 100_000, "ETH": 2_000_000, "USDC": 10_000_000_000},
    "demo": {"BTC": 10, "ETH": 100, "USDC": 1_000_000},
    "maker": {"BTC": 2_000, "ETH": 40_000, "USDC": 200_000_000},
    "taker": {"BTC": 200, "ETH": 4_000, "USDC": 20_000_000},
    "liquidator": {"BTC": 5_000, "ETH": 100_000, "USDC": 500_000_000},
}
EQUITY_MEDIAN_USD = 60_000.0
EQUITY_SIGMA = 1.1
EQUITY_RANGE_USD = (5_000.0, 3_000_000.0)
MARGIN_USE_MAX = 0.92
ATTEMPTS = 5
SHRINK = 0.8
MIN_OPTION_LIFE_NS = 2 * 86_400_000_000_000
Progress = Callable[[str], None]


def create_house(core: Core) -> dict[str, int]:
    """Create and fund the house accounts; account ids by name."""
    return {name: create_account(core, name, deposits, "segregated_pm") for name, deposits in DEPOSITS.items()}


def create_account(core: Core, name: str, coins: dict[str, Any], model: MarginModel) -> int:
    """An account with deposits in coins; currencies that the venue lacks are left out."""
    core.demand(CommandKind.CREATE_ACCOUNT, CreateAccount(name=name, margin_model=model))
    account_id = core.engine.account_id(name)
    for currency in core.engine.config.currencies:
        amount = coins.get(currency.name, 0)
        if amount:
            minor = int(amount * 10**currency.exponent)
            core.demand(CommandKind.DEPOSIT, Transfer(currency=currency.name, amount_minor=minor), account_id)
    return account_id


def endow_fund(core: Core, coins: dict[str, int], kind: CommandKind = CommandKind.ENDOW_FUND) -> None:
    """The fund's capital by configuration; with ENDOW_CAPITAL the venue's own."""
    for currency in core.engine.config.currencies:
        amount = coins.get(currency.name, 0)
        if amount > 0:
            minor = amount * 10**currency.exponent
            core.demand(kind, Transfer(currency=currency.name, amount_minor=minor))


def leverage_bound(underlying: Underlying) -> float:
    """Notional over equity that the initial margin of an outright position allows.

    An inverse long loses r / (1 - r) coins per coin of notional at the low end of the price range r, plus the
    roll charge; a linear one less.
    """
    span = underlying.span
    if isinstance(span, SpanParameters):
        extreme = span.price_scan_range_ppm / PPM * span.extreme_multiple_ppm / PPM
        price_range = span.price_scan_range_ppm / PPM
        loss = max(price_range / (1.0 - price_range), span.extreme_cover_ppm / PPM * extreme / (1.0 - extreme))
        return MARGIN_USE_MAX / ((loss + span.delivery_ppm / PPM) * span.initial_factor_ppm / PPM)
    matrix = underlying.matrix
    price_range = matrix.price_range_ppm / PPM
    if isinstance(matrix.columns, tuple):
        falls = [-c.move_ppm / PPM * (1.0 if c.weight_ppm is None else c.weight_ppm / PPM) for c in matrix.columns]
        price_range = min(0.95, max(price_range, *falls))
    loss = price_range / (1.0 - price_range) + matrix.minimum_move_ppm / PPM
    return MARGIN_USE_MAX / (loss * matrix.initial_factor_ppm / PPM)


class Populator:
    """Draws accounts from a seed and trades them into their positions against the house."""

    def __init__(self, core: Core, house_id: int, population: Population, seed: int):
        self._core, self._engine, self._house_id, self._population = core, core.engine, house_id, population
        self._random = random.Random(seed)
        config: Config = core.engine.config
        self._underlyings = list(config.underlyings)
        self._dollar = next((one.name for one in config.currencies if one.underlying is None), None)
        views = [core.engine.instrument(slot) for slot in core.engine.instruments()]
        self._by_name = {view.name: view for view in views}
        self._options: dict[tuple[str, str], list[InstrumentView]] = {}
        for view in views:
            if view.kind == "option" and view.expiry_ns - core.engine.time_ns >= MIN_OPTION_LIFE_NS:
                self._options.setdefault((view.underlying, view.settlement), []).append(view)

    def run(self, progress: Progress = lambda text: None) -> int:
        """Create and trade all accounts; returns how many hold a position."""
        holding = 0
        for number in range(self._population.accounts):
            holding += self._one(f"trader-{number + 1}")
            if number % 20 == 19:
                progress(f"population: {number + 1} of {self._population.accounts} accounts")
        return holding

    def _one(self, name: str) -> bool:
        population, draw = self._population, self._random
        underlying = draw.choice(self._underlyings)
        cross = self._dollar is not None and draw.random() < population.cross_share
        settlement = self._dollar if cross and self._dollar else underlying.name
        index = self._engine.index_price(self._engine.underlying_index(underlying.name)) / E8
        low, high = EQUITY_RANGE_USD
        equity_usd = min(max(EQUITY_MEDIAN_USD * math.exp(draw.gauss(0.0, EQUITY_SIGMA)), low), high)
        coins = equity_usd if cross else equity_usd / index
        model: MarginModel = "cross_pm" if cross else "segregated_pm"
        account_id = create_account(self._core, name, {settlement: round(coins, 4)}, model)
        top = min(population.leverage_max, leverage_bound(underlying))
        bottom = min(population.leverage_min, top)
        leverage = math.exp(draw.uniform(math.log(bottom), math.log(top)))
        side = Side.BUY if draw.random() < population.long_share else Side.SELL
        writes = draw.random() < population.options_share
        notional_usd = equity_usd * leverage * (0.6 if writes else 1.0)
        view = self._by_name.get(perpetual_name(prefix(underlying.name, settlement, not cross)))
        traded = view is not None and self._trade(account_id, view, side, notional_usd)
        if writes:
            traded |= self._write_option(account_id, (underlying.name, settlement), side, equity_usd, index)
        return traded

    def _write_option(
        self, account_id: int, chain: tuple[str, str], side: Side, equity_usd: float, index: float
    ) -> bool:
        """Sell an out-of-the-money option: a put where the account is long, a call where it is short."""
        kind = "put" if side == Side.BUY else "call"
        distance = self._random.uniform(0.03, 0.15)
        share = self._random.uniform(0.3, 1.0)
        wanted = index * (1.0 - distance if kind == "put" else 1.0 + distance)
        choice = [view for view in self._options.get(chain, []) if view.option_type == kind]
        if not choice:
            return False
        nearest = sorted({view.expiry_ns for view in choice})[:3]
        expiry_ns = self._random.choice(nearest)
        view = min(
            (one for one in choice if one.expiry_ns == expiry_ns),
            key=lambda one: abs(one.strike_e8 / E8 - wanted),
        )
        return self._trade(account_id, view, Side.SELL, equity_usd * share)

    def _trade(self, account_id: int, view: InstrumentView, side: Side, notional_usd: float) -> bool:
        """Take a position of about that notional at the mark, or a smaller one that the margin allows."""
        market = self._engine.market(view.instrument)
        price_units = _on_tick(market.mark_price_e8 // view.price_unit_e8, view)
        if price_units <= 0:
            return False
        in_dollars = view.inverse and view.kind != "option"  # such lots are dollars, others are coins
        lot_usd = view.lot_size_e8 / E8 * (1.0 if in_dollars else market.index_price_e8 / E8)
        lots = int(notional_usd / lot_usd)
        for _ in range(ATTEMPTS):
            lots = min(lots, view.max_quantity_lots)
            if lots < view.min_quantity_lots:
                return False
            self._place(self._house_id, view, Side(1 - side), price_units, lots, TimeInForce.GOOD_TIL_CANCELLED)
            if self._place(account_id, view, side, price_units, lots, TimeInForce.IMMEDIATE_OR_CANCEL):
                return True
            self._core.submit(
                records.cancel_all(
                    account_id=self._house_id,
                    instrument=view.instrument,
                    currency=0xFFFF,
                    instrument_kind=0xFF,
                    order_type=0xFF,
                )
            )
            lots = int(lots * SHRINK)
        return False

    def _place(
        self,
        account_id: int,
        view: InstrumentView,
        side: Side,
        price_units: int,
        lots: int,
        force: TimeInForce,
    ) -> bool:
        """Whether the order was accepted; a refusal of the house is an error."""
        events = self._core.submit(
            records.place_order(
                account_id=account_id,
                instrument=view.instrument,
                side=side,
                order_type=OrderType.LIMIT,
                time_in_force=force,
                price_units=price_units,
                quantity_lots=lots,
            )
        )
        for kind, fields, _ in records.decode(events):
            if kind == EventKind.ORDER_REJECTED:
                if account_id == self._house_id:
                    raise Refused(f"the house may not quote {view.name}: reason {fields.reason}")
                return False
        return True


def _on_tick(price_units: int, view: InstrumentView) -> int:
    """The price rounded down to its tick step."""
    tick = 1
    for above, step in view.tick_steps:
        if price_units >= above:
            tick = step
    return price_units // tick * tick
