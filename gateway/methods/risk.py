"""What an account does about its risk: how far it is from liquidation, and out of everything in one call. Our own."""

from typing import Any

from exchange.commands import OrderFlag, OrderType, Side, TimeInForce
from exchange.reasons import Reason
from gateway import records, render_orders
from gateway.methods.cancelling import cancel_where
from gateway.methods.trading import TRADE
from gateway.registry import method

PASSES = 8
"""Rounds of closing: a leg that may not go first because it hedges others goes when they are gone."""


@method("private/get_liquidation_map", scope="account:read")
def get_liquidation_map(gateway, session, principal, params) -> list[dict[str, Any]]:
    """Per margin entity: health, distance to liquidation per underlying in price and in vol, equity over a ladder of
    moves, and the cheapest trades that reduce the risk. Isolated positions come last, with their instrument."""
    found: list[dict[str, Any]] = gateway.outlook.figures(principal.account_id)
    for view in gateway.engine.buckets(principal.account_id):
        named = {"instrument_name": gateway.listings.by_slot[view.instrument].name, "margin_mode": "isolated"}
        found += [one | named for one in gateway.outlook.figures(view.bucket_account_id)]
    return found


def _held(gateway, account_id: int) -> dict[int, int]:
    """{slot: lots} of the account and of its isolated positions."""
    engine = gateway.engine
    accounts = [account_id, *(view.bucket_account_id for view in engine.buckets(account_id))]
    return {
        view.instrument: view.quantity_lots
        for account in accounts
        for view in engine.positions(account)
        if view.quantity_lots
    }


def _in_order(gateway, account_id: int, held: dict[int, int]) -> list[int]:
    """Slots of positions, those first whose closing releases most of the requirement."""
    desk = gateway.engine.desk

    def released(slot: int) -> int:
        entity = 0 if desk.is_cross(account_id) else desk.currency_of(slot)
        now = desk.margins(account_id, entity)[2]
        return int(now - desk.margins_with(account_id, entity, [(slot, -held[slot])], {})[2])

    return sorted(held, key=lambda slot: (-released(slot), slot))


def _close(gateway, session, principal, slot: int, lots: int) -> tuple[int, list[Any]]:
    """A reduce-only market order over a position; (refusal, own trades)."""
    news = gateway.submit(
        records.place_order(
            account_id=principal.account_id,
            instrument=slot,
            side=int(Side.SELL if lots > 0 else Side.BUY),
            order_type=int(OrderType.MARKET),
            time_in_force=int(TimeInForce.IMMEDIATE_OR_CANCEL),
            flags=int(OrderFlag.REDUCE_ONLY),
            quantity_lots=abs(lots),
            key_id=principal.key_id,
        ),
        session,
    )
    if news.rejected:
        return news.rejected, []
    record = news.accepted
    return 0, [one for one in news.trades if record is not None and one.event.taker_order_id == record.order_id]


@method("private/flatten_portfolio", scope=TRADE, kind="matching", reducing=True)
def flatten_portfolio(gateway, session, principal, params) -> dict[str, Any]:
    """Cancel all orders, then close every position with reduce-only market orders, as far as books and bands allow.

    Legs that release most of the requirement go first; what is refused or left open is tried again while others close.
    """
    cancelled = cancel_where(gateway, session, principal, {}).count
    asked = _held(gateway, principal.account_id)
    trades: dict[int, list[Any]] = {slot: [] for slot in asked}
    refusals: dict[int, int] = {}
    for _ in range(PASSES):
        held, moved = _held(gateway, principal.account_id), False
        for slot in _in_order(gateway, principal.account_id, held):
            refusals[slot], found = _close(gateway, session, principal, slot, held[slot])
            trades.setdefault(slot, []).extend(found)
            moved = moved or bool(found)
        if not moved:
            break
    left = _held(gateway, principal.account_id)
    positions = []
    for slot, lots in sorted(asked.items()):
        listing, rest = gateway.listings.by_slot[slot], left.get(slot, 0)
        reason = refusals.get(slot, 0)
        positions.append(
            {
                "instrument_name": listing.name,
                "direction": "sell" if lots > 0 else "buy",
                "amount": listing.amount(abs(lots)),
                "closed": listing.amount(abs(lots) - abs(rest)),
                "remaining": listing.amount(abs(rest)),
                "reason": (Reason(reason).name.lower() if reason else "no_liquidity") if rest else "",
                "trades": [render_orders.user_trade(trade, as_maker=False) for trade in trades[slot]],
            }
        )
    return {"cancelled": cancelled, "flat": not left, "positions": positions}
