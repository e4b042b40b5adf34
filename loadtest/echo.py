"""`python -m loadtest.echo BYTES`: a WebSocket server that answers every message with BYTES bytes.

The floor of the gateway's figures: the same library, the same sizes, no venue behind it. Answers of one turn of
the loop leave in one write, as the gateway's do. Prints its port and runs until its standard input ends.
"""

import asyncio
import struct
import sys

import uvloop
from picows import WSFrame, WSListener, WSMsgType, WSTransport, WSUpgradeRequest, ws_create_server


def framed(payload: bytes) -> bytes:
    """One unmasked text frame."""
    if len(payload) < 126:
        return bytes((0x81, len(payload))) + payload
    return struct.pack("!BBH", 0x81, 126, len(payload)) + payload


class Echo(WSListener):
    """Answers with the request's own id and padding, so that clients can tell the answers apart."""

    def __init__(self, size: int, loop: asyncio.AbstractEventLoop):
        self._size, self._loop = size, loop
        self._out: list[bytes] = []
        self._transport: asyncio.Transport | None = None

    def on_ws_connected(self, transport: WSTransport) -> None:
        self._transport = transport.underlying_transport

    def on_ws_disconnected(self, transport: WSTransport) -> None:
        self._transport = None

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        if frame.msg_type != WSMsgType.TEXT:
            return
        payload = frame.get_payload_as_bytes()
        start = payload.index(b'"id":')
        head = b'{"jsonrpc":"2.0",' + payload[start : payload.index(b",", start)] + b',"order_id":"1","pad":"'
        if not self._out:
            self._loop.call_soon(self._flush)
        self._out.append(framed(head.ljust(self._size - 2, b"x") + b'"}'))

    def _flush(self) -> None:
        data, self._out = b"".join(self._out), []
        if self._transport is not None:
            self._transport.write(data)


async def serve(size: int) -> None:
    """Serve until standard input ends."""
    loop = asyncio.get_running_loop()

    def listener(request: WSUpgradeRequest) -> Echo:
        return Echo(size, loop)

    server = await ws_create_server(listener, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await loop.run_in_executor(None, sys.stdin.read)
    server.close()


if __name__ == "__main__":
    uvloop.run(serve(int(sys.argv[1])))
