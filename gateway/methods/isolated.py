"""Margin modes of futures and perpetuals, and the collateral of isolated positions."""

from typing import Any

from exchange.commands import CommandKind
from exchange.config import MoveCollateral, SetMarginMode
from gateway.errors import ApiError, invalid_param
from gateway.methods.filters import currency_name
from gateway.methods.submitting import submit_cold
from gateway.protocol import Params
from gateway.registry import method
from gateway.render_isolated import bucket
from gateway.units import NotExact, to_minor, whole_units

READ, WRITE = "account:read", "account:read_write"
LEVERAGE_STEP_E8 = 1_000_000


class MarginMode(Params, kw_only=True):
    instrument_name: str
    margin_mode: str
    leverage: float | None = None


class Collateral(Params, kw_only=True):
    instrument_name: str
    amount: float


class Modes(Params, kw_only=True):
    currency: str | None = None


def _shown(gateway, account_id: int, listing: Any) -> dict[str, Any]:
    """The instrument's margin mode now."""
    for view in gateway.engine.buckets(account_id):
        if view.instrument == listing.slot:
            return bucket(listing, view)
    return {"instrument_name": listing.name, "margin_mode": "cross"}


@method("private/set_margin_mode", params=MarginMode, scope=WRITE)
def set_margin_mode(gateway, session, principal, params: MarginMode) -> dict[str, Any]:
    """Margin an instrument with the account (`cross`) or in a bucket of its own at a leverage (`isolated`), or change
    that leverage. The mode changes only while nothing is open in the instrument."""
    listing = gateway.listing(params.instrument_name)
    if params.margin_mode not in ("cross", "isolated"):
        raise invalid_param("margin_mode", "invalid value")
    if listing.kind != "future" or listing.is_combo:
        raise ApiError(10031, {"reason": "futures_and_perpetuals_only", "param": "instrument_name"})
    leverage_e2 = 0
    if params.margin_mode == "isolated":
        if params.leverage is None:
            raise invalid_param("leverage", "value required")
        try:
            leverage_e2 = whole_units(params.leverage, LEVERAGE_STEP_E8)
        except NotExact:
            raise invalid_param("leverage", "must be a multiple of 0.01") from None
        if not 0 < leverage_e2 <= 1_000_000:
            raise invalid_param("leverage", "leverage_out_of_range")
    elif params.leverage is not None:
        raise invalid_param("leverage", "of isolated positions only")
    payload = SetMarginMode(listing.name, params.margin_mode, leverage_e2)
    submit_cold(gateway, session, principal, CommandKind.SET_MARGIN_MODE, payload)
    return _shown(gateway, principal.account_id, listing)


def _move(gateway, session, principal, params: Collateral, sign: int) -> dict[str, Any]:
    listing = gateway.listing(params.instrument_name)
    try:
        minor = to_minor(params.amount, listing.exponent)
    except NotExact:
        raise invalid_param("amount", "finer than the currency") from None
    if not 0 < minor < 1 << 62:
        raise invalid_param("amount", "must be positive" if minor <= 0 else "too large")
    submit_cold(gateway, session, principal, CommandKind.MOVE_COLLATERAL, MoveCollateral(listing.name, sign * minor))
    return _shown(gateway, principal.account_id, listing)


@method("private/add_collateral", params=Collateral, scope=WRITE)
def add_collateral(gateway, session, principal, params: Collateral) -> dict[str, Any]:
    """Move collateral from the account to an isolated position; the account keeps its own initial margin."""
    return _move(gateway, session, principal, params, 1)


@method("private/remove_collateral", params=Collateral, scope=WRITE)
def remove_collateral(gateway, session, principal, params: Collateral) -> dict[str, Any]:
    """Move collateral back from an isolated position, down to its initial margin."""
    return _move(gateway, session, principal, params, -1)


@method("private/get_margin_modes", params=Modes, scope=READ)
def get_margin_modes(gateway, session, principal, params: Modes) -> list[dict[str, Any]]:
    """The account's instruments in isolated mode, of a settlement currency where given; all others are cross."""
    currency = currency_name(params.currency)
    found = [
        bucket(gateway.listings.by_slot[view.instrument], view) for view in gateway.engine.buckets(principal.account_id)
    ]
    return [one for one in found if currency in ("ANY", one["currency"])]
