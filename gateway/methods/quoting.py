"""Mass quotes: many two-sided quotes in one command, and their cancellation."""

from typing import Any

import msgspec

from exchange.commands import ANY_CURRENCY, ANY_KIND, NO_INSTRUMENT, OrderFlag
from exchange.reasons import Reason
from gateway import records, render_orders
from gateway.errors import ApiError, engine_refusal, invalid_param
from gateway.listing import Listing
from gateway.methods.cancelling import currency_targets, group_orders, kind_targets
from gateway.methods.filters import check_kind
from gateway.methods.order_terms import Quantity, price_units, quantity_lots, stamp_ns
from gateway.methods.trading import TRADE
from gateway.protection import ANY_GROUP, group_number
from gateway.protocol import Params
from gateway.registry import method

ID_BYTES = 24
SAME_LOTS = -1
SIDES = ("bid", "ask")
MAX_DELTA = 1.0


class QuoteSide(msgspec.Struct, kw_only=True):
    """One side of a quote: what is left out stays as the standing quote has it; amount 0 ends that."""

    price: float | None = None
    amount: float | None = None
    post_only: bool | None = None
    reject_post_only: bool | None = None


class Quote(msgspec.Struct, kw_only=True):
    """Both sides of one instrument."""

    instrument_name: str
    quote_set_id: str | None = None
    bid: QuoteSide | None = None
    ask: QuoteSide | None = None


class MassQuote(Params, kw_only=True):
    quote_id: str
    mmp_group: str
    quotes: list[Quote]
    valid_until: int | None = None
    detailed: bool | None = None
    wait_for_response: bool | None = None


class CancelQuotes(Params, kw_only=True):
    cancel_type: str
    currency: str | None = None
    currency_pair: str | None = None
    instrument_name: str | None = None
    kind: str | None = None
    quote_set_id: str | None = None
    mmp_group: str | None = None
    min_delta: float | None = None
    max_delta: float | None = None
    detailed: bool | None = None
    freeze_quotes: bool | None = None


def id_bytes(text: str | None, param: str) -> bytes:
    """A quote id or set as it is journaled: at most 24 bytes, none of them zero."""
    found = (text or "").encode("utf-8", "replace")
    if len(found) > ID_BYTES or b"\0" in found:
        raise invalid_param(param, f"must be at most {ID_BYTES} bytes long")
    return found


def _side_fields(listing: Listing, side: QuoteSide, name: str) -> dict[str, int]:
    """Fields of QUOTE_ENTRY of one side."""
    flags = 0
    if side.post_only:
        flags = OrderFlag.POST_ONLY
        if side.reject_post_only:
            flags |= OrderFlag.REJECT_POST_ONLY
    lots: int | None = SAME_LOTS
    if side.amount is not None:
        lots = 0 if side.amount == 0 else quantity_lots(listing, Quantity(amount=side.amount))
    units = 0
    if side.price is not None:
        units = price_units(listing, side.price)
        if units == 0:
            raise ApiError(10005, {"reason": "price_too_low"})
    return {f"{name}_price_units": units, f"{name}_lots": lots, f"{name}_flags": int(flags)}  # type: ignore[dict-item]


def _fault(instrument_name: str, side: str, error: ApiError) -> dict[str, Any]:
    found: dict[str, Any] = {"code": error.code, "message": error.message}
    if error.data:
        found["data"] = error.data
    return {"instrument_name": instrument_name, "side": side, "error": found}


def _entries(gateway, quotes: list[Quote]) -> tuple[list[bytes], int, list[dict[str, Any]]]:
    """(entries, underlying, faults): what cannot be put into units is a fault of its side and goes no further."""
    entries, faults, underlying = [], [], -1
    for quote in quotes:
        given = [name for name in SIDES if getattr(quote, name) is not None]
        quote_set, fields = id_bytes(quote.quote_set_id, "quote_set_id"), {"sides": 0}
        try:
            listing = gateway.listing(quote.instrument_name)
        except ApiError as error:
            faults += [_fault(quote.instrument_name, name, error) for name in given]
            continue
        for name in given:
            try:
                fields |= _side_fields(listing, getattr(quote, name), name)
                fields["sides"] += 1 + SIDES.index(name)
            except ApiError as error:
                faults.append(_fault(quote.instrument_name, name, error))
        if fields["sides"]:
            entries.append(records.quote_entry(quote_set, instrument=listing.slot, **fields))
            underlying = listing.underlying if underlying < 0 else underlying
    return entries, underlying, faults


def refusal(gateway, account_id: int, reason: int) -> ApiError:
    """The refusal of quotes: frozen at the maker's own request is another code than frozen by protection."""
    if reason == Reason.QUOTES_FROZEN and gateway.engine.quotes_frozen_until(account_id):
        return ApiError(13043, {"reason": "quotes_frozen"})
    return engine_refusal(reason)


@method("private/mass_quote", params=MassQuote, scope=TRADE, kind="matching")
def mass_quote(gateway, session, principal, params: MassQuote) -> dict[str, Any]:
    """Place, move and end quotes of one protection group; each side stands or falls by itself."""
    if session.cancel_on_disconnect is None:
        raise ApiError(13042, {"reason": "enable_cancel_on_disconnect first"})
    limit = gateway.engine.config.limits.max_quotes_per_command
    if not 1 <= len(params.quotes) <= limit:
        raise invalid_param("quotes", f"must be 1 to {limit} quotes")
    quote_id = id_bytes(params.quote_id, "quote_id")
    entries, underlying, faults = _entries(gateway, params.quotes)
    result: dict[str, Any] = {"errors": faults, "errors_count": len(faults)}
    if params.detailed:
        result |= {"orders": [], "trades": []}
    if not params.wait_for_response:  # the answer waits in any case: nothing is pending
        result |= {"pending_requests": []} if params.detailed else {"pending_requests_count": 0}
    if not entries:
        return result
    number = group_number(gateway.engine, principal.account_id, underlying, params.mmp_group)
    if number == 0:
        raise ApiError(13040, {"reason": "unknown_group", "param": "mmp_group"})
    command = records.mass_quote(
        quote_id,
        entries,
        account_id=principal.account_id,
        key_id=principal.key_id,
        protection_group=number,
        valid_until_ns=stamp_ns(params.valid_until),
    )
    news = gateway.submit(command, session)
    if news.rejected and not news.refused:
        raise refusal(gateway, principal.account_id, news.rejected)
    for fields in news.refused:
        listing = gateway.listings.by_slot[fields.instrument]
        faults.append(_fault(listing.name, SIDES[fields.side], refusal(gateway, principal.account_id, fields.reason)))
    result["errors_count"] = len(faults)
    if params.detailed:
        own = [record for record in news.orders.values() if record.account_id == principal.account_id]
        result["orders"] = [render_orders.order(record) for record in own if record.flags & OrderFlag.QUOTE]
        result["trades"] = [
            render_orders.user_trade(trade, as_maker)
            for account_id, trade, as_maker in news.user_trades
            if account_id == principal.account_id
        ]
    return result


def _delta_e6(value: float | None, param: str) -> int:
    if value is None:
        raise invalid_param(param, "value required")
    if not -MAX_DELTA <= value <= MAX_DELTA:
        raise invalid_param(param, "must be between -1 and 1")
    return round(value * 1e6)


def _targets(gateway, principal, params: CancelQuotes) -> list[dict[str, Any]]:
    """Filters of CANCEL_QUOTES, one dictionary for each command needed."""

    def required(name: str) -> Any:
        value = getattr(params, name)
        if value is None:
            raise invalid_param(name, "value required")
        return value

    word, kind = params.cancel_type, check_kind(params.kind)
    currencies = currency_targets(gateway, params.currency, kind)
    if word == "all":
        return [{}]
    if word == "currency":
        return currency_targets(gateway, required("currency"), "any")
    if word == "instrument_kind":
        required("kind")
        return currencies if params.currency else kind_targets(kind)
    if word == "instrument":
        return [{"instrument": gateway.listing(required("instrument_name")).slot}]
    if word == "quote_set_id":
        quote_set = id_bytes(required("quote_set_id"), "quote_set_id")
        if not quote_set:
            raise invalid_param("quote_set_id", "value required")
        return [target | {"tail": quote_set, "set_bytes": len(quote_set)} for target in currencies]
    if word == "delta":
        low, high = _delta_e6(params.min_delta, "min_delta"), _delta_e6(params.max_delta, "max_delta")
        if low > high:
            raise invalid_param("min_delta", "must not be above max_delta")
        return [target | {"min_delta_e6": low, "max_delta_e6": high} for target in currencies]
    if word in ("currency_pair", "mmp_group"):
        name = required(word)
        pair = -1 if params.currency_pair is None else gateway.listings.index_by_name(params.currency_pair)
        live = gateway.projection.live_orders(principal.account_id)
        listings = {record.listing.slot: record.listing for record in live}
        found = [listings[slot] for slot in sorted(listings)]
        if params.currency_pair is not None:
            found = [listing for listing in found if listing.underlying == pair]
        if word == "currency_pair":
            return [{"instrument": listing.slot} for listing in found]
        numbers = {
            u: group_number(gateway.engine, principal.account_id, u, name) for u in {one.underlying for one in found}
        }
        groups = [(listing.slot, numbers[listing.underlying]) for listing in found]
        return [{"instrument": slot, "protection_group": number} for slot, number in groups if number]
    raise invalid_param("cancel_type", "invalid value")


def submit_cancel(gateway, session, principal, target: dict[str, Any], freeze: bool) -> Any:
    """One CANCEL_QUOTES; its news."""
    fields = {
        "instrument": NO_INSTRUMENT,
        "currency": ANY_CURRENCY,
        "instrument_kind": ANY_KIND,
        "protection_group": ANY_GROUP,
        "min_delta_e6": 1,
        "max_delta_e6": 0,
        "reason": int(Reason.USER_REQUEST),
        **target,
    }
    news = gateway.submit(
        records.cancel_quotes(account_id=principal.account_id, key_id=principal.key_id, freeze=int(freeze), **fields),
        session,
    )
    if news.rejected:
        raise engine_refusal(news.rejected)
    return news


@method("private/cancel_quotes", params=CancelQuotes, scope=TRADE, kind="matching", reducing=True)
def cancel_quotes(gateway, session, principal, params: CancelQuotes) -> Any:
    """Cancel quotes by a filter; with `freeze_quotes` none are taken for a second."""
    count, found = 0, []
    targets = _targets(gateway, principal, params)
    if params.freeze_quotes and not targets:
        targets = [{"protection_group": 0}]
    for target in targets:
        news = submit_cancel(gateway, session, principal, target, bool(params.freeze_quotes))
        count += news.count
        found += news.orders.values()
    return group_orders(found) if params.detailed else count
