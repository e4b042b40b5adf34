"""What an administrator, the worker and the feeds may ask of a running venue; every change is a command.

An operation takes the gateway and its parameters and returns a JSON-able result. Sums are decimal numbers or
strings in coins unless a name ends in `_minor`.
"""

from collections.abc import Callable
from typing import Any

import msgspec

from exchange import commands
from exchange.commands import Actor
from exchange.reasons import Reason
from gateway.errors import ApiError
from gateway.news import News


class AdminError(Exception):
    """An operation was refused; `reason` is a lower-case word."""

    def __init__(self, reason: str, message: str = ""):
        self.reason, self.message = reason, message or reason
        super().__init__(self.message)


OPERATIONS: dict[str, tuple[type[msgspec.Struct], Callable[..., Any]]] = {}


def operation(name: str, params: type[msgspec.Struct]) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Register an operation."""

    def register(handler: Callable[..., Any]) -> Callable[..., Any]:
        OPERATIONS[name] = (params, handler)
        return handler

    return register


def submit(gateway: Any, command: bytearray) -> News:
    """Submit a command; AdminError with the engine's reason where it refuses."""
    try:
        news = gateway.submit(commands.by(Actor.OPERATOR, command))
    except ApiError as error:
        raise AdminError(error.message) from None
    if news.rejected:
        raise AdminError(Reason(news.rejected).name.lower())
    return news


class Nothing(msgspec.Struct):
    """No parameters."""


class OfAccount(msgspec.Struct, kw_only=True):
    account: str | int

    def account_id(self, gateway: Any) -> int:
        """Number of the account given by number or name."""
        if isinstance(self.account, int):
            found = self.account if self.account in gateway.engine.account_ids() else 0
        else:
            found = gateway.engine.account_id(self.account)
        if not found:
            raise AdminError("unknown_account", f"no account {self.account!r}")
        return found
