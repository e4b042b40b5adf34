"""A JSON-RPC client over WebSocket: calls by id, subscriptions that survive a reconnect, bounded everywhere.

`Client.run()` keeps one connection alive: it connects, logs in, restores the subscriptions, runs the
`on_ready` hooks, and starts again with a growing pause when the connection ends.
"""

import asyncio
import logging
import random
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any

import msgspec
from picows import WSCloseCode, WSError, WSFrame, WSListener, WSMsgType, WSTransport, ws_connect

log = logging.getLogger("loadtest.client")

CHANNELS_PER_CALL = 200
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.1, 3.0
MAX_MESSAGE_BYTES = 32 * 1024 * 1024
MAX_UNSENT_BYTES = 4 * 1024 * 1024
Callback = Callable[[Any], None]


class Refused(Exception):
    """The venue answered with an error: `code`, `message`, and its `reason` (empty where it gave none)."""

    def __init__(self, code: int, message: str, data: Any = None):
        super().__init__(f"{code} {message} {data or ''}".rstrip())
        self.code, self.message, self.data = code, message, data
        self.reason = str(data.get("reason", "")) if isinstance(data, dict) else ""


class Disconnected(Exception):
    """No connection, or it ended before the answer: whether the request was carried out is unknown."""


class VenueGone(Exception):
    """The venue could not be reached for longer than the client was told to wait."""


class _Error(msgspec.Struct):
    code: int
    message: str = ""
    data: Any = None


class _Notice(msgspec.Struct):
    channel: str = ""
    data: msgspec.Raw = msgspec.Raw(b"null")
    type: str = ""


class _Message(msgspec.Struct):
    id: int | None = None
    result: msgspec.Raw = msgspec.Raw(b"null")
    error: _Error | None = None
    method: str = ""
    params: _Notice | None = None


_decode = msgspec.json.Decoder(_Message).decode
_encode = msgspec.json.Encoder().encode


class _Link(WSListener):
    """One WebSocket connection, handing its messages to the client."""

    def __init__(self, receive: Callable[[bytes], None]):
        self._receive = receive
        self.transport: WSTransport | None = None
        self.ended = asyncio.Event()

    def on_ws_connected(self, transport: WSTransport) -> None:
        self.transport = transport

    def on_ws_disconnected(self, transport: WSTransport) -> None:
        self.transport = None
        self.ended.set()

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        if frame.msg_type == WSMsgType.TEXT and frame.fin:
            self._receive(frame.get_payload_as_bytes())
        elif frame.msg_type == WSMsgType.CLOSE:
            transport.send_close(frame.get_close_code())
            transport.disconnect()
        elif frame.msg_type not in (WSMsgType.PING, WSMsgType.PONG):
            transport.send_close(WSCloseCode.UNSUPPORTED_DATA)
            transport.disconnect()


class Client:
    """One login on one connection. At most `max_in_flight` calls are under way; further ones wait."""

    def __init__(
        self,
        url: str,
        client_id: str = "",
        client_secret: str = "",
        *,
        seed: int = 0,
        max_in_flight: int = 64,
        answer_s: float = 10.0,
        give_up_s: float = 20.0,
        cancel_on_disconnect: bool = True,
    ):
        self.url = url
        self._login = (client_id, client_secret)
        self._jitter = random.Random(seed)
        self._answer_s, self._give_up_s = answer_s, give_up_s
        self._cancel_on_disconnect = cancel_on_disconnect
        self._slots = asyncio.Semaphore(max_in_flight)
        self._waiting: dict[int, asyncio.Future[msgspec.Raw]] = {}
        self._next_id = 0
        self._callbacks: dict[str, Callback] = {}
        self._link: _Link | None = None
        self._closing = False
        self.ready = asyncio.Event()
        """Set while logged in with the subscriptions in place and the hooks done."""
        self.on_ready: list[Callable[[], Awaitable[None]]] = []
        self.on_lost: list[Callable[[], None]] = []
        self.calls = self.refusals = self.notices = self.connections = 0

    # calls

    async def call(self, method: str, **params: Any) -> Any:
        """The result of one method. Raises Refused, Disconnected, or TimeoutError where no answer came."""
        async with self._slots:
            link = self._link
            if link is None or link.transport is None:
                raise Disconnected(method)
            if link.transport.underlying_transport.get_write_buffer_size() > MAX_UNSENT_BYTES:
                link.transport.disconnect()
                raise Disconnected(f"{method}: the venue does not read")
            self._next_id += 1
            number, self.calls = self._next_id, self.calls + 1
            answer: asyncio.Future[msgspec.Raw] = asyncio.get_running_loop().create_future()
            self._waiting[number] = answer
            body = {"jsonrpc": "2.0", "id": number, "method": method, "params": params}
            link.transport.send(WSMsgType.TEXT, _encode(body))
            try:
                async with asyncio.timeout(self._answer_s):
                    raw = await answer
            finally:
                self._waiting.pop(number, None)
        return msgspec.json.decode(raw)

    async def subscribe(self, callbacks: Mapping[str, Callback]) -> None:
        """Add channels; each message's data goes to its callback, now and after every reconnect."""
        self._callbacks.update(callbacks)
        if self._link is not None:
            await self._subscribe(callbacks)

    async def unsubscribe(self, channels: Iterable[str]) -> None:
        """Remove channels."""
        names = [name for name in channels if self._callbacks.pop(name, None) is not None]
        if names and self._link is not None:
            await self.call("public/unsubscribe", channels=names)

    async def _subscribe(self, names: Iterable[str]) -> None:
        wanted = list(names)
        for start in range(0, len(wanted), CHANNELS_PER_CALL):
            part = wanted[start : start + CHANNELS_PER_CALL]
            accepted = await self.call("public/subscribe", channels=part)
            missing = set(part) - set(accepted)
            if missing:
                log.warning("channels not available: %s", ", ".join(sorted(missing)[:5]))

    # life

    async def run(self) -> None:
        """Keep a connection up until `close`. Raises VenueGone after `give_up_s` without one."""
        pause_s, last_up_s = FIRST_PAUSE_S, time.monotonic()
        while not self._closing:
            try:
                await self._connect()
                pause_s = FIRST_PAUSE_S
                if self._link is not None:
                    await self._link.ended.wait()
                last_up_s = time.monotonic()
            except (OSError, WSError, Disconnected, Refused, TimeoutError) as error:
                if isinstance(error, Refused) and error.code in (13004, 13009):
                    raise
                log.info("%s: %s", self.url, error)
            finally:
                self._lost()
            if self._closing:
                break
            if time.monotonic() - last_up_s > self._give_up_s:
                raise VenueGone(self.url)
            await asyncio.sleep(pause_s * (0.5 + self._jitter.random()))
            pause_s = min(2 * pause_s, LONGEST_PAUSE_S)

    async def _connect(self) -> None:
        _, link = await ws_connect(
            lambda: _Link(self._receive),
            self.url,
            websocket_handshake_timeout=5,
            enable_auto_ping=True,
            auto_ping_idle_timeout=10,
            auto_ping_reply_timeout=10,
            max_frame_size=MAX_MESSAGE_BYTES,
        )
        self._link = link
        self.connections += 1
        client_id, client_secret = self._login
        if client_id:
            await self.call(
                "public/auth",
                grant_type="client_credentials",
                client_id=client_id,
                client_secret=client_secret,
            )
            if self._cancel_on_disconnect:
                await self.call("private/enable_cancel_on_disconnect")
        for hook in self.on_ready:
            await hook()
        await self._subscribe(list(self._callbacks))
        self.ready.set()

    def _lost(self) -> None:
        link, self._link = self._link, None
        if link is not None and link.transport is not None:
            link.transport.disconnect()
        was_ready = self.ready.is_set()
        self.ready.clear()
        for answer in self._waiting.values():
            if not answer.done():
                answer.set_exception(Disconnected("the connection ended"))
        self._waiting.clear()
        if was_ready:
            for hook in self.on_lost:
                hook()

    def close(self) -> None:
        """End the connection and `run`."""
        self._closing = True
        if self._link is not None and self._link.transport is not None:
            self._link.transport.send_close(WSCloseCode.OK)
            self._link.transport.disconnect()

    # messages in

    def _receive(self, payload: bytes) -> None:
        message = _decode(payload)
        if message.id is not None:
            answer = self._waiting.get(message.id)
            if answer is None or answer.done():
                return
            if message.error is not None:
                self.refusals += 1
                error = message.error
                answer.set_exception(Refused(error.code, error.message, error.data))
            else:
                answer.set_result(message.result)
        elif message.method == "subscription" and message.params is not None:
            self.notices += 1
            callback = self._callbacks.get(message.params.channel)
            if callback is not None:
                try:
                    callback(msgspec.json.decode(message.params.data))
                except Exception:
                    log.exception("callback of %s failed", message.params.channel)
