"""Liquidation auctions: what is for sale, and bids on it. Our own methods, beside Deribit's."""

from typing import Any

from exchange import commands
from exchange.commands import CommandKind
from exchange.events import EventKind
from exchange.liquidation.slices import Unwind as Preference
from exchange.payloads import SetUnwind
from exchange.reasons import Reason
from gateway import records
from gateway.admin_liquidation import shown
from gateway.errors import ApiError, engine_refusal, invalid_param
from gateway.methods.filters import check_count, continuation
from gateway.protocol import Params
from gateway.registry import method
from gateway.units import NotExact, money, ms, to_minor

PPM = 6
USD_EXPONENT = 4
PREFERENCES = tuple(one.name.lower() for one in Preference)


@method("public/get_auctions")
def get_auctions(gateway, session, principal, params) -> list[dict[str, Any]]:
    """Running auctions with their portfolios and current prices."""
    return gateway.auctions()


class History(Params, kw_only=True):
    auction_id: int | None = None
    count: int | None = None
    continuation: str | None = None


@method("public/get_auction_history", params=History)
def get_auction_history(gateway, session, principal, params: History) -> dict[str, Any]:
    """Steps of auctions of all time, newest first: what was asked, sold and closed. Not whose, nor to whom."""
    count, before = check_count(params.count, 20), continuation(params.continuation)
    if params.auction_id is not None and not 0 < params.auction_id < 1 << 63:
        raise invalid_param("auction_id", "out of range")
    reader = gateway.archive.reader
    found = [] if reader is None else reader.auction_steps(params.auction_id or 0, before, count + 1)
    token = str(found[count - 1][0]) if len(found) > count else "none"
    exponents = gateway.listings.exponents
    return {"steps": [_step(row, exponents[row[6]]) for row in found[:count]], "continuation": token}


def _step(row: Any, exponent: int) -> dict[str, Any]:
    """A row of the store; what a step does not have is left out."""
    _, auction_id, stamp, word, phase, reason, currency, value, requirement, price, share, fee, compensation = row
    found = {
        "auction_id": auction_id,
        "timestamp": ms(stamp),
        "step": word,
        "phase": phase,
        "currency": currency,
        "price": money(price, exponent),
    }
    if word == "sold":
        return found | {
            "share": share / 10**PPM,
            "fee": money(fee, exponent),
            "compensation": money(compensation, exponent),
        }
    return found | {
        "reason": Reason(reason).name.lower(),
        "value": money(value, exponent),
        "requirement": money(requirement, exponent),
    }


class Terms(Params, kw_only=True):
    underlying: str | None = None


@method("public/get_auction_terms", params=Terms)
def get_auction_terms(gateway, session, principal, params: Terms) -> list[dict[str, Any]]:
    """What auctions that open now go by, per underlying, with the version of the terms."""
    found = shown(gateway.engine)
    if params.underlying is None:
        return found
    chosen = [one for one in found if one["underlying"] == params.underlying]
    if not chosen:
        raise invalid_param("underlying", "unknown underlying")
    return chosen


class Unwind(Params, kw_only=True):
    preference: str


@method("private/set_unwind_preference", params=Unwind, scope="account:read_write")
def set_unwind_preference(gateway, session, principal, params: Unwind) -> dict[str, str]:
    """What the account would rather have sold where it is liquidated."""
    if params.preference not in PREFERENCES:
        raise invalid_param("preference", "invalid value")
    payload = SetUnwind(params.preference)
    news = gateway.submit(commands.cold(CommandKind.SET_UNWIND, payload, principal.account_id), session)
    if news.rejected:
        raise engine_refusal(news.rejected)
    return {"preference": params.preference}


@method("private/get_unwind_preference", scope="account:read")
def get_unwind_preference(gateway, session, principal, params) -> dict[str, str]:
    """What `set_unwind_preference` has set, `smallest` where nothing has been."""
    number = gateway.engine.liquidation.terms.unwind.get(principal.account_id, 0)
    return {"preference": PREFERENCES[number]}


class Bid(Params, kw_only=True):
    auction_id: int
    phase: int
    limit: float
    share: float = 1.0


def _exact(value: float, exponent: int, param: str) -> int:
    try:
        return to_minor(value, exponent)
    except NotExact:
        raise invalid_param(param, f"must have at most {exponent} decimals") from None


@method("private/place_bid", params=Bid, scope="trade:read_write", kind="matching")
def place_bid(gateway, session, principal, params: Bid) -> dict[str, Any]:
    """Bid for a share (0 to 1) of an auction at a limit for the whole, pinned to its phase."""
    view = next((one for one in gateway.engine.auctions() if one.auction_id == params.auction_id), None)
    if view is None:
        raise ApiError(13020, {"reason": "unknown_auction"})
    if not 0 <= params.phase <= 255:
        raise invalid_param("phase", "invalid value")
    if not 0.0 < params.share <= 1.0:
        raise invalid_param("share", "must be above 0 and at most 1")
    exponent = gateway.listings.exponents.get(view.currency, USD_EXPONENT)
    limit_minor = _exact(params.limit, exponent, "limit")
    if abs(limit_minor) >= 1 << 62:
        raise invalid_param("limit", "out of range")
    news = gateway.submit(
        records.place_bid(
            account_id=principal.account_id,
            auction_id=params.auction_id,
            phase=params.phase,
            share_ppm=_exact(params.share, PPM, "share"),
            limit_minor=limit_minor,
            key_id=principal.key_id,
        ),
        session,
    )
    if news.rejected:
        raise engine_refusal(news.rejected)
    # a bid may crowd another out, whose refusal then comes first
    own = {kind: fields for kind, fields in news.facts if fields.account_id == principal.account_id}
    if (made := own.get(EventKind.BID_ACCEPTED)) is not None:
        return {
            "bid_id": made.bid_id,
            "auction_id": made.auction_id,
            "phase": made.phase,
            "limit": money(made.limit_minor, exponent),
            "share": made.share_ppm / 10**PPM,
        }
    if (refused := own.get(EventKind.BID_REJECTED)) is not None:
        raise engine_refusal(refused.reason)
    raise ApiError(11094, {"reason": "no_answer_from_engine"})
