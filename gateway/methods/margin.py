"""What-if: margins of an order, of supposed positions, under another model; the table behind a requirement."""

from typing import Any

import msgspec

from exchange import commands
from exchange.commands import CommandKind
from exchange.config import MARGIN_MODELS, ChangeMarginModel
from gateway.errors import ApiError, engine_refusal, invalid_param
from gateway.methods.filters import currency_name, parse_order_id
from gateway.methods.order_terms import price_units
from gateway.protocol import Params
from gateway.registry import method
from gateway.render_margin import margin_table
from gateway.units import E8, NotExact, money, to_e8

READ = "account:read"
MAX_SIMULATED = 500
MAX_ORDERS = 100


class Margins(Params, kw_only=True):
    instrument_name: str
    amount: float
    price: float
    scenario_table: bool | None = None


def _lots(listing: Any, amount: float, param: str) -> int:
    """Signed lots of an amount; -32602 where it is no whole number of lots."""
    try:
        lots, rest = divmod(to_e8(amount), listing.lot_e8)
    except NotExact:
        rest = 1
    if rest:
        raise invalid_param(param, "must be a multiple of the contract size")
    return lots


@method("private/get_margins", params=Margins, scope="trade:read")
def get_margins(gateway, session, principal, params: Margins) -> dict[str, Any]:
    """Initial margin that a buy or a sell order would add, and its fees, in the settlement currency; with
    `scenario_table` everything that the account's requirement would be made of with either order open."""
    listing = gateway.listing(params.instrument_name)
    lots, units = _lots(listing, params.amount, "amount"), price_units(listing, params.price)
    market = gateway.engine.market(listing.slot)
    if lots <= 0:
        raise invalid_param("amount", "must be positive")
    if not market.mark_price_e8:
        raise ApiError(10012, {"reason": "no_mark"})
    what_if = gateway.engine.what_if
    try:
        owner = gateway.engine.bucket_of(principal.account_id, listing.slot) or principal.account_id
        sides = [what_if.order_margin(owner, listing.slot, side, units, lots) for side in (0, 1)]
        fees = [money(fee, listing.exponent) for fee in what_if.fees(listing.slot, units, lots)]
    except OverflowError:
        sides, fees = [-1], []
    if min(sides) < 0:
        raise ApiError(10021, {"reason": "beyond_limits", "param": "amount"})
    unit = listing.unit_e8 / E8
    tables = {}
    if params.scenario_table:
        tables = {
            f"{name}_table": what_if.order_table(owner, listing.slot, side, units, lots)
            for side, name in enumerate(("buy", "sell"))
        }
    return tables | {
        "buy": money(sides[0], listing.exponent),
        "sell": money(sides[1], listing.exponent),
        "buy_maker_fee": fees[0],
        "sell_maker_fee": fees[0],
        "buy_taker_fee": fees[1],
        "sell_taker_fee": fees[1],
        "min_price": market.min_price_units * unit,
        "max_price": market.max_price_units * unit,
    }


class OrderIds(Params, kw_only=True):
    ids: list[str] | str


@method("private/get_order_margin_by_ids", params=OrderIds, scope="trade:read")
def get_order_margin_by_ids(gateway, session, principal, params: OrderIds) -> list[dict[str, Any]]:
    """What open orders of the account would cost if each were placed now beside all that is open."""
    ids = params.ids
    if isinstance(ids, str):  # a query's list is JSON text
        try:
            ids = msgspec.json.decode(ids, type=list[str])
        except msgspec.MsgspecError:
            raise invalid_param("ids", "wrong format") from None
    if len(ids) > MAX_ORDERS:
        raise invalid_param("ids", f"at most {MAX_ORDERS}")
    found = []
    for wire_id in ids:
        order = gateway.engine.order(parse_order_id(wire_id))
        if order is None or gateway.engine.holder(order.account_id) != principal.account_id:
            raise ApiError(10004)
        listing = gateway.listings.by_slot[order.instrument]
        margin = gateway.engine.what_if.order_margin(
            order.account_id, order.instrument, order.side, order.price_units, order.remaining_lots
        )
        found.append(
            {
                "order_id": wire_id,
                "initial_margin": money(max(0, margin), listing.exponent),
                "initial_margin_currency": listing.currency,
            }
        )
    return found


class Simulation(Params, kw_only=True):
    currency: str
    simulated_positions: dict[str, float] | str | None = None
    add_positions: bool | None = None
    scenario_table: bool | None = None


def _simulated(gateway, params: Simulation) -> dict[int, int]:
    """{slot: lots} of the positions to suppose."""
    wanted = params.simulated_positions or {}
    if isinstance(wanted, str):
        try:
            wanted = msgspec.json.decode(wanted, type=dict[str, float])
        except msgspec.MsgspecError:
            raise invalid_param("simulated_positions", "wrong format") from None
    if len(wanted) > MAX_SIMULATED:
        raise invalid_param("simulated_positions", f"at most {MAX_SIMULATED}")
    found = {}
    for name, amount in wanted.items():
        listing = gateway.listing(name)
        found[listing.slot] = _lots(listing, amount, "simulated_positions")
    return found


def _suppose(gateway, principal, params: Simulation, question) -> Any:
    """`question(what_if)` with the simulated positions."""
    add, what_if = params.add_positions is not False, gateway.engine.what_if
    try:
        return what_if.with_positions(principal.account_id, _simulated(gateway, params), add, lambda: question(what_if))
    except OverflowError:
        raise ApiError(10021, {"reason": "beyond_limits", "param": "simulated_positions"}) from None
    except ValueError:
        raise ApiError(10012, {"reason": "no_mark"}) from None


@method("private/simulate_portfolio", params=Simulation, scope=READ)
def simulate_portfolio(gateway, session, principal, params: Simulation) -> dict[str, Any]:
    """The account summary of a currency with supposed positions, beside (default) or instead of the account's own;
    with `scenario_table` also what `private/get_margin_table` says of them."""
    currency, account_id = currency_name(params.currency), principal.account_id

    def asked(what_if) -> tuple[list[dict[str, Any]], dict[str, Any]]:
        table = margin_table(gateway.engine, what_if, account_id) if params.scenario_table else {}
        return gateway.summaries(account_id, what_if), table

    summaries, table = _suppose(gateway, principal, params, asked)
    for summary in summaries:
        if summary["currency"] == currency:
            return summary | ({"margin_table": table} if table else {})
    raise invalid_param("currency", "invalid currency")


@method("private/pme/simulate", "private/get_margin_table", params=Simulation, scope=READ)
def simulate(gateway, session, principal, params: Simulation) -> dict[str, Any]:
    """Everything a requirement is made of: scenarios, charges, parameter sets with version and hash; Greeks.

    Integers are in the units that the table names; `currency` "any" or that of a book."""
    currency = currency_name(params.currency)
    table = _suppose(
        gateway, principal, params, lambda what_if: margin_table(gateway.engine, what_if, principal.account_id)
    )
    known = {view.currency for view in gateway.engine.account(principal.account_id).currencies}
    if currency not in ("ANY", *known):
        raise invalid_param("currency", "invalid currency")
    if currency != "ANY" and "books" in table:
        table["books"] = [book for book in table["books"] if book["currency"] == currency]
    return table


class ModelChange(Params, kw_only=True):
    margin_model: str
    user_id: int | None = None
    dry_run: bool | None = None


def _state(view: Any, exponent: int) -> dict[str, float]:
    """Rates of equity that the requirements take, and what is available."""
    equity = view.equity_minor
    return {
        "initial_margin_rate": view.initial_margin_minor / equity if equity > 0 else 0.0,
        "maintenance_margin_rate": view.maintenance_margin_minor / equity if equity > 0 else 0.0,
        "available_balance": money(view.available_minor, exponent),
    }


@method("private/change_margin_model", params=ModelChange, scope="account:read_write")
def change_margin_model(gateway, session, principal, params: ModelChange) -> list[dict[str, Any]]:
    """Change the account's margin model, or only show what it would change (`dry_run`)."""
    if params.user_id not in (None, principal.account_id):
        raise ApiError(13021, {"reason": "not the account of this key", "param": "user_id"})
    if params.margin_model not in MARGIN_MODELS:
        raise invalid_param("margin_model", "invalid value")
    before = gateway.engine.account(principal.account_id)
    after = gateway.engine.what_if.under_model(principal.account_id, params.margin_model)
    if not params.dry_run:
        payload = ChangeMarginModel(params.margin_model)
        news = gateway.submit(commands.cold(CommandKind.CHANGE_MARGIN_MODEL, payload, principal.account_id), session)
        if news.rejected:
            raise engine_refusal(news.rejected)
    exponents = gateway.listings.exponents
    return [
        {
            "currency": old.currency,
            "old_state": _state(old, exponents[old.currency]),
            "new_state": _state(new, exponents[new.currency]),
        }
        for old, new in zip(before.currencies, after.currencies, strict=True)
    ]
