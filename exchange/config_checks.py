"""Cross-checks of a configuration; what single fields cannot say about each other."""

from itertools import pairwise

import msgspec

from exchange import parameters_span
from exchange.config import Config, Limits, Underlying
from exchange.governance import Governance
from exchange.parameters import IsolatedParameters
from exchange.risk import scenarios

MAX_CURRENCIES = 8
MAX_UNDERLYINGS = 16
MAX_WARNINGS = 8
MAX_TIERS = 16
MAX_LIMIT = 10_000_000_000
"""Largest limit of an order, USD."""
MAX_ORDERS = (1 << 32) - 1
MAX_OPEN_ORDERS = (1 << 24) - 1
"""What the index of order ids can hold at once."""


def faults(config: Config) -> list[str]:
    """Everything that is wrong with a configuration, [] when it can be used."""
    return [*_currencies(config), *_underlyings(config), *_limits(config), *_governance(config)]


def _governance(config: Config) -> list[str]:
    found = config.governance.faults() if isinstance(config.governance, Governance) else []
    if isinstance(config.governance, Governance) and isinstance(config.governance.adaptive, tuple):
        known = {underlying.name for underlying in config.underlyings}
        unknown = [one.underlying for one in config.governance.adaptive if one.underlying not in known]
        found += [f"governance: adaptive names an unknown underlying {name}" for name in unknown]
    return found


def _currencies(config: Config) -> list[str]:
    found: list[str] = []
    currencies = [currency.name for currency in config.currencies]
    underlyings = [underlying.name for underlying in config.underlyings]
    if not 1 <= len(currencies) <= MAX_CURRENCIES or len(set(currencies)) != len(currencies):
        found.append(f"between 1 and {MAX_CURRENCIES} currencies with different names are needed")
    for currency in config.currencies:
        if currency.underlying is None and not 4 <= currency.exponent <= 8:
            found.append(f"currency {currency.name}: a USD currency's exponent must be 4 to 8")
        if currency.underlying is not None:
            if currency.underlying not in underlyings:
                found.append(f"currency {currency.name}: unknown underlying {currency.underlying}")
            if currency.exponent != 10:
                found.append(f"currency {currency.name}: a coin's exponent must be 10 (the unit of risk rows)")
        if not 0 <= currency.haircut_ppm < 1_000_000 or currency.debt_ppm < 1_000_000:
            found.append(f"currency {currency.name}: haircut must be below, debt factor at least 1,000,000 ppm")
        if not 0 <= currency.debt_interest_ppm <= 10_000_000 or not 0 <= currency.conversion_spread_ppm < 1_000_000:
            found.append(f"currency {currency.name}: interest is 0 to 10,000,000 ppm, a spread below 1,000,000 ppm")
        if currency.debt_limit_minor < 0:
            found.append(f"currency {currency.name}: a debt limit is not negative")
    return found


def _underlyings(config: Config) -> list[str]:
    found: list[str] = []
    underlyings = [underlying.name for underlying in config.underlyings]
    if not 1 <= len(underlyings) <= MAX_UNDERLYINGS or len(set(underlyings)) != len(underlyings):
        found.append(f"between 1 and {MAX_UNDERLYINGS} underlyings with different names are needed")
    for underlying in config.underlyings:
        fault = scenarios.check(underlying.matrix)
        if fault:
            found.append(f"underlying {underlying.name}: {fault}")
        if underlying.span is not msgspec.UNSET:
            wrong = parameters_span.faults(underlying.span)
            found += [f"underlying {underlying.name}: span.{fault}" for fault in wrong]
        p = underlying.standard
        if not (
            0 <= p.short_floor_ppm <= p.short_initial_ppm <= 1_000_000
            and 0 < p.short_maintenance_ppm <= 1_000_000
            and 0 <= p.put_mark_ppm <= 1_000_000
            and 0 < p.future_maintenance_ppm <= p.future_initial_ppm <= 1_000_000
            and 0 <= p.per_coin_ppm <= 1_000_000
        ):
            found.append(f"underlying {underlying.name}: standard margin rates must be ordered, 0 to 1,000,000 ppm")
        found += [f"underlying {underlying.name}: {fault}" for fault in _tiers(underlying.isolated)]
        if min(underlying.mark_stale_ns, underlying.perpetual_ema_ns, underlying.funding_period_ns) <= 0:
            found.append(f"underlying {underlying.name}: durations must be positive")
        if not underlying.mark_stale_ns <= underlying.mark_halt_ns < 1 << 62:
            found.append(f"underlying {underlying.name}: mark_halt_ns must be at least mark_stale_ns")
        if not 1 <= underlying.jump_sources <= 32 or not 0 < underlying.jump_hold_ns < 1 << 62:
            found.append(f"underlying {underlying.name}: jump_sources must be 1 to 32, jump_hold_ns positive")
        found += _breaker(underlying)
        if not 0 < underlying.perpetual_bound_ppm < 1_000_000 or underlying.mark_jump_ppm <= 0:
            found.append(f"underlying {underlying.name}: mark bounds must be positive")
    if config.span_credits is not msgspec.UNSET:
        spans = {one.name for one in config.underlyings if one.span is not msgspec.UNSET}
        found += [f"span_{fault}" for fault in parameters_span.credit_faults(config.span_credits, spans)]
    return found


def _tiers(p: IsolatedParameters) -> list[str]:
    """What is wrong with leverage tiers."""
    bounds = [tier.above_usd for tier in p.tiers]
    rates = [rate for tier in p.tiers for rate in (tier.initial_ppm, tier.maintenance_ppm)]
    if not 1 <= len(bounds) <= MAX_TIERS or bounds[0] != 0 or any(a >= b for a, b in pairwise((*bounds, MAX_LIMIT))):
        return [f"1 to {MAX_TIERS} isolated tiers, the first from 0, ascending, below {MAX_LIMIT:,} USD"]
    if min(rates) <= 0 or max(rates) > 1_000_000:
        return ["isolated rates must be 1 to 1,000,000 ppm"]
    if any(tier.maintenance_ppm >= tier.initial_ppm for tier in p.tiers):
        return ["isolated maintenance must be below initial margin in every tier"]
    if any(a.initial_ppm > b.initial_ppm or a.maintenance_ppm > b.maintenance_ppm for a, b in pairwise(p.tiers)):
        return ["isolated rates must not fall from tier to tier"]
    return []


def _breaker(underlying: Underlying) -> list[str]:
    times = (underlying.breaker_window_ns, underlying.breaker_pause_ns)
    if not 0 <= underlying.breaker_move_ppm < 1_000_000 or not all(1_000 <= one < 1 << 61 for one in times):
        return [f"underlying {underlying.name}: breaker_move_ppm must be 0 to 999,999, its times at least 1,000 ns"]
    return []


def _order_limits(limits: Limits) -> list[str]:
    found: list[str] = []
    if not 0 < limits.price_band_ppm <= 10_000_000 or not 0 <= limits.option_band_coin_ppm <= 1_000_000:
        found.append("limits: price_band_ppm must be 1 to 10,000,000, option_band_coin_ppm 0 to 1,000,000")
    if not 0 <= limits.option_band_vol_ppm <= 10_000_000 or not 0 <= limits.option_band_ticks <= 10_000:
        found.append("limits: option_band_vol_ppm must be 0 to 10,000,000, option_band_ticks 0 to 10,000")
    if not 0 <= limits.max_order_notional_usd <= MAX_LIMIT or not 0 <= limits.max_order_vega_usd <= MAX_LIMIT:
        found.append(f"limits: max_order_notional_usd and max_order_vega_usd must be 0 (none) to {MAX_LIMIT:,}")
    if not 0 <= limits.max_order_delta_e8 <= MAX_LIMIT * 1_000_000:
        found.append(f"limits: max_order_delta_e8 must be 0 (none) to {MAX_LIMIT * 1_000_000:,}")
    if (
        not 1 <= limits.max_open_orders_per_account <= MAX_ORDERS
        or not 1 <= limits.max_open_orders_per_owner <= MAX_ORDERS
    ):
        found.append(f"limits: open orders per account and per owner must be 1 to {MAX_ORDERS:,}")
    if not 1 <= limits.max_open_orders <= MAX_OPEN_ORDERS:
        found.append(f"limits: max_open_orders must be 1 to {MAX_OPEN_ORDERS:,}")
    return found


def _limits(config: Config) -> list[str]:
    found: list[str] = []
    limits = config.limits
    if not 1 <= limits.max_accounts <= 100_000_000 or not 1 <= limits.max_instruments <= 65_535:
        found.append("limits: max_accounts must be 1 to 100,000,000, max_instruments 1 to 65,535")
    if not 0 <= limits.max_isolated_positions <= 1_000:
        found.append("limits: max_isolated_positions must be 0 to 1,000")
    if not 0 < limits.max_balance_minor <= 1 << 60:
        found.append("limits: max_balance_minor must be positive and at most 2**60")
    found += _order_limits(limits)
    liquidation = config.liquidation
    if not 0 <= liquidation.discount_cutoff_ppm <= liquidation.discount_start_ppm <= 1_000_000:
        found.append("liquidation: discounts must satisfy 0 <= cutoff <= start <= 1,000,000 ppm")
    durations = (
        liquidation.fast_ns,
        liquidation.slow_ns,
        liquidation.insolvent_ns,
        liquidation.lease_wait_ns,
    )
    if min(durations) <= 0 or liquidation.batch_ns < 0:
        found.append("liquidation: durations must be positive")
    ratios = liquidation.warning_ppm
    if not 1 <= len(ratios) <= MAX_WARNINGS or any(a <= b for a, b in pairwise((*ratios, 999_999))):
        found.append(f"liquidation: 1 to {MAX_WARNINGS} warnings, descending, each at least 1,000,000 ppm")
    if max(ratios, default=0) > 10_000_000 or not 0 <= liquidation.fee_ppm < 1_000_000:
        found.append("liquidation: warnings must be at most 10,000,000, the fee below 1,000,000 ppm")
    if not 0 <= liquidation.deleverage_shift_ppm <= 1_000_000:
        found.append("liquidation: deleverage_shift_ppm must be 0 to 1,000,000")
    if not 0 <= liquidation.buffer_move_ppm <= 1_000_000:
        found.append("liquidation: buffer_move_ppm must be 0 (none) to 1,000,000")
    if not 0 <= liquidation.lease_stress_ppm <= 5_000_000:
        found.append("liquidation: lease_stress_ppm must be 0 (none) to 5,000,000")
    if not 0 <= liquidation.fund_event_cap_ppm <= 1_000_000:
        found.append("liquidation: fund_event_cap_ppm must be 0 to 1,000,000")
    if config.checkpoint_every < 1:
        found.append("checkpoint_every must be at least 1")
    return found
