"""The listener: one TCP port for REST and WebSocket, its connections counted, limited and swept."""

import asyncio
import ssl
from collections import Counter
from http import HTTPStatus
from typing import TYPE_CHECKING

from gateway.http_front import HttpConnection
from gateway.output import CommitQueue
from gateway.websocket import WebSocketConnection

if TYPE_CHECKING:
    from gateway.gateway import Gateway

_BACKLOG = 1024


class Server:
    """Accepts connections and owns them until they end."""

    def __init__(self, gateway: "Gateway"):
        self.gateway, self.settings = gateway, gateway.settings
        self._addresses: Counter[str] = Counter()
        self._http: set[HttpConnection] = set()
        self._websockets: set[WebSocketConnection] = set()
        self._listener: asyncio.Server | None = None
        self.cut_slow = 0
        """Connections cut because they did not read."""
        self.refused = 0
        """Connections refused over a limit."""

    @property
    def queue(self) -> CommitQueue:
        """Where output waits for durability."""
        if self.gateway.queue is None:
            raise RuntimeError("the gateway has not started")
        return self.gateway.queue

    async def start(self, host: str, port: int, tls: ssl.SSLContext | None = None) -> int:
        """Listen; returns the port (asked for with 0: the one given)."""
        loop = asyncio.get_running_loop()
        self._listener = await loop.create_server(lambda: HttpConnection(self), host, port, ssl=tls, backlog=_BACKLOG)
        return int(self._listener.sockets[0].getsockname()[1])

    async def stop(self) -> None:
        """Stop listening, say goodbye, and cut what has not gone within a second."""
        if self._listener is not None:
            self._listener.close()
        for connection in list(self._websockets):
            connection.session.close(1001, "venue stops")
        for _ in range(20):
            if not self._websockets:
                break
            await asyncio.sleep(0.05)
        for open_connection in [*self._http, *self._websockets]:
            if open_connection.transport is not None:
                open_connection.transport.abort()
        if self._listener is not None:
            await self._listener.wait_closed()

    @property
    def connections(self) -> int:
        """Open connections of either kind."""
        return len(self._http) + len(self._websockets)

    def sessions(self) -> list:
        """Sessions of the open WebSockets."""
        return [connection.session for connection in self._websockets]

    def admit(self, connection: HttpConnection) -> HTTPStatus | None:
        """Count a new connection; a status where it is one too many."""
        self._addresses[connection.address] += 1
        over = self.connections >= self.settings.max_connections
        self._http.add(connection)
        per_address = self.gateway.throttle.limits.connections_per_address
        if over:
            self.refused += 1
            return HTTPStatus.SERVICE_UNAVAILABLE
        if per_address and self._addresses[connection.address] > per_address:
            self.refused += 1
            return HTTPStatus.TOO_MANY_REQUESTS
        return None

    def opened(self, connection: WebSocketConnection) -> None:
        """An upgraded connection is a WebSocket now (its address stays counted)."""
        self._websockets.add(connection)

    def lost(self, connection: HttpConnection | WebSocketConnection, upgraded: bool = False) -> None:
        """A connection is gone, or (`upgraded`) goes on as a WebSocket."""
        if isinstance(connection, HttpConnection):
            if connection not in self._http:
                return
            self._http.discard(connection)
            if upgraded:
                return
            address = connection.address
        else:
            self._websockets.discard(connection)
            address = connection.session.address
        self._addresses[address] -= 1
        if self._addresses[address] <= 0:
            del self._addresses[address]

    def every_second(self, now_ns: int) -> None:
        """Heartbeats, idle limits and request timeouts."""
        now = asyncio.get_running_loop().time()
        ping_ns = int(self.settings.ping_seconds * 1_000_000_000)
        for connection in list(self._websockets):
            connection.session.every_second(now_ns)
            connection.ping_if_silent(now_ns, ping_ns)
        for waiting in list(self._http):
            waiting.expire(now)
