"""Combos: creating them, what there is of them, and what their legs would be booked at."""

from typing import Any

from exchange import commands, config
from exchange.commands import CommandKind
from exchange.reasons import Reason
from gateway.combos import CannotCombine, Shape, definition, leg_prices, shape
from gateway.errors import ApiError, engine_refusal, invalid_param
from gateway.listing import Listing
from gateway.methods.filters import currency_name
from gateway.methods.order_terms import Quantity, quantity_lots
from gateway.protocol import Params
from gateway.registry import method
from gateway.units import E8, NotExact, ms, to_e8

TRADE, READ = "trade:read_write", "trade:read"
STATES = ("active", "inactive")


class TradeLeg(Quantity, kw_only=True):
    instrument_name: str
    direction: str


class Create(Params, kw_only=True):
    trades: list[TradeLeg]


class Prices(Params, kw_only=True):
    legs: list[TradeLeg]
    price: float


def _combined(gateway, legs: list[TradeLeg], param: str) -> tuple[Shape, int]:
    """The combo that legs of a request are, and how many lots of it."""
    wanted = []
    for leg in legs:
        if leg.direction not in ("buy", "sell"):
            raise invalid_param("direction", "invalid value")
        listing = gateway.listing(leg.instrument_name)
        lots = quantity_lots(listing, leg)
        if lots is None:
            raise invalid_param("amount", "value required")
        wanted.append((listing, lots if leg.direction == "buy" else -lots))
    try:
        return shape(wanted)
    except CannotCombine as error:
        raise invalid_param(param, str(error)) from None


def combo(listing: Listing, active: bool = True) -> dict[str, Any]:
    """A combo as the wire has it; it changes its state once, at its end."""
    return {
        "id": listing.name,
        "instrument_id": listing.view.instrument_id,
        "state": STATES[not active],
        "state_timestamp": ms(listing.view.created_ns),
        "creation_timestamp": ms(listing.view.created_ns),
        "legs": [{"instrument_name": name, "amount": ratio} for name, ratio in listing.view.legs],
    }


@method("private/create_combo", params=Create, scope=TRADE, kind="matching")
def create_combo(gateway, session, principal, params: Create) -> dict[str, Any]:
    """The combo of these legs, listed where it is new; `direction` (our own): the side of it that they are."""
    found, _ = _combined(gateway, params.trades, "trades")
    if found.name not in gateway.listings.by_name:
        payload = config.ListInstruments((definition(found),))
        news = gateway.submit(commands.cold(CommandKind.LIST_INSTRUMENTS, payload), session)
        if news.rejected:
            raise engine_refusal(news.rejected)
    return combo(gateway.listing(found.name)) | {"direction": "buy" if found.sign > 0 else "sell"}


class ByCurrency(Params, kw_only=True):
    currency: str | None = None
    state: str | None = None


def _combos(gateway, params: ByCurrency) -> list[Listing]:
    if params.state not in (None, *STATES):
        raise invalid_param("state", "invalid value")
    currency = currency_name(params.currency)
    found = gateway.listings.combos_of("") if params.state != "inactive" else []
    return [one for one in found if currency in ("ANY", one.currency)]


@method("public/get_combos", params=ByCurrency)
def get_combos(gateway, session, principal, params: ByCurrency) -> list[dict[str, Any]]:
    """Active combos of a currency."""
    return [combo(listing) for listing in _combos(gateway, params)]


@method("public/get_combo_ids", params=ByCurrency)
def get_combo_ids(gateway, session, principal, params: ByCurrency) -> list[str]:
    """Their names; those that have ended are not kept in lists."""
    return [listing.name for listing in _combos(gateway, params)]


class ComboId(Params, kw_only=True):
    combo_id: str


@method("public/get_combo_details", params=ComboId)
def get_combo_details(gateway, session, principal, params: ComboId) -> dict[str, Any]:
    """One combo, also after its end."""
    listing = gateway.archive.listing(params.combo_id)
    if not listing.is_combo:
        raise invalid_param("combo_id", "no combo")
    return combo(listing, gateway.listings.by_name.get(listing.name) is listing)


@method("private/get_leg_prices", params=Prices, scope=READ)
def get_leg_prices(gateway, session, principal, params: Prices) -> dict[str, Any]:
    """What each leg would be booked at, were the combo of these legs traded at a price."""
    found, lots = _combined(gateway, params.legs, "legs")
    first = found.legs[0].listing
    marks = []
    for listing, ratio in found.legs:
        market, view = gateway.engine.market(listing.slot), listing.view
        if market.mark_price_e8 == 0:
            raise engine_refusal(Reason.NO_MARK)
        mark = (market.mark_price_e8 + view.price_unit_e8 // 2) // view.price_unit_e8
        marks.append((ratio * found.sign, min(max(mark, 1), view.max_price_units), view.max_price_units))
    try:
        units, rest = divmod(to_e8(params.price), first.unit_e8)
    except NotExact:
        units, rest = 0, 1
    if rest:
        raise ApiError(10043, {"reason": "price_off_tick"})
    prices = leg_prices(marks, units)
    if prices is None:
        raise engine_refusal(Reason.BAND_PASSED)
    return {
        "amount": first.amount(lots),
        "price": params.price,
        "legs": [
            {
                "instrument_name": leg.listing.name,
                "direction": "buy" if ratio > 0 else "sell",
                "ratio": abs(ratio),
                "price": price * leg.listing.unit_e8 / E8,
            }
            for leg, (ratio, _, _), price in zip(found.legs, marks, prices, strict=True)
        ],
    }
