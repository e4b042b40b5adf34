"""Positions and account summaries as wire objects, field for field as Deribit's API v2 has them."""

from typing import Any

from exchange.views import AccountView, ChainGreeks, CurrencyView, MarketView, PositionView
from gateway.listing import Listing
from gateway.settings import Bucket, RateLimits
from gateway.units import E8, money


def average_price(listing: Listing, view: PositionView) -> float:
    """Price at which the position stands in the books, from its signed cost."""
    if view.quantity_lots == 0 or view.cost_minor == 0:
        return 0.0
    amount = abs(view.quantity_lots) * listing.lot_e8 * 10**listing.exponent
    coins = abs(view.cost_minor) * E8
    return amount / coins if listing.view.inverse and not listing.is_option else coins / amount


def position(
    listing: Listing,
    view: PositionView,
    market: MarketView,
    greeks: tuple[float, ...],
    margins: tuple[int, int, int] = (0, 0, 0),
    liquidation_price: float | None = None,
) -> dict[str, Any]:
    """A position; `margins` initial, maintenance and what open orders add, minor units. Portfolio margin belongs to
    the account as a whole, so the position's own share is 0 there."""
    exponent, lots = listing.exponent, view.quantity_lots
    amount, index = listing.amount(lots), market.index_price_e8 / E8
    coins = lots * listing.lot_e8 / E8
    mark = market.mark_price_e8 / E8
    floating = money(view.mark_value_minor - view.cost_minor, exponent)
    realised = money(view.realised_minor, exponent)
    found: dict[str, Any] = {
        "instrument_name": listing.name,
        "kind": listing.kind,
        "size": amount,
        "direction": "zero" if lots == 0 else "buy" if lots > 0 else "sell",
        "average_price": average_price(listing, view),
        "mark_price": mark,
        "index_price": index,
        "settlement_price": mark,
        "initial_margin": money(margins[0], exponent),
        "maintenance_margin": money(margins[1], exponent),
        "open_orders_margin": money(margins[2], exponent),
        "floating_profit_loss": floating,
        "realized_profit_loss": realised,
        "total_profit_loss": floating,
        "margin_mode": "cross",
        "user_id": view.account_id,
    }
    if listing.is_option:
        delta, gamma, vega, theta, _ = greeks
        usd = index if listing.view.inverse else 1.0
        found |= {
            "delta": delta * coins,
            "gamma": gamma * coins,
            "vega": vega * coins,
            "theta": theta * coins,
            "average_price_usd": round(found["average_price"] * usd, 4),
            "floating_profit_loss_usd": round(floating * usd, 4),
        }
        return found
    size_currency = (coins / mark if mark else 0.0) if listing.view.inverse else coins
    return found | {
        "delta": size_currency,
        "size_currency": size_currency,
        "leverage": 50,
        "estimated_liquidation_price": liquidation_price,
        "realized_funding": money(view.funding_realised_minor, exponent),
        "interest_value": 0.0,
    }


def margin_model(account: AccountView) -> str:
    """The account's margin model in the wire's words."""
    return account.margin_model


def limits(rates: RateLimits) -> dict[str, Any]:
    """Rate limits in force, in requests per second and at once; a limit that is off is absent."""
    found: dict[str, Any] = {"limits_per_currency": False}
    if rates.non_matching is not None:
        found["non_matching_engine"] = _rate(rates.non_matching)
    if rates.matching is not None:
        found["matching_engine"] = {"trading": {"total": _rate(rates.matching)}}
    return found


def _rate(bucket: Bucket) -> dict[str, int]:
    return {"rate": bucket.refill // bucket.cost, "burst": bucket.pool // bucket.cost}


def _risk(chains: list[ChainGreeks], index_names: list[str]) -> dict[str, Any]:
    """Sums over one settlement currency, and by index: deltas in coins, vega per vol point, theta per day.

    `delta_total` is the net transaction delta: inverse options count less what they are worth."""
    sums: dict[str, dict[str, float]] = {
        "options_delta": {index_names[one.underlying]: one.option_delta for one in chains},
        "options_gamma": {index_names[one.underlying]: one.gamma for one in chains},
        "options_theta": {index_names[one.underlying]: one.theta / 365.0 for one in chains},
        "options_vega": {index_names[one.underlying]: one.vega / 100.0 for one in chains},
        "delta_total": {index_names[one.underlying]: one.net_delta for one in chains},
        "projected_delta_total": {index_names[one.underlying]: one.later_net_delta for one in chains},
    }
    found: dict[str, Any] = {name: sum(by_index.values()) for name, by_index in sums.items()}
    mapped = ("options_gamma", "options_theta", "options_vega", "delta_total")
    return found | {f"{name}_map": sums[name] for name in mapped}


def summary(
    account: AccountView,
    view: CurrencyView,
    number: int,
    exponent: int,
    chains: list[ChainGreeks],
    index_names: list[str],
    projected: tuple[int, int] | None,
    rate_limits: dict[str, Any],
) -> dict[str, Any]:
    """An account summary in one currency.

    chains: Greeks of the whole account. index_names: by number of the underlying. projected: initial and maintenance
    margin without the closest expiry, minor units; None where nothing of it is held. rate_limits: those of `limits`.
    """

    def coins(amount_minor: int) -> float:
        return money(amount_minor, exponent)

    cross = account.margin_model.startswith("cross")
    futures = coins(view.futures_unrealised_minor)
    risk = _risk([one for one in chains if one.currency == number], index_names)
    equity = coins(view.equity_minor)
    initial, maintenance = coins(view.initial_margin_minor), coins(view.maintenance_margin_minor)
    found: dict[str, Any] = {
        "currency": view.currency,
        "balance": coins(view.cash_minor),
        "equity": equity,
        "margin_balance": coins(view.margin_balance_minor),
        "available_funds": coins(view.available_minor),
        "available_withdrawal_funds": coins(view.withdrawable_minor),
        "initial_margin": initial,
        "maintenance_margin": maintenance,
        "projected_initial_margin": initial if projected is None else coins(projected[0]),
        "projected_maintenance_margin": maintenance if projected is None else coins(projected[1]),
        "total_pl": futures,
        "session_upl": futures,
        "session_rpl": 0.0,
        "futures_pl": futures,
        "futures_session_upl": futures,
        "futures_session_rpl": 0.0,
        "options_pl": 0.0,
        "options_session_upl": 0.0,
        "options_session_rpl": 0.0,
        "options_value": coins(view.options_value_minor),
        **risk,
        "estimated_liquidation_ratio": round(maintenance / equity, 8) if equity > 0 else 0.0,
        "estimated_liquidation_ratio_map": {},
        "spot_reserve": 0.0,
        "additional_reserve": 0.0,
        "fee_balance": 0.0,
        "locked_balance": 0.0,
        "margin_model": margin_model(account),
        "portfolio_margining_enabled": account.margin_model.endswith("_pm"),
        "cross_collateral_enabled": cross,
        "limits": rate_limits,
    }
    if cross:
        equity_usd = account.equity_usd_e4 / 10_000
        found |= {
            "total_equity_usd": equity_usd,
            "total_margin_balance_usd": account.margin_balance_usd_e4 / 10_000,
            "total_initial_margin_usd": account.initial_margin_usd_e4 / 10_000,
            "total_maintenance_margin_usd": account.maintenance_margin_usd_e4 / 10_000,
            "total_delta_total_usd": sum(one.net_delta * one.index_price_e8 / E8 for one in chains),
        }
    return found
