"""The table of methods: name -> parameters, scope, rate class and handler."""

from collections.abc import Callable
from typing import Any

from gateway.protocol import ParamDecoder, Params


class Nothing(Params, kw_only=True):
    """No parameters of its own."""


class Method:
    """One method of the API. `handler(gateway, session, principal, params)` returns the result."""

    __slots__ = ("decoder", "handler", "kind", "name", "reducing", "scope", "websocket_only")

    def __init__(
        self,
        name: str,
        handler: Callable[..., Any],
        params: type[Params],
        scope: str,
        kind: str,
        websocket_only: bool,
        reducing: bool,
    ):
        self.reducing = reducing
        self.name, self.handler, self.decoder = name, handler, ParamDecoder(params)
        self.scope, self.kind, self.websocket_only = scope, kind, websocket_only


METHODS: dict[str, Method] = {}


class NoReply:
    """A handler's way to say that nothing is answered."""


NO_REPLY = NoReply()


def method(
    *names: str,
    params: type[Params] = Nothing,
    scope: str = "",
    kind: str = "non_matching",
    websocket_only: bool = False,
    reducing: bool = False,
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Register a handler under its names. `scope` empty: public; "any": any login will do. `reducing`: it only cancels
    or closes, and has credits of its own where those of its kind are spent."""

    def register(handler: Callable[..., Any]) -> Callable[..., Any]:
        for name in names:
            if name in METHODS:
                raise ValueError(f"{name} is registered twice")
            METHODS[name] = Method(name, handler, params, scope, kind, websocket_only, reducing)
        return handler

    return register
