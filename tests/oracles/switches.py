"""The naive kill switch. Rules: docs/orders.md."""

from collections.abc import Iterator

from exchange import payloads
from exchange.events import EventKind
from exchange.reasons import Reason
from tests.oracles.book import Order
from tests.oracles.pretrade import require
from tests.oracles.state import WaitingOrder
from tests.oracles.waiting import Waiting

SCOPES = ("venue", "underlying", "owner", "account")
AT_ONCE = 4_096


class KillSwitch:
    """Throws and releases switches of a venue."""

    def __init__(self, waiting: Waiting) -> None:
        self.waiting = waiting
        self.state = waiting.state

    def target(self, payload: payloads.KillSwitch) -> int:
        """The number that a payload names, or Refused."""
        s, name = self.state, payload.target
        if payload.scope == "venue":
            require(name == "", Reason.BAD_PAYLOAD)
            return 0
        if payload.scope == "underlying":
            names = [u.name for u in s.config.underlyings]
            require(name in names, Reason.UNKNOWN_UNDERLYING)
            return names.index(name)
        require(name.isascii() and name.isdecimal() and 0 < int(name) < 2**32, Reason.BAD_PAYLOAD)
        known = int(name) in s.accounts and not s.accounts[int(name)].holder
        require(payload.scope == "owner" or known, Reason.UNKNOWN_ACCOUNT)
        return int(name)

    def throw(self, payload: payloads.KillSwitch) -> int:
        """Turn one switch; how many orders ended."""
        target = self.target(payload)
        change = self.state.switches.add if payload.on else self.state.switches.discard
        change((payload.scope, target))
        ending = list(self.within(payload.scope, target)) if payload.on and payload.cancel else []
        if len(ending) > AT_ONCE:
            raise NotImplementedError("a history with so many open orders")
        self.state.emit(
            EventKind.TRADING_STOPPED, 0, scope=SCOPES.index(payload.scope), on=payload.on, target=target,
            cancelled=len(ending),
        )  # fmt: skip
        for order in ending:
            if isinstance(order, WaitingOrder):
                if order.order_id in self.state.waiting:
                    self.waiting.withdraw(order, Reason.KILL_SWITCH)
            elif order.order_id in self.state.orders:
                self.waiting.trading.withdraw(order, Reason.KILL_SWITCH)
        return len(ending)

    def within(self, scope: str, target: int) -> Iterator[Order | WaitingOrder]:
        """What is open in a scope, account by account: waiting orders, then live ones, ascending id."""
        s = self.state
        for number, account in sorted(s.accounts.items()):
            if scope in ("owner", "account") and target != (
                account.owner_id if scope == "owner" else account.holder or number
            ):
                continue
            mine: list[Order | WaitingOrder] = [w for _, w in sorted(s.waiting.items()) if w.account_id == number]
            mine += [order for _, order in sorted(account.orders.items())]
            for order in mine:
                if scope != "underlying" or s.contracts[order.instrument].underlying == target:
                    yield order
