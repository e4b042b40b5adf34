"""The accounts of an owner: who they are, what is in them, positions and open orders of each."""

from typing import Any

from gateway import render_orders
from gateway.errors import ApiError, invalid_param
from gateway.methods.filters import covers, currency_name
from gateway.protocol import Params
from gateway.registry import method

READ = "account:read"
ORDERS = "trade:read"
MAX_ACCOUNTS = 256
"""Of an owner, in one answer."""
FIGURES = (
    "currency", "balance", "equity", "margin_balance", "available_funds", "available_withdrawal_funds",
    "initial_margin", "maintenance_margin", "spot_reserve", "additional_reserve",
)  # fmt: skip


class WithPortfolio(Params, kw_only=True):
    with_portfolio: bool | None = None


class Details(Params, kw_only=True):
    currency: str
    with_open_orders: bool | None = None


def _accounts(gateway, principal) -> list[int]:
    found: list[int] = gateway.families.of(principal.account_id)
    if len(found) > MAX_ACCOUNTS:
        raise ApiError(11030, {"reason": "too_many_accounts"})
    return found


@method("private/get_subaccounts", params=WithPortfolio, scope=READ)
def get_subaccounts(gateway, session, principal, params: WithPortfolio) -> list[dict[str, Any]]:
    """The owner's accounts, the main one first; for a key of another account that one alone."""
    return [_account(gateway, one, bool(params.with_portfolio)) for one in _accounts(gateway, principal)]


def _account(gateway, account_id: int, with_portfolio: bool) -> dict[str, Any]:
    view = gateway.engine.account(account_id)
    found: dict[str, Any] = {
        "id": account_id,
        "username": view.name,
        "system_name": view.name,
        "type": "main" if gateway.families.is_main(account_id) else "subaccount",
        "email": "",
        "is_password": False,
        "login_enabled": False,
        "receive_notifications": False,
        "security_keys_enabled": False,
        "security_keys_assignments": [],
        "margin_model": view.margin_model,
    }
    if with_portfolio:
        found["portfolio"] = {
            one["currency"].lower(): {name: one.get(name, 0.0) for name in FIGURES}
            for one in gateway.summaries(account_id)
        }
    return found


@method("private/get_subaccounts_details", params=Details, scope=READ)
def get_subaccounts_details(gateway, session, principal, params: Details) -> list[dict[str, Any]]:
    """Positions of each of the accounts in a settlement currency, and their open orders where asked for."""
    currency = currency_name(params.currency)
    if currency != "ANY" and currency not in gateway.listings.exponents:
        raise invalid_param("currency", "invalid currency")
    if params.with_open_orders and not principal.allows(ORDERS):
        raise ApiError(13021, {"reason": f"scope {ORDERS} required", "param": "with_open_orders"})
    return [_details(gateway, one, currency, bool(params.with_open_orders)) for one in _accounts(gateway, principal)]


def _details(gateway, account_id: int, currency: str, with_orders: bool) -> dict[str, Any]:
    by_name = gateway.listings.by_name
    positions = gateway.positions(account_id)
    found: dict[str, Any] = {
        "uid": account_id,
        "positions": [one for one in positions if covers(by_name[one["instrument_name"]], currency, "any")],
    }
    if with_orders:
        found["open_orders"] = [
            render_orders.order(record)
            for record in gateway.projection.live_orders(account_id)
            if covers(record.listing, currency, "any")
        ]
    return found
