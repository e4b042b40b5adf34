"""Orders and trades as wire objects, field for field as Deribit's API v2 has them."""

from typing import Any

from exchange.commands import Advanced, OrderFlag, OrderType, Side, TimeInForce, TriggerSource
from exchange.reasons import Reason
from gateway.errors import CANCEL_REASONS
from gateway.history import OrderRecord, TradeRecord
from gateway.render_market import iv_percent
from gateway.units import E8, money, ms
from gateway.waiting import WAITING_TYPES, WaitingOrder

TIME_IN_FORCE = {member: member.name.lower() for member in TimeInForce}
ORDER_TYPES = {member: member.name.lower() for member in OrderType}
TRIGGERS = {member: member.name.lower() for member in TriggerSource}
WITHOUT_PRICE = frozenset({OrderType.MARKET, OrderType.STOP_MARKET, OrderType.TAKE_MARKET, OrderType.TRAILING_STOP})


def direction(side: int) -> str:
    """The wire's word for a side."""
    return "buy" if side == Side.BUY else "sell"


def average_price(record: OrderRecord) -> float:
    """Mean price of an order's fills, 0.0 before the first."""
    listing, filled = record.listing, record.filled_lots
    if not filled:
        return 0.0
    return (record.filled_value - filled * listing.zero_units) * listing.unit_e8 / (filled * E8)


def order(record: OrderRecord) -> dict[str, Any]:
    """An order object; `cancel_detail` is our own member, the engine's reason."""
    listing, flags = record.listing, record.flags
    filled = record.filled_lots
    found: dict[str, Any] = {
        "order_id": record.wire_id,
        "instrument_name": listing.name,
        "direction": direction(record.side),
        "order_type": ORDER_TYPES[record.order_type],
        "order_state": record.state,
        "price": "market_price" if record.order_type in WITHOUT_PRICE else listing.price(record.price_units),
        "amount": listing.amount(record.quantity_lots),
        "contracts": listing.contracts(record.quantity_lots),
        "filled_amount": listing.amount(filled),
        "average_price": average_price(record),
        "time_in_force": TIME_IN_FORCE[record.time_in_force],
        "label": record.label,
        "post_only": bool(flags & OrderFlag.POST_ONLY),
        "reject_post_only": bool(flags & OrderFlag.REJECT_POST_ONLY),
        "reduce_only": bool(flags & OrderFlag.REDUCE_ONLY),
        "creation_timestamp": ms(record.created_ns),
        "last_update_timestamp": ms(record.updated_ns),
        "api": True,
        "web": False,
        "mmp": bool(flags & OrderFlag.PROTECTED),
        "replaced": record.replaced,
        "is_liquidation": record.is_liquidation,
        "risk_reducing": bool(flags & OrderFlag.RISK_REDUCING),
        "user_id": record.account_id,
    }
    if not isinstance(record, WaitingOrder) and record.advanced:
        found |= advanced_fields(record)
    if record.display_lots:
        found["display_amount"] = listing.amount(record.shown_lots if record.state == "open" else 0)
        found["refresh_amount"] = listing.amount(record.display_lots)
    if record.link is not None:
        found |= record.link.wire(record)
    if record.mmp_group:
        found["mmp_group"] = record.mmp_group
    if flags & OrderFlag.QUOTE:
        found |= quote_fields(record.label)
    if isinstance(record, WaitingOrder):
        found |= _trigger(record)
    elif record.trigger_id:
        found["triggered"] = True
    if record.trigger_id:
        found["trigger_order_id"] = record.trigger_id
    if record.state in ("cancelled", "rejected"):
        reason = Reason(record.cancel_reason)
        found["cancel_detail"] = reason.name.lower()
        if reason in CANCEL_REASONS:
            found["cancel_reason"] = CANCEL_REASONS[reason]
        if reason == Reason.PROTECTION_TRIGGERED:
            found["mmp_cancelled"] = True
    return found


def advanced_fields(record: OrderRecord) -> dict[str, Any]:
    """How an advanced order is priced: `usd` in USD, `implv` in percent."""
    if record.advanced == Advanced.USD:
        return {"advanced": "usd", "usd": record.advanced_value_e8 / E8}
    return {"advanced": "implv", "implv": record.advanced_value_e8 * 100 / E8}


def quote_fields(label: str) -> dict[str, Any]:
    """What tells a quote; its label is quote id, a zero byte and quote set."""
    quote_id, _, quote_set = label.partition("\0")
    found: dict[str, Any] = {"label": "", "quote": True, "quote_id": quote_id}
    if quote_set:
        found["quote_set_id"] = quote_set
    return found


def _trigger(record: WaitingOrder) -> dict[str, Any]:
    """What a waiting order watches and waits for, in the currency of what it watches."""
    found: dict[str, Any] = {"triggered": record.state in ("triggered", "rejected")}
    if record.order_type not in WAITING_TYPES:
        return found
    found |= {"trigger": TRIGGERS[TriggerSource(record.watches)], "trigger_price": record.trigger_price_e8 / E8}
    if record.order_type == OrderType.TRAILING_STOP:
        found["trigger_offset"] = record.trigger_offset_e8 / E8
    return found


def trigger_entry(record: WaitingOrder) -> dict[str, Any]:
    """An entry of the history of triggers: the order, and the id of what it became where it fired."""
    found = order(record)
    found["timestamp"] = found["last_update_timestamp"]
    found["trigger_order_id"] = found["order_id"]
    found["order_id"] = str(record.became_id) if record.became_id else None
    return found


def block_name(block_id: int) -> str:
    """The wire's id of a block trade."""
    return f"BLOCK-{block_id}"


def trade(record: TradeRecord) -> dict[str, Any]:
    """A public trade."""
    event, listing = record.event, record.listing
    price = listing.price(event.price_units)
    found: dict[str, Any] = {
        "trade_id": str(event.trade_id),
        "trade_seq": event.trade_seq,
        "instrument_name": listing.name,
        "timestamp": ms(event.time_ns),
        "direction": direction(event.side),
        "tick_direction": event.tick_direction,
        "price": price,
        "amount": listing.amount(event.quantity_lots),
        "contracts": listing.contracts(event.quantity_lots),
        "index_price": event.index_price_e8 / E8,
        "mark_price": event.mark_price_e8 / E8,
    }
    if record.block_id:
        found["block_trade_id"] = block_name(record.block_id)
    if record.combo is not None:
        found |= {"combo_id": record.combo.listing.name, "combo_trade_id": str(record.combo.event.trade_id)}
    if listing.is_option:
        index = event.index_price_e8 / E8
        found["iv"] = iv_percent(listing, price, index, event.time_ns)
    return found


def user_trade(record: TradeRecord, as_maker: bool) -> dict[str, Any]:
    """A trade as one of its two parties sees it."""
    event, listing = record.event, record.listing
    own = record.maker if as_maker else record.taker
    flags = event.maker_flags if as_maker else event.taker_flags
    realised = event.maker_realised_minor if as_maker else event.taker_realised_minor
    fee = event.maker_fee_minor if as_maker else event.taker_fee_minor
    found = trade(record)
    found.update(
        {
            "direction": direction(1 - event.side if as_maker else event.side),
            "order_id": str(event.maker_order_id if as_maker else event.taker_order_id),
            "order_type": ORDER_TYPES[own.order_type] if own else "limit",
            "state": record.maker_state if as_maker else record.taker_state,
            "fee": money(fee, listing.exponent),
            "fee_currency": listing.currency,
            "liquidity": "M" if as_maker else "T",
            "matching_id": None,
            "self_trade": False,
            "reduce_only": bool(flags & OrderFlag.REDUCE_ONLY),
            "post_only": bool(flags & OrderFlag.POST_ONLY),
            "risk_reducing": bool(flags & OrderFlag.RISK_REDUCING),
            "mmp": isinstance(own, OrderRecord) and bool(own.flags & OrderFlag.PROTECTED),
            "api": True,
            "label": own.label if own else "",
            "profit_loss": money(realised, listing.exponent),
            "underlying_price": event.index_price_e8 / E8,
            "user_id": event.maker_account_id if as_maker else event.account_id,
        }
    )
    if isinstance(own, OrderRecord) and own.advanced:
        found["advanced"] = advanced_fields(own)["advanced"]
    if own and "\0" in own.label:
        quote = quote_fields(own.label)
        del quote["quote"]
        found |= quote | {"mmp": True}
    if record.legs:
        found["legs"] = [user_trade(leg, as_maker) for leg in record.legs]
    return found
