"""What a venue is made of when nobody says otherwise, and what a configuration file may say.

A file is TOML. Its top-level names are those of `exchange.config.Config` (tables such as `[limits]` may give
some fields, lists such as `[[underlyings]]` replace the default list whole); beside them `[parameters]`, margin
parameter sets by underlying (`gateway/parameter_sets.py`), and `[population]`, `[fund]`, `[capital]`, `[sim]`,
`[index]` and `[[rules]]`, which count at the first start only.
"""

import tomllib
from pathlib import Path
from typing import Any

import msgspec

from exchange.config import Config, Currency, Limits, Liquidation, ListingRule, MatrixParameters, Underlying
from exchange.config_checks import faults
from exchange.governance import AdaptiveMargin, Governance
from gateway.feeds import ComposerTerms, SimParameters
from gateway.parameter_sets import with_sets
from margin_ext.models import ParameterError

BESIDE = ("population", "fund", "capital", "sim", "rules", "index")
JUMP_SOURCES = 2
"""Where an index has several sources, two must say a jump before it is believed."""
STALE_NS = 10_000_000_000
LEASE_WAIT_NS = 30_000_000_000
WARNINGS_PPM = (2_000_000, 1_500_000, 1_250_000, 1_100_000)
BUFFER_MOVE_PPM = 5_000
"""What was liquidated can stand a move of half a per cent, as at the highest leverage when it is opened."""
LEASE_STRESS_PPM = 60_000
"""Leases cover a move of 6 % against what is insolvent, about what a crash brings before they are raised."""
VOL_BAND_PPM = 1_000_000
"""Options are bought at no more than twice the mark vol and sold at no less than their intrinsic value: a wrong
strike or a price meant for another expiry is refused, and an order by any vol that a market quotes is not."""
ORDER_NOTIONAL_USD = 100_000_000
"""A zero too many is refused. There is no default for delta, which is at most the notional over the index, nor for
vega, whose right bound depends on who trades."""
BREAKER_PPM = 250_000
"""A quarter within five minutes: what trips it is a crash that wants an auction, or a wrong index."""
WITHDRAWAL_STRESS_PPM = 1_200_000
"""Money leaves where a fifth more margin would still be met: a day's widening of ranges, not a crash."""
FUND = {"BTC": 100, "ETH": 2_000, "USDC": 5_000_000}


class ConfigurationError(ValueError):
    """A configuration file that cannot be used; the message names what is wrong."""


class Population(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Seeded leveraged accounts of a first start (`gateway/population.py`)."""

    accounts: int = 200
    leverage_min: float = 2.0
    leverage_max: float = 25.0
    """Bounded by what the initial margin of the venue's parameters allows."""
    long_share: float = 0.75
    options_share: float = 0.3
    """Share of the accounts that are short options as well."""
    cross_share: float = 0.3
    """Share of the accounts under cross portfolio margin."""


class Setup(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """All that a first start needs to know."""

    config: Config
    population: Population = Population()
    fund: dict[str, int] = msgspec.field(default_factory=FUND.copy)
    """Endowment of the insurance fund in coins."""
    capital: dict[str, int] = msgspec.field(default_factory=dict)
    """The venue's own capital in coins, which pays for a default before the fund."""
    sim: SimParameters = SimParameters()
    rules: tuple[ListingRule, ...] | None = None
    """None: the feed's own."""
    index: ComposerTerms | None = None
    """Sources of the index; None: the feed alone."""


def default_config(venue_id: str, speed: float = 1.0) -> Config:
    """Two coins and a dollar coin.

    At speed N marks come N times further apart in venue time and the fund's answers take N times longer, so
    staleness and the wait for a lease grow with it.
    """
    stale_ns = max(STALE_NS, int(speed * 2_500_000_000))
    governed: dict[str, Any] = {
        "mark_stale_ns": stale_ns,
        "mark_halt_ns": 6 * stale_ns,
        "breaker_move_ppm": BREAKER_PPM,
        "breaker_window_ns": 30 * stale_ns,
        "breaker_pause_ns": 12 * stale_ns,
    }
    btc = Underlying(name="BTC", index_name="btc_usd", **governed)
    eth_matrix = MatrixParameters(
        price_range_ppm=180_000,
        vol_up_ppm=400_000,
        annualised_move_risk_ppm=50_000,
        minimum_move_ppm=5_000,
        extended_dampener_usd=200_000,
        delta_move_per_coin_e9=4_000,
    )
    eth = Underlying(name="ETH", index_name="eth_usd", matrix=eth_matrix, **governed)
    return Config(
        venue_id=venue_id,
        currencies=(
            Currency(name="BTC", exponent=10, underlying="BTC"),
            Currency(name="ETH", exponent=10, underlying="ETH"),
            Currency(name="USDC", exponent=6),
        ),
        underlyings=(btc, eth),
        limits=Limits(option_band_vol_ppm=VOL_BAND_PPM, max_order_notional_usd=ORDER_NOTIONAL_USD),
        liquidation=Liquidation(
            warning_ppm=WARNINGS_PPM,
            lease_wait_ns=max(LEASE_WAIT_NS, int(speed * 1_000_000_000)),
            buffer_move_ppm=BUFFER_MOVE_PPM,
            lease_stress_ppm=LEASE_STRESS_PPM,
        ),
        governance=Governance(
            stress_ppm=WITHDRAWAL_STRESS_PPM,
            adaptive=tuple(AdaptiveMargin(underlying=name) for name in ("BTC", "ETH")),
        ),
    )


def _overlaid(base: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """`base` with the tables of `changes` merged into its own and everything else replaced."""
    merged = dict(base)
    for name, value in changes.items():
        known = merged.get(name)
        merged[name] = _overlaid(known, value) if isinstance(known, dict) and isinstance(value, dict) else value
    return merged


def load_setup(path: Path | None, venue_id: str, speed: float = 1.0) -> Setup:
    """The defaults, overlaid with a file. ConfigurationError names the field that is wrong."""
    setup = Setup(config=default_config(venue_id, speed))
    if path is None:
        return setup
    try:
        given = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigurationError(f"{path}: {error}") from None
    beside = {name: given.pop(name) for name in BESIDE if name in given}
    sets = given.pop("parameters", {})
    credit = given.pop("span_credits", None)
    whole = msgspec.to_builtins(setup)
    whole["config"] = _overlaid(whole["config"], given)
    if "fund" in beside:
        whole["fund"] = beside.pop("fund")  # not merged: what a file does not name is not endowed
    try:
        setup = msgspec.convert(_overlaid(whole, beside), Setup)
        if not isinstance(sets, dict):
            raise ParameterError("parameters: must be a table, a set by underlying's name")
        config = setup.config
        if setup.index is not None and len(setup.index.sources) > 1 and "underlyings" not in given:
            governed = [msgspec.structs.replace(one, jump_sources=JUMP_SOURCES) for one in config.underlyings]
            config = msgspec.structs.replace(config, underlyings=tuple(governed))
        config = with_sets(config, sets, credit, path.parent)
        setup = msgspec.structs.replace(setup, config=config)
    except (msgspec.ValidationError, ParameterError) as error:
        raise ConfigurationError(f"{path}: {error}") from None
    wrong = [*faults(setup.config), *_beside_faults(setup)]
    if wrong:
        raise ConfigurationError(f"{path}: " + "; ".join(wrong))
    return setup


def _beside_faults(setup: Setup) -> list[str]:
    """What is wrong with the tables that count at the first start only."""
    known = {currency.name for currency in setup.config.currencies}
    found = []
    for table, amounts in (("fund", setup.fund), ("capital", setup.capital)):
        found += [f"{table}.{name}: no such currency" for name in amounts if name not in known]
        found += [f"{table}.{name}: must not be negative" for name, amount in amounts.items() if amount < 0]
    found += [] if setup.index is None else setup.index.faults()
    population = setup.population
    if not 0 <= population.accounts <= setup.config.limits.max_accounts:
        found.append("population.accounts: must be 0 to limits.max_accounts")
    if not 1.0 <= population.leverage_min <= population.leverage_max:
        found.append("population: leverage must satisfy 1 <= leverage_min <= leverage_max")
    for name in ("long_share", "options_share", "cross_share"):
        if not 0.0 <= getattr(population, name) <= 1.0:
            found.append(f"population.{name}: must be 0 to 1")
    return found


def differences(running: Config, wanted: Config) -> list[str]:
    """Where a configuration differs from the journaled one: "liquidation.fee_ppm: 20000 -> 30000"."""
    found: list[str] = []
    _compare("", msgspec.to_builtins(running), msgspec.to_builtins(wanted), found)
    return found


def _compare(path: str, old: Any, new: Any, found: list[str]) -> None:
    if isinstance(old, dict) and isinstance(new, dict):
        for name in old.keys() | new.keys():
            _compare(f"{path}.{name}" if path else name, old.get(name), new.get(name), found)
    elif isinstance(old, list | tuple) and isinstance(new, list | tuple) and len(old) == len(new):
        for place, (before, after) in enumerate(zip(old, new, strict=True)):
            _compare(f"{path}[{place}]", before, after, found)
    elif old != new:
        found.append(f"{path}: {old!r} -> {new!r}")
