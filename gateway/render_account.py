"""Positions and account summaries as wire objects, field for field as Deribit's API v2 has them."""

from typing import Any

from exchange.views import AccountView, CurrencyView, MarketView, PositionView
from gateway.listing import Listing
from gateway.settings import Bucket, RateLimits
from gateway.units import E8, money

RISK_NAMES = ("delta", "gamma", "theta", "vega", "net_delta")
"""Sums over an account: Greeks of options, and the net transaction delta (inverse options less marks)."""


def average_price(listing: Listing, view: PositionView) -> float:
    """Price at which the position stands in the books, from its signed cost."""
    if view.quantity_lots == 0 or view.cost_minor == 0:
        return 0.0
    amount = abs(view.quantity_lots) * listing.lot_e8 * 10**listing.exponent
    coins = abs(view.cost_minor) * E8
    return amount / coins if listing.view.inverse and not listing.is_option else coins / amount


def position(listing: Listing, view: PositionView, market: MarketView, greeks: tuple[float, ...]) -> dict[str, Any]:
    """A position. Portfolio margin belongs to the account as a whole, so the position's own share is 0."""
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
        "initial_margin": 0.0,
        "maintenance_margin": 0.0,
        "open_orders_margin": 0.0,
        "floating_profit_loss": floating,
        "realized_profit_loss": realised,
        "total_profit_loss": floating,
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
        "estimated_liquidation_price": None,
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


def summary(
    account: AccountView,
    view: CurrencyView,
    exponent: int,
    options: dict[str, float],
    index_name: str,
    rate_limits: dict[str, Any],
) -> dict[str, Any]:
    """An account summary in one currency. `options`: the sums of RISK_NAMES; `rate_limits`: those of `limits`."""

    def coins(amount_minor: int) -> float:
        return money(amount_minor, exponent)

    cross = account.margin_model.startswith("cross")
    futures, delta_total = coins(view.futures_unrealised_minor), options["net_delta"]
    maps = {
        f"options_{name}_map": {index_name: options[name]} if index_name else {} for name in ("gamma", "theta", "vega")
    }
    equity = coins(view.equity_minor)
    initial, maintenance = coins(view.initial_margin_minor), coins(view.maintenance_margin_minor)
    found: dict[str, Any] = {
        "currency": view.currency,
        "balance": coins(view.cash_minor),
        "equity": equity,
        "margin_balance": equity,
        "available_funds": coins(view.available_minor),
        "available_withdrawal_funds": coins(view.withdrawable_minor),
        "initial_margin": initial,
        "maintenance_margin": maintenance,
        "projected_initial_margin": initial,
        "projected_maintenance_margin": maintenance,
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
        "options_delta": options["delta"],
        "options_gamma": options["gamma"],
        "options_theta": options["theta"],
        "options_vega": options["vega"],
        **maps,
        "delta_total": delta_total,
        "delta_total_map": {index_name: delta_total} if index_name else {},
        "projected_delta_total": delta_total,
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
            "total_margin_balance_usd": equity_usd,
            "total_initial_margin_usd": account.initial_margin_usd_e4 / 10_000,
            "total_maintenance_margin_usd": account.maintenance_margin_usd_e4 / 10_000,
            "total_delta_total_usd": 0.0,
        }
    return found
