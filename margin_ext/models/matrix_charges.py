"""What a `matrix` set adds to the worst scenario: roll and delta shocks, and contingencies."""

from collections.abc import Sequence

import numpy as np

from margin_ext.kernels import exp
from margin_ext.models.matrix_table import expiries
from margin_ext.models.parameters import PPM, Concentration, MatrixSet, RateTier
from margin_ext.models.portfolio import DAYS_PER_YEAR, Floats, Portfolio
from margin_ext.models.result import Added


def roll_shock(s: MatrixSet, p: Portfolio, delta: Floats) -> float:
    """Coins: sum over expiries of |delta| x max(minimum move, e^(annualised risk x T) - 1)."""
    days, rows = expiries(p)
    net = np.bincount(rows, delta, len(days))
    least, risk = s.minimum_move_ppm / PPM, s.annualised_move_risk_ppm / PPM
    return float(sum(abs(d) * max(least, exp(risk * t / DAYS_PER_YEAR) - 1.0) for d, t in zip(net, days, strict=True)))


def delta_shock(s: MatrixSet, index: float, delta: Floats) -> float:
    """Coins: N x min(largest move, (N - threshold) x move per coin), N the net delta over all expiries."""
    net = abs(float(delta.sum()))
    excess = net - s.delta_threshold_usd / index
    if excess <= 0.0:
        return 0.0
    return net * min(s.delta_move_max_ppm / PPM, excess * s.delta_move_per_coin_e9 / 1e9)


def net_short_options(p: Portfolio) -> float:
    """Coins: per strike and expiry the options sold beyond those bought, calls and puts together."""
    at = p.is_option
    if not at.any():
        return 0.0
    keys = np.stack([p.strike[at], p.days[at]], axis=1)
    _, rows = np.unique(keys, axis=0, return_inverse=True)
    net = np.bincount(rows.reshape(-1), p.size[at])
    return float(-np.minimum(net, 0.0).sum())


def gross_futures(p: Portfolio) -> float:
    """Coins: futures and perpetuals, longs and shorts alike."""
    at = ~p.is_option
    return float((np.abs(p.size[at]) / np.where(p.inverse[at], p.fixing[at], 1.0)).sum())


def hedged_between_settlements(p: Portfolio, delta: Floats) -> float:
    """Coins: deltas that offset each other across settlement currencies."""
    net = np.bincount(p.settlement, delta, len(p.currencies))
    return float(min(np.maximum(net, 0.0).sum(), np.maximum(-net, 0.0).sum()))


def tiered(tiers: Sequence[RateTier], size_usd: float) -> float:
    """USD: each tier's rate on the part of the size that lies in it."""
    bounds = [float(tier.above_usd) for tier in tiers] + [np.inf]
    parts = zip(tiers, bounds, bounds[1:], strict=False)
    return float(sum(max(0.0, min(size_usd, end) - start) * tier.rate_ppm / PPM for tier, start, end in parts))


def concentration(c: Concentration, p: Portfolio, place: int, delta: Floats) -> float:
    """USD: the account's part of what its owner's net delta Q costs beyond what the market carries.

    Beyond a share of the open interest: (Q - share x OI) x index x rate. Against the books: closing Q where D coins
    stand evenly within the depth move slips by move x Q / (2 D) on average, at most the cap. Both are the
    venue's own forms; the account bears them in the proportion of its delta to the owner's.
    """
    market = p.underlyings[place]
    own = abs(float(delta.sum()))
    owner = own if market.owner_delta_coins is None else abs(market.owner_delta_coins)
    if owner == 0.0:
        return 0.0
    coins = 0.0
    if market.open_interest_coins is not None:
        interest = max(market.open_interest_coins, c.open_interest_floor_usd / market.index_usd)
        excess = owner - c.open_interest_share_ppm / PPM * interest
        coins += max(0.0, excess) * c.open_interest_rate_ppm / PPM
    if market.depth_coins is not None and c.depth_move_ppm:
        cap = c.depth_cap_ppm / PPM
        depth = max(market.depth_coins, c.depth_floor_usd / market.index_usd)
        if depth > 0.0:
            cap = min(cap, c.depth_move_ppm / PPM * owner / (2.0 * depth))
        coins += owner * cap
    return coins * market.index_usd * min(1.0, own / owner)


def contingencies(s: MatrixSet, p: Portfolio, place: int, delta: Floats, worst: float) -> dict[str, Added]:
    """USD, by name; only those the set asks for. `worst` in USD."""
    index = p.underlyings[place].index_usd
    found = {}

    def add(name: str, size_coins: float, initial_ppm: int, maintenance_ppm: int) -> None:
        value = size_coins * index / PPM
        found[name] = Added(value * initial_ppm, value * maintenance_ppm)

    if s.future_initial_ppm:
        add("futures", gross_futures(p), s.future_initial_ppm, s.future_maintenance_ppm)
    if s.short_option_initial_ppm:
        add("short_options", net_short_options(p), s.short_option_initial_ppm, s.short_option_maintenance_ppm)
    hedged = hedged_between_settlements(p, delta)
    if s.settlement_basis_ppm:
        add("settlement_basis", hedged, s.settlement_basis_ppm, s.settlement_basis_ppm)
    if s.peg is not None:
        charge = tiered(s.peg.tiers, hedged * index)
        found["peg"] = Added(charge, charge)
        used = {p.currencies[number] for number in set(p.settlement.tolist())}
        prices = [currency.price_usd for currency in used if currency.underlying is None]
        fall = max(0.0, s.peg.threshold_ppm / PPM - min(prices, default=1.0))
        found["peg_loss"] = Added(s.peg.loss_factor_ppm / PPM * fall * worst, 0.0)
    if s.concentration is not None:
        charge = concentration(s.concentration, p, place, delta)
        found["concentration"] = Added(charge, charge)
    return found
