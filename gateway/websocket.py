"""A WebSocket connection: frames to messages for a session, and a session's outbox to frames.

What picows leaves to its user is done here (RFC 6455): fragments are joined under a total cap (1009), text is
UTF-8 or the connection ends (1007), reserved bits end it (1002), pings are answered, a close is answered.
"""

import asyncio
import struct
from collections import deque
from typing import TYPE_CHECKING

from picows import WSFrame, WSListener, WSTransport

from gateway.session import Session

if TYPE_CHECKING:
    from gateway.server import Server

CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0x0, 0x1, 0x2, 0x8, 0x9, 0xA
_CLOSE_WAIT_SECONDS = 1.0
MAX_FRAGMENTS = 1024


def frame(opcode: int, payload: bytes) -> bytes:
    """One unmasked, final frame."""
    size = len(payload)
    if size < 126:
        return bytes((0x80 | opcode, size)) + payload
    if size < 65_536:
        return struct.pack("!BBH", 0x80 | opcode, 126, size) + payload
    return struct.pack("!BBQ", 0x80 | opcode, 127, size) + payload


def close_frame(code: int, reason: str = "") -> bytes:
    """A CLOSE frame; code 0 sends an empty one."""
    return frame(CLOSE, struct.pack("!H", code) + reason.encode()[:123] if code else b"")


class WebSocketConnection(WSListener):
    """Binds one picows transport to one session."""

    def __init__(self, server: "Server", address: str):
        self._server, self._address = server, address
        self._limit = server.settings.max_message_bytes
        self._cap = server.settings.max_outbound_bytes
        self._fragments: list[bytes] | None = None
        self._fragment_bytes = 0
        self._control: deque[bytes] = deque()
        self._queued = self._closing = self._peer_closed = False
        self._held_bytes = self._pinged_ns = 0
        self.transport: asyncio.Transport | None = None
        self.session = Session(server.gateway, address, self._wake)

    # picows callbacks

    def on_ws_connected(self, transport: WSTransport) -> None:
        self.transport = transport.underlying_transport
        self._server.opened(self)

    def on_ws_disconnected(self, transport: WSTransport) -> None:
        self.transport = None
        self._server.lost(self)
        self.session.closed()

    def on_ws_frame(self, transport: WSTransport, received: WSFrame) -> None:
        kind = received.msg_type
        if self._peer_closed or (self._closing and kind != CLOSE):
            return
        if received.rsv1 or received.rsv2 or received.rsv3:
            self._fail(1002, "reserved bits set")
        elif kind == TEXT and received.fin and self._fragments is None:
            self._message(received.get_payload_as_bytes())
        elif kind in (TEXT, CONTINUATION):
            self._fragment(kind, received)
        elif kind == PING:
            self.session.last_in_ns = self.session.gateway.wall_ns()
            self._control.append(frame(PONG, received.get_payload_as_bytes()))
            self._wake()
        elif kind == PONG:
            self.session.last_in_ns = self.session.gateway.wall_ns()
        elif kind == CLOSE:
            self._peer_close(received)
        else:
            self._fail(1003, "text messages only")

    def _fragment(self, kind: int, received: WSFrame) -> None:
        if (kind == TEXT) != (self._fragments is None):
            self._fail(1002, "fragments out of order")
            return
        if self._fragments is None:
            self._fragments, self._fragment_bytes = [], 0
        payload = received.get_payload_as_bytes()
        self._fragment_bytes += len(payload)
        if self._fragment_bytes > self._limit or len(self._fragments) >= MAX_FRAGMENTS:
            self._fail(1009, "message too big")
            return
        self._fragments.append(payload)
        if received.fin:
            message, self._fragments = b"".join(self._fragments), None
            self._message(message)

    def _message(self, payload: bytes) -> None:
        try:
            payload.decode()
        except UnicodeDecodeError:
            self._fail(1007, "invalid UTF-8")
            return
        self.session.receive(payload)

    def _peer_close(self, received: WSFrame) -> None:
        self._peer_closed = True
        code = int(received.get_close_code())
        if self._closing and self.transport is not None:
            self.transport.close()
        self.session.close(code or 1000)

    def _fail(self, code: int, reason: str) -> None:
        self._fragments = None
        self.session.close(code, reason)

    # output

    def _wake(self) -> None:
        if not self._queued and self.transport is not None:
            self._queued = True
            self._server.queue.push(self)

    def collect(self) -> bytes:
        """Everything queued, as frames."""
        self._queued = False
        outbox = self.session.outbox
        parts = list(self._control)
        self._control.clear()
        parts.extend([frame(TEXT, message) for message in outbox])
        outbox.clear()
        if self.session.close_code and not self._closing:
            self._closing = True
            parts.append(close_frame(self.session.close_code, self.session.close_reason))
        data = b"".join(parts)
        self._held_bytes += len(data)
        if self._held_bytes + self.unsent_bytes() > self._cap:
            self.cut()
        return data

    def unsent_bytes(self) -> int:
        """Bytes written that the peer has not taken."""
        return 0 if self.transport is None else self.transport.get_write_buffer_size()

    def release(self, data: bytes) -> None:
        """Write what may leave; a peer that does not read is cut, a closing session ends here."""
        self._held_bytes -= len(data)
        transport = self.transport
        if transport is None or transport.is_closing():
            return
        transport.write(data)
        if self._closing and not self._held_bytes and not self._queued:
            if self._peer_closed:
                transport.close()
            else:
                asyncio.get_running_loop().call_later(_CLOSE_WAIT_SECONDS, transport.close)

    def cut(self) -> None:
        """End at once, without a goodbye the peer would not read."""
        if self.transport is not None:
            self._server.cut_slow += 1
            self.session.close(1013, "too slow")
            self._closing = True
            self.transport.abort()

    def ping_if_silent(self, now_ns: int, silence_ns: int) -> None:
        """Ask a silent peer for a sign of life, once per `silence_ns`."""
        if now_ns - max(self.session.last_in_ns, self._pinged_ns) > silence_ns:
            self._pinged_ns = now_ns
            self._control.append(frame(PING, b""))
            self._wake()
