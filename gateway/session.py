"""One client's session without I/O: request bytes in, answer and notification bytes out.

A transport (`gateway/websocket.py`, `gateway/http_front.py`) feeds `receive` or `respond`, takes what
gathers in `outbox`, and reports the end with `closed`. Times are wall time in nanoseconds.
"""

import logging
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from gateway import protocol
from gateway.auth import Grant, Principal
from gateway.errors import INTERNAL_ERROR, METHOD_NOT_FOUND, ApiError
from gateway.registry import METHODS, NO_REPLY, Method

if TYPE_CHECKING:
    from gateway.gateway import Gateway

log = logging.getLogger("gateway.session")
_SECOND_NS = 1_000_000_000
HEARTBEAT_CLOSE = 4000


class Session:
    """State of one connection: login, subscriptions, heartbeat, cancel-on-disconnect."""

    def __init__(self, gateway: "Gateway", address: str, wake: Callable[[], None], websocket: bool = True):
        self.gateway, self.address, self.websocket = gateway, address, websocket
        self._wake = wake
        self.outbox: deque[bytes] = deque()
        self.principal: Principal | None = None
        self.grants: list[Grant] = []
        self.channels: dict[str, int] = {}
        """Subscribed names with the account they belong to (0: public)."""
        self.cancel_on_disconnect: Principal | None = None
        """Whose orders of this connection go when it goes; None: they stay."""
        self._expires_ns = 0
        self.heartbeat_s = 0
        self.last_in_ns = self._heartbeat_ns = gateway.wall_ns()
        self._test_sent_ns = 0
        self._after_reply: list[Callable[[], None]] = []
        self._auth_failures = 0
        self.close_code = 0
        """Set when the session wants its transport closed after the outbox."""
        self.close_reason = ""
        self.ended = False

    # bytes in

    def receive(self, text: bytes) -> None:
        """One WebSocket message."""
        if self.close_code or self.ended:
            return
        arrived_ns = self.last_in_ns = self.gateway.wall_ns()
        try:
            request = protocol.parse(text)
        except ApiError as error:
            self._send_error(getattr(error, "request_id", b""), error, arrived_ns)
            return
        try:
            result = self._call(request, self.principal, arrived_ns)
        except ApiError as error:
            self._send_error(request.id, error, arrived_ns)
            if error.fatal:
                self.close(1008, error.message)
            self._count_failures(error)
        else:
            if result is not NO_REPLY:
                gateway = self.gateway
                testnet = gateway.settings.testnet
                self.send(
                    protocol.result_bytes(request.id, result, arrived_ns // 1000, gateway.wall_ns() // 1000, testnet)
                )
        self._run_after_reply()

    def respond(self, verb: str, target: str, authorization: str, body: bytes) -> tuple[int, bytes]:
        """One HTTP request: (status, JSON body). LookupError for an unknown address."""
        gateway = self.gateway
        arrived_ns = self.last_in_ns = gateway.wall_ns()
        request_id = b""
        try:
            request = protocol.from_http(verb, target, body)
            request_id = request.id
            principal = None
            if authorization:
                text = body.decode("utf-8", "replace")
                principal = gateway.auth.header(authorization, verb, target, text, arrived_ns)
            result = self._call(request, principal, arrived_ns)
        except ApiError as error:
            request_id = request_id or getattr(error, "request_id", b"")
            now_us = gateway.wall_ns() // 1000
            testnet = gateway.settings.testnet
            return 400, protocol.error_bytes(request_id, error, arrived_ns // 1000, now_us, testnet)
        finally:
            self._after_reply.clear()
        now_us = gateway.wall_ns() // 1000
        result = None if result is NO_REPLY else result
        return 200, protocol.result_bytes(request_id, result, arrived_ns // 1000, now_us, gateway.settings.testnet)

    def _call(self, request: protocol.Request, principal: Principal | None, now_ns: int) -> Any:
        found = METHODS.get(request.method)
        if found is None:
            raise ApiError(METHOD_NOT_FOUND)
        if found.websocket_only and not self.websocket:
            raise ApiError(10030)
        gateway = self.gateway
        holder = principal.account_id if principal is not None else self.address
        try:
            gateway.throttle.check(found.kind, holder, now_ns)
            params = request.params(found.decoder)
        except ApiError as error:
            if error.code != 10028 or found.kind != "matching":
                raise
            params = request.params(found.decoder)
            if not (found.reducing or getattr(params, "reduce_only", None)):
                raise
            gateway.throttle.check("reducing", holder, now_ns)
        if params.access_token:
            principal = gateway.auth.token(params.access_token, now_ns)
        self._authorise(found, principal)
        try:
            return found.handler(gateway, self, principal, params)
        except ApiError:
            raise
        except gateway.fatal_errors as error:
            gateway.fail(error)
            raise ApiError(INTERNAL_ERROR) from error
        except Exception:
            log.exception("method %s failed", request.method)
            raise ApiError(INTERNAL_ERROR) from None

    def _authorise(self, found: Method, principal: Principal | None) -> None:
        if not found.scope:
            return
        if principal is None or not self.gateway.auth.valid(principal) or self._expired(principal):
            raise ApiError(13009, {"reason": "invalid_token"})
        if found.scope != "any" and not principal.allows(found.scope):
            raise ApiError(13021, {"reason": f"scope {found.scope} required"})

    def _expired(self, principal: Principal) -> bool:
        return principal is self.principal and self.gateway.wall_ns() >= self._expires_ns

    def _count_failures(self, error: ApiError) -> None:
        if error.code == 13004:
            self._auth_failures += 1
            if self._auth_failures >= self.gateway.settings.auth_failures_per_connection:
                self.close(1008, "too many failed logins")

    # bytes out

    def send(self, message: bytes) -> None:
        """Queue one message for the peer."""
        if not self.ended:
            self.outbox.append(message)
            self._wake()

    def _send_error(self, request_id: bytes, error: ApiError, arrived_ns: int) -> None:
        gateway = self.gateway
        now_us = gateway.wall_ns() // 1000
        testnet = gateway.settings.testnet
        self.send(protocol.error_bytes(request_id, error, arrived_ns // 1000, now_us, testnet))

    def after_reply(self, action: Callable[[], None]) -> None:
        """Run `action` once the answer of the current request is queued (first snapshots)."""
        self._after_reply.append(action)

    def _run_after_reply(self) -> None:
        while self._after_reply:
            self._after_reply.pop(0)()

    def close(self, code: int, reason: str = "") -> None:
        """Ask the transport to close once the outbox is out."""
        if not self.close_code:
            self.close_code, self.close_reason = code, reason
            self._wake()

    # life

    def login(self, grant: Grant) -> None:
        """Bind a grant to this connection; connection-bound tokens die with it."""
        if not self.websocket:
            return
        previous = self.principal
        if previous is not None and previous.account_id != grant.principal.account_id:
            self.gateway.channels.drop_private(self)
        self.principal, self._expires_ns = grant.principal, grant.expires_wall_ns
        if grant.connection_bound:
            self.grants.append(grant)
            if len(self.grants) > 8:
                self.gateway.auth.revoke(self.grants.pop(0))
        if grant.principal.account_id in self.gateway.cancel_on_disconnect_accounts:
            self.cancel_on_disconnect = grant.principal

    def set_heartbeat(self, interval_s: int) -> None:
        """Expect life signs every `interval_s` seconds from now on; 0 ends it."""
        self.heartbeat_s = interval_s
        self._heartbeat_ns, self._test_sent_ns = self.gateway.wall_ns(), 0

    def tested(self) -> None:
        """The client called public/test."""
        self._test_sent_ns = 0

    def every_second(self, now_ns: int) -> None:
        """Heartbeats and the idle limit."""
        if now_ns - self.last_in_ns > self.gateway.settings.idle_seconds * _SECOND_NS:
            self.close(1001, "idle")
            return
        interval_ns = self.heartbeat_s * _SECOND_NS
        if not interval_ns:
            return
        if self._test_sent_ns and now_ns - self._test_sent_ns >= interval_ns:
            self.close(HEARTBEAT_CLOSE, "heartbeat close")
        elif now_ns - self._heartbeat_ns >= interval_ns:
            self._heartbeat_ns = now_ns
            self.send(protocol.heartbeat_bytes("heartbeat"))
            if not self._test_sent_ns:
                self._test_sent_ns = now_ns
                self.send(protocol.heartbeat_bytes("test_request"))

    def closed(self) -> None:
        """The transport is gone: drop subscriptions and tokens, cancel what was to be cancelled."""
        if self.ended:
            return
        self.ended = True
        self.outbox.clear()
        gateway = self.gateway
        gateway.channels.drop(self)
        for grant in self.grants:
            gateway.auth.revoke(grant)
        self.grants.clear()
        if self.cancel_on_disconnect is not None:
            gateway.cancel_orders_of(self, self.cancel_on_disconnect)
