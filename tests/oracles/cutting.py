"""Reduce-only orders of the naive venue shrink with their positions, at the end of each command."""

from exchange.commands import OrderFlag
from exchange.events import EventKind
from exchange.reasons import Reason
from tests.oracles.trading import Trading

MOVING = {
    EventKind.TRADE_EXECUTED, EventKind.LEG_TRADE_EXECUTED, EventKind.POSITION_TRANSFERRED,
    EventKind.POSITION_DELEVERAGED, EventKind.POSITION_TORN_UP, EventKind.POSITION_SETTLED,
}  # fmt: skip


def cut(trading: Trading) -> None:
    """No resting reduce-only order is larger than what it could take off; one that could nothing is cancelled."""
    s = trading.state
    if not any(event.kind in MOVING for event in s.events):
        return
    for number in sorted(s.accounts):
        account = s.accounts[number]
        for order in [account.orders[order_id] for order_id in sorted(account.orders)]:
            if not order.flags & OrderFlag.REDUCE_ONLY:
                continue
            lots = trading.reducible(account, order.instrument, order.side)
            less = order.remaining_lots - lots
            if lots == 0:
                trading.withdraw(order, Reason.REDUCE_ONLY_POSITION_GONE)
            elif less > 0:
                order.hidden_lots = max(0, order.hidden_lots - less)
                order.remaining_lots, order.quantity_lots = lots, order.quantity_lots - less
                trading.say_edited(order, True)
