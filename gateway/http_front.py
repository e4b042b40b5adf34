"""HTTP/1.1 in front of the port: REST requests to a session, WebSocket upgrades to picows.

Keep-alive and pipelining are served in order; sizes, times and the number of unanswered requests are bounded.
"""

import asyncio
from collections import deque
from http import HTTPStatus
from typing import TYPE_CHECKING

import httptools

from gateway import metrics, ws_upgrade
from gateway.session import Session
from gateway.websocket import WebSocketConnection

if TYPE_CHECKING:
    from gateway.server import Server

WS_PATHS = ("/ws/api/v2", "/ws/api/v2/", "/ws")


class _TooLarge(Exception):
    def __init__(self, status: HTTPStatus):
        self.status = status


def response(status: HTTPStatus, body: bytes, keep_alive: bool, kind: str = "application/json") -> bytes:
    """A whole HTTP response."""
    connection = "" if keep_alive else "Connection: close\r\n"
    head = (
        f"HTTP/1.1 {status.value} {status.phrase}\r\nContent-Type: {kind}\r\n"
        f"Content-Length: {len(body)}\r\n{connection}\r\n"
    )
    return head.encode() + body


class HttpConnection(asyncio.Protocol):
    """One connection until it closes or becomes a WebSocket."""

    def __init__(self, server: "Server"):
        self._server, self._settings = server, server.settings
        self._parser = httptools.HttpRequestParser(self)
        self._outbox: deque[bytes] = deque()
        self._queued = self._closing = self._upgraded = False
        self._held_bytes = 0
        self._upgrade_rest: bytes | None = None
        self._session: Session | None = None
        self.transport: asyncio.Transport | None = None
        self.address = ""
        self._in_message = False
        self.deadline = 0.0
        self._reset()

    def _reset(self) -> None:
        self._url, self._header_bytes = b"", 0
        self._headers: dict[str, str] = {}
        self._body: list[bytes] = []
        self._body_bytes = 0

    # asyncio callbacks

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport  # type: ignore[assignment]
        peer = transport.get_extra_info("peername")
        self.address = peer[0] if isinstance(peer, tuple) else "local"
        self._loop = asyncio.get_running_loop()
        self.deadline = self._loop.time() + self._settings.header_seconds
        status = self._server.admit(self)
        if status is not None:
            self._refuse(status)

    def connection_lost(self, error: Exception | None) -> None:
        self.transport = None
        self._server.lost(self)
        if self._session is not None:
            self._session.closed()

    def data_received(self, data: bytes) -> None:
        if self._closing or self._upgraded:
            return
        if self._upgrade_rest is not None:
            self._upgrade_rest += data
            return
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            self._upgrade(data[upgrade.args[0] :])
        except httptools.HttpParserCallbackError as error:
            cause = error.__context__
            self._refuse(cause.status if isinstance(cause, _TooLarge) else HTTPStatus.BAD_REQUEST)
        except httptools.HttpParserError:
            self._refuse(HTTPStatus.BAD_REQUEST)

    # parser callbacks

    def on_message_begin(self) -> None:
        self._reset()
        self._in_message = True
        self.deadline = self._loop.time() + self._settings.header_seconds

    def on_url(self, url: bytes) -> None:
        self._url += url
        self._count_header(len(url))

    def on_header(self, name: bytes, value: bytes) -> None:
        self._count_header(len(name) + len(value) + 4)
        key, text = name.decode("latin-1").lower(), value.decode("latin-1")
        self._headers[key] = f"{self._headers[key]}, {text}" if key in self._headers else text

    def _count_header(self, size: int) -> None:
        self._header_bytes += size
        if self._header_bytes > self._settings.max_header_bytes:
            raise _TooLarge(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE)

    def on_headers_complete(self) -> None:
        declared = self._headers.get("content-length", "0")
        if declared.isdecimal() and int(declared) > self._settings.max_body_bytes:
            raise _TooLarge(HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
        if self._headers.get("expect", "").lower() == "100-continue":
            self._queue(b"HTTP/1.1 100 Continue\r\n\r\n")

    def on_body(self, body: bytes) -> None:
        self._body.append(body)
        self._body_bytes += len(body)
        if self._body_bytes > self._settings.max_body_bytes:
            raise _TooLarge(HTTPStatus.REQUEST_ENTITY_TOO_LARGE)

    def on_message_complete(self) -> None:
        self._in_message = False
        self.deadline = self._loop.time() + self._settings.keep_alive_seconds
        if self._parser.should_upgrade() or self._closing:
            return
        verb = self._parser.get_method().decode("latin-1")
        keep_alive = self._parser.should_keep_alive()
        if len(self._outbox) >= self._settings.max_pipelined:
            self._refuse(HTTPStatus.TOO_MANY_REQUESTS)
            return
        self._queue(self._answer(verb, keep_alive))
        if not keep_alive:
            self._closing = True

    def _answer(self, verb: str, keep_alive: bool) -> bytes:
        if verb not in ("GET", "POST"):
            return response(HTTPStatus.METHOD_NOT_ALLOWED, b"{}", keep_alive)
        if self._session is None:
            self._session = Session(self._server.gateway, self.address, lambda: None, websocket=False)
        authorization = self._headers.get("authorization", "")
        target = self._url.decode("latin-1")
        if verb == "GET" and target.partition("?")[0] == metrics.PATH and metrics.for_caller(self.address):
            return response(HTTPStatus.OK, metrics.text(self._server.gateway), keep_alive, metrics.CONTENT_TYPE)
        try:
            status, body = self._session.respond(verb, target, authorization, b"".join(self._body))
        except LookupError:
            return response(HTTPStatus.NOT_FOUND, b'{"error":"no such address"}', keep_alive)
        return response(HTTPStatus(status), body, keep_alive)

    # upgrade

    def _upgrade(self, rest: bytes) -> None:
        path = self._url.decode("latin-1").partition("?")[0]
        if path not in WS_PATHS:
            self._refuse(HTTPStatus.NOT_FOUND)
            return
        try:
            self._key = ws_upgrade.check(self._headers)
        except ws_upgrade.BadUpgrade:
            self._refuse(HTTPStatus.BAD_REQUEST)
            return
        self._upgrade_rest = rest
        if not self._held_bytes and not self._outbox:
            self._hand_over()

    def _hand_over(self) -> None:
        """Earlier answers are out: from here on the connection belongs to picows."""
        transport, rest = self.transport, self._upgrade_rest
        if transport is None or rest is None:
            return
        self._upgraded, self._upgrade_rest = True, None
        if self._session is not None:
            self._session.closed()
        server, address = self._server, self.address
        server.lost(self, upgraded=True)
        ws_upgrade.hand_over(
            transport,
            self._key,
            rest,
            lambda: WebSocketConnection(server, address),
            self._settings.max_message_bytes,
        )

    # output

    def _queue(self, data: bytes) -> None:
        self._outbox.append(data)
        if not self._queued:
            self._queued = True
            self._server.queue.push(self)

    def _refuse(self, status: HTTPStatus) -> None:
        """Answer with an error and close."""
        if not self._closing:
            self._queue(response(status, b'{"error":"%b"}' % status.phrase.encode(), False))
            self._closing = True

    def collect(self) -> bytes:
        """Everything queued since the last turn."""
        self._queued = False
        data = b"".join(self._outbox)
        self._outbox.clear()
        self._held_bytes += len(data)
        if self._held_bytes > self._settings.max_outbound_bytes and self.transport is not None:
            self._server.cut_slow += 1
            self.transport.abort()
        return data

    def release(self, data: bytes) -> None:
        """Write what may leave; close or hand over where that was asked for."""
        self._held_bytes -= len(data)
        transport = self.transport
        if transport is None or transport.is_closing() or self._upgraded:
            return
        if transport.get_write_buffer_size() + len(data) > self._settings.max_outbound_bytes:
            self._server.cut_slow += 1
            transport.abort()
            return
        transport.write(data)
        if self._held_bytes or self._outbox:
            return
        if self._closing:
            transport.close()
        elif self._upgrade_rest is not None:
            self._hand_over()

    def expire(self, now: float) -> None:
        """Close where the peer lets a request or the connection idle beyond its limit."""
        if now > self.deadline and self.transport is not None and not self._held_bytes:
            if self._in_message:
                self._refuse(HTTPStatus.REQUEST_TIMEOUT)
                self._in_message = False
                self.deadline = now + 1.0
            else:
                self.transport.close()
