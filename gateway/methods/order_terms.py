"""The terms of an order in a request: amounts, prices, types, times in force, flags and triggers."""

import math
from operator import attrgetter
from typing import Any

from exchange import commands
from exchange.commands import LABEL_MAX_BYTES, Advanced, OrderFlag, OrderType, TimeInForce, TriggerSource
from gateway.errors import ApiError, invalid_param
from gateway.listing import Listing
from gateway.protocol import Params
from gateway.units import NotExact, to_e8, whole_units
from gateway.waiting import WAITING_TYPES

MAX_UNITS = (1 << 62) - 1
MAX_TRIGGER = 1e10
ADVANCED_END_NS = 15 * 60 * 1_000_000_000
"""Advanced orders end this long before expiry."""
TIMES_IN_FORCE = {member.name.lower(): member for member in TimeInForce}
ORDER_TYPES = {member.name.lower(): member for member in OrderType}
ADVANCED = {"usd": Advanced.USD, "implv": Advanced.IMPLIED_VOL}
TRIGGERS = {member.name.lower(): member for member in TriggerSource if member != TriggerSource.PRIMARY_ORDER}
PRICED = frozenset({OrderType.LIMIT, OrderType.STOP_LIMIT, OrderType.TAKE_LIMIT})
"""Types that come with a price."""


class Quantity(Params, kw_only=True):
    amount: float | None = None
    contracts: float | None = None


class Otoco(Quantity, kw_only=True):
    """An order that is linked to another."""

    direction: str | None = None
    type: str | None = None
    price: float | None = None
    label: str | None = None
    time_in_force: str | None = None
    post_only: bool | None = None
    reject_post_only: bool | None = None
    reduce_only: bool | None = None
    trigger: str | None = None
    trigger_price: float | None = None
    trigger_offset: float | None = None
    unique_label: bool | None = None
    advanced: str | None = None


class Order(Quantity, kw_only=True):
    instrument_name: str
    type: str | None = None
    price: float | None = None
    label: str | None = None
    time_in_force: str | None = None
    post_only: bool | None = None
    reject_post_only: bool | None = None
    reduce_only: bool | None = None
    valid_until: int | None = None
    mmp: bool | None = None
    advanced: str | None = None
    display_amount: float | None = None
    trigger: str | None = None
    trigger_price: float | None = None
    trigger_offset: float | None = None
    linked_order_type: str | None = None
    trigger_fill_condition: str | None = None
    otoco_config: list[Otoco] | None = None
    unique_label: bool | None = None


_TERMS = ("trigger", "trigger_price", "trigger_offset")
_terms = attrgetter(*_TERMS)


def quantity_lots(listing: Listing, params: Quantity) -> int | None:
    """Lots of `amount` or `contracts` (which must agree), None where neither is given."""
    found = None
    for name, unit_e8 in (("amount", 100_000_000), ("contracts", listing.contract_e8)):
        value = getattr(params, name)
        if value is None:
            continue
        if not math.isfinite(value) or value <= 0:
            raise invalid_param(name, "must be a positive number")
        try:
            lots, rest = divmod(to_e8(value) * unit_e8, 100_000_000 * listing.lot_e8)
        except NotExact:
            lots, rest = 0, 1
        if rest:
            raise invalid_param(name, "must be a multiple of contract size")
        if lots > MAX_UNITS:
            raise ApiError(10021, {"reason": "quantity_too_large"})
        if found is not None and lots != found:
            raise invalid_param("contracts", "amount and contracts do not agree")
        found = lots
    return found


def price_units(listing: Listing, price: float) -> int:
    """Price units of a price; 10043 off the tick, -32602 for what is no price."""
    if not math.isfinite(price):
        raise invalid_param("price", "wrong format")
    try:
        units = whole_units(price, listing.unit_e8) + listing.zero_units
    except NotExact:
        raise ApiError(10043, {"reason": "price_off_tick"}) from None
    if not -MAX_UNITS <= units <= MAX_UNITS:
        raise ApiError(10007 if units > 0 else 10005, {"reason": "price_out_of_range"})
    return units


def order_flags(params: Any) -> int:
    """Flag bits of the parameters that are set."""
    flags = 0
    if params.post_only:
        flags |= OrderFlag.POST_ONLY
        if params.reject_post_only:
            flags |= OrderFlag.REJECT_POST_ONLY
    if params.reduce_only:
        flags |= OrderFlag.REDUCE_ONLY
    if params.unique_label:
        flags |= OrderFlag.UNIQUE_LABEL
    return int(flags)


def label_bytes(text: str | None) -> bytes:
    """The label as it is journaled; -32602 where it is too long."""
    label = (text or "").encode()
    if len(label) > LABEL_MAX_BYTES:
        raise invalid_param("label", f"must be at most {LABEL_MAX_BYTES} bytes long")
    return label


def order_type(params: Order | Otoco) -> OrderType:
    """The type, `limit` where absent."""
    found = ORDER_TYPES.get(params.type or "limit")
    if found is None:
        raise invalid_param("type", "invalid value")
    return found


def time_in_force(params: Order | Otoco, of_type: OrderType) -> int:
    """The time in force; market orders end at once whatever they say."""
    chosen = TIMES_IN_FORCE.get(params.time_in_force or "good_til_cancelled")
    if chosen is None:
        raise invalid_param("time_in_force", "invalid value")
    if of_type == OrderType.MARKET and chosen == TimeInForce.GOOD_TIL_CANCELLED:
        chosen = TimeInForce.IMMEDIATE_OR_CANCEL
    return int(chosen)


def stamp_ns(stamp_ms: int | None) -> int:
    """`valid_until` in nanoseconds, 0 where absent."""
    stamp_ms = stamp_ms or 0
    if not 0 <= stamp_ms < 1 << 43:
        raise invalid_param("valid_until", "must be a timestamp in milliseconds")
    return stamp_ms * 1_000_000


def trigger_e8(price: float, param: str) -> int:
    """A trigger's price or offset in 1e-8 of the currency of what it watches.

    The index is in USD, mark and last price in the instrument's own quote currency. 11036 for what cannot be a price,
    10044 where it is finer than eight decimals.
    """
    if not 0 < price <= MAX_TRIGGER:
        raise ApiError(11036, {"reason": "must be a positive number in range", "param": param})
    try:
        return to_e8(price)
    except NotExact:
        raise ApiError(10044, {"reason": "must have at most 8 decimals", "param": param}) from None


def display_lots(listing: Listing, amount: float | None) -> int:
    """Lots of an iceberg's tranche, 0 where none is asked for."""
    if amount is None:
        return 0
    lots = quantity_lots(listing, Quantity(amount=amount))
    return lots or 0


def terms_tail(params: Order, of_type: OrderType, listing: Listing, group: int) -> bytes:
    """The slot of special terms of an order, nothing where it has none; `group` is that of orders with `mmp`."""
    price_e8, offset_e8, source = trigger_terms(params, of_type)
    terms: dict[str, int] = {}
    if of_type in WAITING_TYPES:
        terms = {"trigger_price_e8": price_e8, "trigger_offset_e8": offset_e8, "trigger_source": source}
    if params.advanced is not None:
        if of_type != OrderType.LIMIT or params.time_in_force in ("immediate_or_cancel", "fill_or_kill"):
            raise ApiError(11047, {"reason": "for limit orders that rest only", "param": "advanced"})
        terms = advanced_terms(params.advanced, params.price)
    for name in ("mmp", "display_amount"):
        if getattr(params, name) and of_type != OrderType.LIMIT:
            raise ApiError(11047, {"reason": "for limit orders only", "param": name})
    if params.mmp:
        if group == 0:
            raise ApiError(13040, {"reason": "unknown_group", "param": "mmp"})
        terms["protection_group"] = group
    if params.display_amount is not None:
        terms["display_lots"] = display_lots(listing, params.display_amount)
    return commands.order_terms(**terms) if terms else b""


def check_advanced(listing: Listing, kind: str, post_only: bool, now_ns: int) -> None:
    """Whether an instrument's orders may be priced so: 11038 no option, 11039 post-only, 11037 too near its expiry."""
    if kind not in ADVANCED:
        raise invalid_param("advanced", "invalid value")
    if not listing.is_option:
        raise ApiError(11038)
    if post_only:
        raise ApiError(11039)
    if kind == "usd" and not listing.view.inverse:
        raise ApiError(11047, {"reason": "priced in USD already", "param": "advanced"})
    if now_ns >= listing.view.expiry_ns - ADVANCED_END_NS:
        raise ApiError(11037)


def advanced_terms(kind: str, price: float | None) -> dict[str, int]:
    """Special terms of a price in USD or in percent of implied vol; -32602 for what is none."""
    if price is None or not 0 < price <= MAX_TRIGGER:
        raise invalid_param("price", "must be a positive number in range")
    try:
        value_e8, rest = divmod(to_e8(price), 1 if kind == "usd" else 100)
    except NotExact:
        rest = 1
    if rest:
        raise ApiError(10043, {"reason": "too many decimals", "param": "price"})
    return {"advanced": int(ADVANCED[kind]), "advanced_value_e8": value_e8}


def value_tail(kind: str, price: float | None, kept_e8: int) -> bytes:
    """The slot of terms that gives an advanced order a new value, or repeats the one it has."""
    if price is None:
        return commands.order_terms(advanced=int(ADVANCED[kind]), advanced_value_e8=kept_e8)
    return commands.order_terms(**advanced_terms(kind, price))


def trigger_terms(params: Order | Otoco, of_type: OrderType) -> tuple[int, int, int]:
    """(trigger price, offset, source) of a triggered order, zeros of another; 11047 for what the type does not have."""
    given = [name for name, value in zip(_TERMS, _terms(params), strict=True) if value is not None]
    if of_type not in WAITING_TYPES:
        if given:
            raise ApiError(11047, {"reason": "for triggered orders only", "param": given[0]})
        return 0, 0, 0
    trailing = of_type == OrderType.TRAILING_STOP
    wanted, other = ("trigger_offset", "trigger_price") if trailing else ("trigger_price", "trigger_offset")
    for name in ("trigger", wanted):
        if name not in given:
            raise invalid_param(name, "value required")
    if other in given:
        raise ApiError(11047, {"reason": "not of this order type", "param": other})
    if params.trigger not in TRIGGERS:
        raise invalid_param("trigger", "invalid value")
    if params.unique_label:
        raise ApiError(11047, {"reason": "not of triggered orders", "param": "unique_label"})
    if params.post_only and of_type not in PRICED:
        raise ApiError(11055, {"reason": "post_only_not_allowed"})
    value_e8 = trigger_e8(getattr(params, wanted), wanted)
    return (0, value_e8, int(TRIGGERS[params.trigger])) if trailing else (value_e8, 0, int(TRIGGERS[params.trigger]))
