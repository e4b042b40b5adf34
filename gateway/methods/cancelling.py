"""Cancelling orders: one, all, or those of a currency, an instrument, a kind or a label."""

from collections.abc import Iterable
from typing import Any

from exchange.commands import ANY_CURRENCY, ANY_KIND, NO_INSTRUMENT, OrderFlag, OrderType
from exchange.config import COMBO_KINDS, INSTRUMENT_KINDS, InstrumentKind
from exchange.reasons import Reason
from gateway import records, render_orders
from gateway.errors import engine_refusal, invalid_param
from gateway.methods.filters import check_kind, currency_name, order_types
from gateway.methods.order_terms import label_bytes
from gateway.methods.trading import TRADE, open_order, refused
from gateway.protocol import Params
from gateway.registry import method
from gateway.waiting import WaitingOrder


class OrderId(Params, kw_only=True):
    order_id: str


@method("private/cancel", params=OrderId, scope=TRADE, kind="matching", reducing=True)
def cancel(gateway, session, principal, params: OrderId) -> dict[str, Any]:
    """Cancel one order; answers with the order as it ended."""
    record = open_order(gateway, principal, params.order_id)
    news = gateway.submit(
        records.cancel_order(
            account_id=principal.account_id,
            order_id=record.order_id,
            key_id=principal.key_id,
            reason=int(Reason.USER_REQUEST),
        ),
        session,
    )
    if news.rejected:
        raise refused(gateway, principal, record.order_id, news.rejected)
    return render_orders.order(record)


class CancelAll(Params, kw_only=True):
    currency: str | list[str] | None = None
    currency_pair: str | None = None
    instrument_name: str | None = None
    label: str | None = None
    kind: str | None = None
    type: str | None = None
    detailed: bool | None = None
    freeze_quotes: bool | None = None
    include_combos: bool | None = None


def cancel_where(gateway, session, principal, target: dict[str, int], label: bytes = b"") -> Any:
    """One CANCEL_ALL of the account's orders that `target` names, all where it is empty; what came of it."""
    news = gateway.submit(
        records.cancel_every(principal.account_id, int(Reason.USER_REQUEST), principal.key_id, label, **target),
        session,
    )
    if news.rejected:
        raise engine_refusal(news.rejected)
    return news


def _cancel_many(gateway, session, principal, params: CancelAll, targets: list[dict[str, int]], label=b"") -> Any:
    """Run CANCEL_ALL once per target; the number of orders cancelled, or the orders in groups."""
    count, found = 0, []
    if params.freeze_quotes:
        freeze_quotes(gateway, session, principal)
    for target in targets:
        news = cancel_where(gateway, session, principal, target, label)
        count += news.count
        found += news.orders.values()
    return group_orders(found) if params.detailed else count


def freeze_quotes(gateway, session, principal) -> None:
    """Have no quotes of the account taken for a second; those that stand are left alone (no group is numbered 0)."""
    news = gateway.submit(
        records.cancel_quotes(
            account_id=principal.account_id,
            key_id=principal.key_id,
            reason=int(Reason.USER_REQUEST),
            instrument=NO_INSTRUMENT,
            currency=ANY_CURRENCY,
            instrument_kind=ANY_KIND,
            freeze=1,
        ),
        session,
    )
    if news.rejected:
        raise engine_refusal(news.rejected)


def group_orders(found: Iterable[Any]) -> list[dict[str, Any]]:
    """Cancelled orders as a detailed answer has them: by instrument, waiting ones apart."""
    groups: dict[tuple[Any, str], list[Any]] = {}
    for record in found:
        word = "quote" if record.flags & OrderFlag.QUOTE else "trigger" if isinstance(record, WaitingOrder) else "limit"
        groups.setdefault((record.listing, word), []).append(render_orders.order(record))
    return [
        {"type": word, "instrument_name": listing.name, "currency": listing.currency, "result": orders}
        for (listing, word), orders in groups.items()
    ]


def _typed(targets: list[dict[str, int]], word: str | None) -> list[dict[str, int]]:
    """The targets narrowed to the order types of a filter: CANCEL_ALL takes one type or any."""
    types = order_types(word)
    if len(types) == len(OrderType):
        return targets
    return [{**target, "order_type": int(one)} for target in targets for one in sorted(types)]


WIRE_KINDS: dict[str, tuple[InstrumentKind, ...]] = {
    "future": ("perpetual", "future"),
    "option": ("option",),
    "future_combo": ("future_combo",),
    "option_combo": ("option_combo",),
    "combo": COMBO_KINDS,
}


def kind_targets(kind: str) -> list[dict[str, int]]:
    """CANCEL_ALL targets of a wire kind: futures are perpetuals and dated futures in the engine."""
    if kind == "any":
        return [{}]
    names = WIRE_KINDS.get(kind, ())
    return [{"instrument_kind": INSTRUMENT_KINDS.index(name)} for name in names]


def currency_targets(gateway, named: str | list[str] | None, kind: str) -> list[dict[str, int]]:
    """CANCEL_ALL targets of a currency, of several, or (absent) of any."""
    several = named if isinstance(named, list) else [named]
    currencies = list(dict.fromkeys(currency_name(name) for name in several))
    if "ANY" in currencies:
        return kind_targets(kind)
    numbers = [gateway.engine.currency_index(currency) for currency in currencies]
    return [{"currency": number, **target} for number in numbers if number >= 0 for target in kind_targets(kind)]


@method("private/cancel_all", params=CancelAll, scope=TRADE, kind="matching", reducing=True)
def cancel_all(gateway, session, principal, params: CancelAll) -> Any:
    """Cancel every open order of the account."""
    return _cancel_many(gateway, session, principal, params, [{}])


@method(
    "private/cancel_all_by_currency",
    "private/cancel_all_by_kind_or_type",
    params=CancelAll,
    scope=TRADE,
    kind="matching",
    reducing=True,
)
def cancel_all_by_currency(gateway, session, principal, params: CancelAll) -> Any:
    """Cancel the open orders of a currency (or several), kind and type."""
    if params.currency is None:
        raise invalid_param("currency", "value required")
    targets = currency_targets(gateway, params.currency, check_kind(params.kind))
    return _cancel_many(gateway, session, principal, params, _typed(targets, params.type))


@method("private/cancel_all_by_currency_pair", params=CancelAll, scope=TRADE, kind="matching", reducing=True)
def cancel_all_by_currency_pair(gateway, session, principal, params: CancelAll) -> Any:
    """Cancel the open orders of all instruments on an index such as `btc_usd`."""
    if params.currency_pair is None:
        raise invalid_param("currency_pair", "value required")
    underlying, kind = gateway.listings.index_by_name(params.currency_pair), check_kind(params.kind)
    slots = {
        record.listing.slot
        for record in gateway.projection.live_orders(principal.account_id)
        if record.listing.underlying == underlying and record.listing.is_of(kind)
    }
    targets = _typed([{"instrument": slot} for slot in sorted(slots)], params.type)
    return _cancel_many(gateway, session, principal, params, targets)


@method("private/cancel_all_by_instrument", params=CancelAll, scope=TRADE, kind="matching", reducing=True)
def cancel_all_by_instrument(gateway, session, principal, params: CancelAll) -> Any:
    """Cancel the open orders of one instrument; with `include_combos` those of combos that have it as a leg too."""
    if params.instrument_name is None:
        raise invalid_param("instrument_name", "value required")
    slots = [gateway.listing(params.instrument_name).slot]
    if params.include_combos:
        slots += [combo.slot for combo in gateway.listings.combos_of(params.instrument_name)]
    return _cancel_many(
        gateway, session, principal, params, _typed([{"instrument": slot} for slot in slots], params.type)
    )


@method("private/cancel_by_label", params=CancelAll, scope=TRADE, kind="matching", reducing=True)
def cancel_by_label(gateway, session, principal, params: CancelAll) -> Any:
    """Cancel the open orders that carry a label, in a currency (or several) where given."""
    if not params.label:
        raise invalid_param("label", "value required")
    targets = currency_targets(gateway, params.currency, "any")
    return _cancel_many(gateway, session, principal, params, targets, label_bytes(params.label))
