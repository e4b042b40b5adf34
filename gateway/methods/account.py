"""Positions and account summaries."""

from typing import Any

from exchange import commands
from exchange.commands import CommandKind
from exchange.config import SelfTrade
from exchange.views import PositionView
from gateway import render_account
from gateway.errors import ApiError, engine_refusal, invalid_param
from gateway.methods.filters import check_kind, covers, currency_name
from gateway.protocol import Params
from gateway.registry import method

READ = "account:read"


class Positions(Params, kw_only=True):
    currency: str | None = None
    kind: str | None = None


class InstrumentName(Params, kw_only=True):
    instrument_name: str


@method("private/get_positions", params=Positions, scope=READ)
def get_positions(gateway, session, principal, params: Positions) -> list[dict[str, Any]]:
    """Open positions, of a settlement currency and kind where given."""
    currency, kind = currency_name(params.currency), check_kind(params.kind)
    found = []
    for position in gateway.positions(principal.account_id):
        listing = gateway.listings.by_name[position["instrument_name"]]
        if covers(listing, currency, kind):
            found.append(position)
    return found


@method("private/get_position", params=InstrumentName, scope=READ)
def get_position(gateway, session, principal, params: InstrumentName) -> dict[str, Any]:
    """The position in one instrument; direction `zero` where there is none."""
    listing = gateway.listing(params.instrument_name)
    found = gateway.positions(principal.account_id, listing.slot, entries=True)
    if found:
        return found[0]
    empty = PositionView(principal.account_id, listing.slot, 0, 0, 0, 0, 0, 0, 0, 0)
    market = gateway.engine.market(listing.slot)
    return render_account.position(listing, empty, market, gateway.greeks(listing)) | gateway.adl.shown(listing, empty)


class Summaries(Params, kw_only=True):
    extended: bool | None = None
    subaccount_id: int | None = None


class Summary(Summaries, kw_only=True):
    currency: str


def _check_account(principal, params: Summaries) -> None:
    """A key speaks for its own account; 13021 for any other."""
    if params.subaccount_id not in (None, principal.account_id):
        raise ApiError(13021, {"reason": "not the account of this key", "param": "subaccount_id"})


def _identity(gateway, principal) -> dict[str, Any]:
    account = gateway.engine.account(principal.account_id)
    mode, extended = gateway.engine.self_trade(principal.account_id)
    return {
        "id": account.account_id,
        "username": account.name,
        "email": "",
        "system_name": account.name,
        "type": "main" if account.owner_id in (0, account.account_id) else "subaccount",
        "login_enabled": False,
        "mmp_enabled": bool(gateway.engine.protection_groups(principal.account_id)),
        "self_trading_reject_mode": mode,
        "self_trading_extended_to_subaccounts": extended,
        "interuser_transfers_enabled": False,
        "referrer_id": None,
    }


@method("private/get_account_summaries", params=Summaries, scope=READ)
def get_account_summaries(gateway, session, principal, params: Summaries) -> dict[str, Any]:
    """One summary per currency."""
    _check_account(principal, params)
    return _identity(gateway, principal) | {"summaries": gateway.summaries(principal.account_id)}


@method("private/get_account_summary", params=Summary, scope=READ)
def get_account_summary(gateway, session, principal, params: Summary) -> dict[str, Any]:
    """The summary of one currency."""
    _check_account(principal, params)
    currency = currency_name(params.currency)
    for summary in gateway.summaries(principal.account_id):
        if summary["currency"] == currency:
            return (_identity(gateway, principal) if params.extended else {}) | summary
    raise invalid_param("currency", "invalid currency")


class SelfTrading(Params, kw_only=True):
    mode: str
    extended_to_subaccounts: bool


@method("private/set_self_trading_config", params=SelfTrading, scope="account:read_write")
def set_self_trading_config(gateway, session, principal, params: SelfTrading) -> str:
    """What happens when the account would trade with itself, and whether its owner's other accounts count as it."""
    if params.mode not in ("cancel_maker", "reject_taker"):
        raise invalid_param("mode", "invalid value")
    payload = SelfTrade(params.mode, params.extended_to_subaccounts)
    news = gateway.submit(commands.cold(CommandKind.SET_SELF_TRADE, payload, principal.account_id), session)
    if news.rejected:
        raise engine_refusal(news.rejected)
    return "ok"
