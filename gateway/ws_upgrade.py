"""Hand-over of an upgraded HTTP connection to picows, the one place that uses its private protocol class.

picows parses the upgrade request itself, so a clean request is written into its buffer: only the members that
RFC 6455 section 4.2.1 asks for, whatever else the client sent. Pinned by `tests/unit/test_http_front.py`.
"""

import asyncio
import base64
import binascii
import logging
from collections.abc import Callable

from picows import WSAutoPingStrategy, WSListener, WSUpgradeRequest
from picows.picows import WSProtocol

_log = logging.getLogger("gateway.picows")
_log.setLevel(logging.CRITICAL)
_HANDSHAKE_SECONDS = 5
_READ_BUFFER_BYTES = 16 * 1024


class BadUpgrade(Exception):
    """The request is no acceptable WebSocket upgrade."""


def check(headers: dict[str, str]) -> str:
    """The Sec-WebSocket-Key of a good upgrade; BadUpgrade with the reason otherwise. Names are lower case."""
    if headers.get("upgrade", "").lower() != "websocket":
        raise BadUpgrade("unsupported upgrade")
    if "upgrade" not in [token.strip().lower() for token in headers.get("connection", "").split(",")]:
        raise BadUpgrade("Connection: Upgrade is missing")
    if headers.get("sec-websocket-version") != "13":
        raise BadUpgrade("Sec-WebSocket-Version must be 13")
    key = headers.get("sec-websocket-key", "")
    try:
        if len(base64.b64decode(key, validate=True)) != 16:
            raise BadUpgrade("bad Sec-WebSocket-Key")
    except (binascii.Error, ValueError):
        raise BadUpgrade("bad Sec-WebSocket-Key") from None
    return key


def hand_over(
    transport: asyncio.Transport,
    key: str,
    rest: bytes,
    listener: Callable[[], WSListener],
    max_frame_bytes: int,
) -> None:
    """Make `transport` a WebSocket; `rest` are bytes that followed the request."""

    def factory(request: WSUpgradeRequest) -> WSListener:
        return listener()

    protocol = WSProtocol(
        None,
        None,
        False,
        factory,
        _log,
        True,
        _HANDSHAKE_SECONDS,
        False,
        10,
        10,
        WSAutoPingStrategy.PING_WHEN_IDLE,
        False,
        max_frame_bytes,
        None,
        _READ_BUFFER_BYTES,
    )
    protocol.connection_made(transport)
    transport.set_protocol(protocol)
    request = (
        "GET / HTTP/1.1\r\nHost: venue\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        f"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n\r\n"
    )
    data = request.encode() + rest
    while data:
        room = protocol.get_buffer(-1)
        count = min(len(room), len(data))
        room[:count] = data[:count]
        data = data[count:]
        protocol.buffer_updated(count)
