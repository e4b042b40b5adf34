"""Load connections: raw messages in, raw messages out, one clock. What is measured is the peer, so the path is short.

A driver owns some connections and answers each message at once; `place` and `cancel` requests alternate, so that
the book does not grow.
"""

import asyncio
import time
from collections.abc import Callable
from typing import Any

import msgspec
from picows import WSFrame, WSListener, WSMsgType, WSTransport, ws_connect

TEXT = WSMsgType.TEXT
_ORDER_ID = b'"order_id":"'
_ID = b'"id":'
OnMessage = Callable[["Wire", bytes], None]


class Wire(WSListener):
    """One connection; `on_message(wire, payload)` is called for every text message."""

    def __init__(self) -> None:
        self.on_message: OnMessage = _ignore
        self.transport: WSTransport
        self.ended = False

    def on_ws_connected(self, transport: WSTransport) -> None:
        self.transport = transport

    def on_ws_disconnected(self, transport: WSTransport) -> None:
        self.ended = True

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        if frame.msg_type == TEXT:
            self.on_message(self, frame.get_payload_as_bytes())

    def send(self, message: bytes) -> None:
        """Send one text message."""
        self.transport.send(TEXT, message)

    async def ask(self, method: str, **params: Any) -> Any:
        """One JSON-RPC call outside the measurement; RuntimeError where it is refused."""
        answer: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()

        def take(wire: "Wire", payload: bytes) -> None:
            if _ID in payload[:64] and not answer.done():
                answer.set_result(payload)

        before, self.on_message = self.on_message, take
        self.send(request(1, method, params))
        try:
            found = msgspec.json.decode(await asyncio.wait_for(answer, 10))
        finally:
            self.on_message = before
        if "error" in found:
            raise RuntimeError(f"{method}: {found['error']}")
        return found["result"]


def _ignore(wire: Wire, payload: bytes) -> None:
    """Nobody listens yet."""


def request(number: int, method: str, params: dict[str, Any]) -> bytes:
    """A JSON-RPC request."""
    return msgspec.json.encode({"jsonrpc": "2.0", "id": number, "method": method, "params": params})


def order_id(payload: bytes) -> bytes:
    """The order id in an answer, empty where there is none."""
    start = payload.find(_ORDER_ID)
    if start < 0:
        return b""
    start += len(_ORDER_ID)
    return payload[start : payload.index(b'"', start)]


def answer_id(payload: bytes) -> int:
    """The id of an answer, -1 for a notification."""
    start = payload.find(_ID, 0, 64)
    if start < 0:
        return -1
    end = start + len(_ID)
    while payload[end : end + 1].isdigit():
        end += 1
    return int(payload[start + len(_ID) : end] or b"-1")


async def connect(url: str, login: tuple[str, str] | None = None) -> Wire:
    """A connection, logged in where `login` (client id, secret) is given."""
    _, wire = await ws_connect(Wire, url, max_frame_size=32 * 1024 * 1024)
    if login is not None:
        await wire.ask("public/auth", grant_type="client_credentials", client_id=login[0], client_secret=login[1])
    return wire


class Requests:
    """The two requests of a driver, made once: an order that rests far from the touch, and its cancel."""

    def __init__(self, instrument: str, amount: float, price: float):
        body = request(
            0,
            "private/buy",
            {"instrument_name": instrument, "amount": amount, "price": price, "label": "load"},
        )
        self._place = body.replace(b'"id":0', b'"id":%d', 1)
        self._cancel = request(0, "private/cancel", {"order_id": "X"})
        self._cancel = self._cancel.replace(b'"id":0', b'"id":%d', 1).replace(b"X", b"%b", 1)

    def place(self, number: int) -> bytes:
        """A placement."""
        return self._place % number

    def cancel(self, number: int, name: bytes) -> bytes:
        """The cancel of an order."""
        return self._cancel % (number, name)


async def closed_loop(wire: Wire, requests: Requests, seconds: float) -> tuple[list[int], int]:
    """Place, wait, cancel, wait, again. (ns from placement to its answer, bytes of a placement's answer)."""
    done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    waits: list[int] = []
    size = 0
    now = time.perf_counter_ns
    ends = now() + int(seconds * 1e9)
    sent, number, placing = now(), 0, True

    def on_message(wire: Wire, payload: bytes) -> None:
        nonlocal sent, number, placing, size
        arrived = now()
        number += 1
        if placing:
            waits.append(arrived - sent)
            size, placing = len(payload), False
            name = order_id(payload)
            if not name:
                done.set_exception(RuntimeError(payload.decode()[:300]))
                return
            wire.send(requests.cancel(number, name))
        elif arrived >= ends:
            done.set_result(None)
        else:
            placing, sent = True, now()
            wire.send(requests.place(number))

    wire.on_message = on_message
    wire.send(requests.place(0))
    await asyncio.wait_for(done, seconds + 10)
    return waits, size


async def open_loop(wire: Wire, requests: Requests, per_second: float, seconds: float) -> list[int]:
    """Placements on a fixed schedule, whatever the answers do: ns from the *scheduled* time to the answer."""
    loop = asyncio.get_running_loop()
    now = time.perf_counter_ns
    gap = int(1e9 / per_second)
    count = int(per_second * seconds)
    waits: list[int] = []
    start = now() + 10_000_000
    cancels = 1 << 40

    def on_message(wire: Wire, payload: bytes) -> None:
        nonlocal cancels
        arrived, number = now(), answer_id(payload)
        if 0 <= number < count:
            waits.append(arrived - (start + number * gap))
            cancels += 1
            wire.send(requests.cancel(cancels, order_id(payload)))

    wire.on_message = on_message
    for number in range(count):
        while now() < start + number * gap:
            await asyncio.sleep(0)  # polls the sockets: a timer would add its own milliseconds
        wire.send(requests.place(number))
    deadline = loop.time() + 5
    while len(waits) < count and loop.time() < deadline:
        await asyncio.sleep(0.01)
    if len(waits) < count:
        raise RuntimeError(f"{count - len(waits)} of {count} placements were not answered")
    return waits


async def saturate(wires: list[Wire], requests: Requests, in_flight: int, seconds: float) -> float:
    """Answers per second (placements and cancels) with `in_flight` requests always open on every connection."""
    answered = refused = 0
    running = True

    def on_message(wire: Wire, payload: bytes) -> None:
        nonlocal answered, refused
        answered += 1
        if not running:
            return
        number = answer_id(payload)
        if number & 1:
            wire.send(requests.place(number - 1))
            return
        name = order_id(payload)
        if name:
            wire.send(requests.cancel(number + 1, name))
        else:
            refused += 1
            wire.send(requests.place(number))

    for wire in wires:
        wire.on_message = on_message
        for slot in range(in_flight):
            wire.send(requests.place(2 * slot))
    await asyncio.sleep(min(1.0, 0.25 * seconds))  # warm up
    before, started = answered, time.perf_counter()
    await asyncio.sleep(seconds)
    rate = (answered - before) / (time.perf_counter() - started)
    running = False
    await asyncio.sleep(0.5)
    if refused > 0.01 * answered:
        raise RuntimeError(f"{refused} of {answered} placements were refused")
    return rate


async def fan_out(
    writer: Wire, readers: list[Wire], requests: Requests, in_flight: int, seconds: float
) -> tuple[float, float]:
    """(messages per second that all readers got, order messages per second) while one writer moves a book."""
    got = 0

    def on_notice(wire: Wire, payload: bytes) -> None:
        nonlocal got
        got += 1

    for reader in readers:
        reader.on_message = on_notice
    started, first = time.perf_counter(), got
    rate = await saturate([writer], requests, in_flight, seconds)
    return (got - first) / (time.perf_counter() - started), rate
