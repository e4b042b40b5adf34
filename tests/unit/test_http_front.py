"""The port itself, by raw sockets: HTTP/1.1, upgrades, frames, limits, slow readers."""

import base64
import json
import os
import random
import socket
import ssl
import struct
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import picows
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from gateway.settings import Settings
from tests.clients.venue import Venue

TEXT, CONTINUATION, BINARY, CLOSE, PING, PONG = 1, 0, 2, 8, 9, 10
SETTINGS = Settings(max_message_bytes=4096, max_body_bytes=8192, max_header_bytes=4096, max_outbound_bytes=200_000)


@pytest.fixture(scope="module")
def venue(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Venue]:
    with Venue(tmp_path_factory.mktemp("front"), SETTINGS) as opened:
        yield opened


class Wire:
    """A raw TCP client."""

    def __init__(self, port: int):
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=5)
        self.buffer = b""

    def send(self, data: bytes) -> None:
        self.socket.sendall(data)

    def take(self, count: int) -> bytes:
        while len(self.buffer) < count:
            chunk = self.socket.recv(65_536)
            if not chunk:
                raise EOFError
            self.buffer += chunk
        taken, self.buffer = self.buffer[:count], self.buffer[count:]
        return taken

    def response(self) -> tuple[int, dict[str, str], bytes]:
        while b"\r\n\r\n" not in self.buffer:
            chunk = self.socket.recv(65_536)
            if not chunk:
                raise EOFError
            self.buffer += chunk
        head, _, self.buffer = self.buffer.partition(b"\r\n\r\n")
        lines = head.decode().split("\r\n")
        headers = {k.lower(): v for k, _, v in (line.partition(": ") for line in lines[1:])}
        return int(lines[0].split()[1]), headers, self.take(int(headers.get("content-length", 0)))

    def frame(self, opcode: int, payload: bytes, fin: bool = True, masked: bool = True, rsv: int = 0) -> None:
        first = (0x80 if fin else 0) | rsv << 4 | opcode
        size = len(payload)
        short = size if size < 126 else 126 if size < 65_536 else 127
        extra = b"" if size < 126 else struct.pack("!H" if size < 65_536 else "!Q", size)
        if not masked:
            self.send(bytes((first, short)) + extra + payload)
            return
        mask = os.urandom(4)
        body = bytes(byte ^ mask[i & 3] for i, byte in enumerate(payload))
        self.send(bytes((first, 0x80 | short)) + extra + mask + body)

    def read_frame(self) -> tuple[int, bytes]:
        first, second = self.take(2)
        assert first & 0x80, "the server never fragments"
        assert not second & 0x80, "the server never masks"
        size = second
        if size == 126:
            (size,) = struct.unpack("!H", self.take(2))
        elif size == 127:
            (size,) = struct.unpack("!Q", self.take(8))
        return first & 0xF, self.take(size)

    def call(self, method: str, **params: object) -> dict:
        self.frame(TEXT, json.dumps({"id": 1, "method": method, "params": params}).encode())
        return json.loads(self.read_frame()[1])

    def closed(self) -> bool:
        try:
            return self.socket.recv(65_536) == b""
        except ConnectionError:
            return True


UPGRADE = (
    "GET /ws/api/v2 HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: keep-alive, Upgrade\r\n"
    f"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {base64.b64encode(b'0' * 16).decode()}\r\n\r\n"
).encode()

CHUNKED = b"POST /api/v2 HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"


def get(target: str, extra: str = "") -> bytes:
    return f"GET {target} HTTP/1.1\r\nHost: x\r\n{extra}\r\n".encode()


def post(target: str, body: bytes, extra: str = "") -> bytes:
    return f"POST {target} HTTP/1.1\r\nHost: x\r\n{extra}Content-Length: {len(body)}\r\n\r\n".encode() + body


@pytest.fixture
def wire(venue: Venue) -> Iterator[Wire]:
    opened = Wire(venue.port)
    yield opened
    opened.socket.close()


@pytest.fixture
def ws(wire: Wire) -> Wire:
    wire.send(UPGRADE)
    status, headers, _ = wire.response()
    assert status == 101
    assert headers["upgrade"] == "websocket"
    return wire


def expect_close(ws: Wire, code: int) -> None:
    opcode, payload = ws.read_frame()
    assert opcode == CLOSE
    assert struct.unpack("!H", payload[:2])[0] == code
    assert ws.closed()


# HTTP


def test_keep_alive_and_pipelining_answer_in_order(wire: Wire) -> None:
    for _ in range(2):
        wire.send(get("/api/v2/public/get_time"))
        status, headers, body = wire.response()
        assert status == 200
        assert headers["content-type"] == "application/json"
        assert json.loads(body)["result"] > 0
    requests = [json.dumps({"id": n, "method": "public/test"}).encode() for n in range(5)]
    wire.send(b"".join(post("/api/v2", request) for request in requests))
    assert [json.loads(wire.response()[2])["id"] for _ in requests] == [0, 1, 2, 3, 4]


def test_a_request_in_single_bytes(wire: Wire) -> None:
    for byte in post("/api/v2", b'{"id":9,"method":"public/test"}'):
        wire.send(bytes((byte,)))
    assert json.loads(wire.response()[2])["id"] == 9


def test_connection_close_is_honoured(wire: Wire) -> None:
    wire.send(get("/api/v2/public/test", "Connection: close\r\n"))
    assert wire.response()[0] == 200
    assert wire.closed()


def test_chunked_bodies_and_expect(wire: Wire) -> None:
    wire.send(CHUNKED)
    wire.send(b'a\r\n{"id":4,"m\r\n15\r\nethod":"public/test"}\r\n0\r\n\r\n')
    assert json.loads(wire.response()[2])["id"] == 4
    body = b'{"id":5,"method":"public/test"}'
    wire.send(post("/api/v2", body, "Expect: 100-continue\r\n")[: -len(body)])
    assert wire.response()[0] == 100
    wire.send(body)
    assert json.loads(wire.response()[2])["id"] == 5


@pytest.mark.parametrize(
    ("request_bytes", "status", "code"),
    [
        (get("/nowhere"), 404, None),
        (get("/api/v2"), 404, None),
        (b"DELETE /api/v2/public/test HTTP/1.1\r\nHost: x\r\n\r\n", 405, None),
        (post("/api/v2", b"{"), 400, -32700),
        (post("/api/v2", b"[]"), 400, -32600),
        (post("/api/v2", b'{"method":"public/nothing"}'), 400, -32601),
        (get("/api/v2/public/ticker"), 400, -32602),
        (get("/api/v2/public/ticker?instrument_name=NOPE"), 400, -32602),
        (get("/api/v2/private/get_positions"), 400, 13009),
        (get("/api/v2/public/subscribe?channels=[]"), 400, 10030),
        (get("/api/v2/public/test", "Authorization: Bearer x\r\n"), 400, 13009),
    ],
)
def test_http_errors_leave_the_connection_usable(
    wire: Wire, request_bytes: bytes, status: int, code: int | None
) -> None:
    wire.send(request_bytes)
    found, _, body = wire.response()
    assert found == status
    if code is not None:
        answer = json.loads(body)
        assert answer["error"]["code"] == code
        assert "result" not in answer
    wire.send(get("/api/v2/public/test"))
    assert wire.response()[0] == 200


@pytest.mark.parametrize(
    ("request_bytes", "status"),
    [
        (b"nonsense\r\n\r\n", 400),
        (get("/api/v2/public/test", f"X: {'y' * 5000}\r\n"), 431),
        (get("/api/v2/public/test?" + "a" * 5000), 431),
        (b"POST /api/v2 HTTP/1.1\r\nHost: x\r\nContent-Length: 9999\r\n\r\n", 413),
        (
            b"POST /api/v2 HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n2328\r\n" + b"x" * 9000,
            413,
        ),
        (UPGRADE.replace(b"Version: 13", b"Version: 8"), 400),
        (UPGRADE.replace(b"Sec-WebSocket-Key: ", b"Sec-WebSocket-Key: x"), 400),
        (UPGRADE.replace(b"/ws/api/v2", b"/elsewhere"), 404),
        (UPGRADE.replace(b"websocket", b"h2c"), 400),
    ],
)
def test_bad_http_is_answered_and_cut(wire: Wire, request_bytes: bytes, status: int) -> None:
    wire.send(request_bytes)
    assert wire.response()[0] == status
    assert wire.closed()


def test_timeouts_and_connection_limit(tmp_path: Path) -> None:
    settings = Settings(header_seconds=0.2, keep_alive_seconds=0.2, max_connections=3)
    with Venue(tmp_path, settings) as venue:
        half, idle = Wire(venue.port), Wire(venue.port)
        half.send(b"GET /api/v2/public/te")
        idle.send(get("/api/v2/public/test"))
        assert idle.response()[0] == 200
        assert half.response()[0] == 408
        assert half.closed()
        assert idle.closed()
        keep = [Wire(venue.port) for _ in range(3)]
        for connection in keep:
            connection.send(UPGRADE)
            assert connection.response()[0] == 101
        over = Wire(venue.port)
        assert over.response()[0] == 503
        assert over.closed()
        keep[0].socket.close()
        deadline = time.monotonic() + 5
        while venue.run(lambda: venue.gateway.server.connections) > 2:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        again = Wire(venue.port)
        again.send(get("/api/v2/public/test"))
        assert again.response()[0] == 200


@pytest.mark.parametrize("seed", range(3))
def test_mutilated_traffic_harms_nobody(venue: Venue, seed: int) -> None:
    rng = random.Random(seed)
    body = post("/api/v2", b'{"id":1,"method":"public/test"}')
    frames = UPGRADE + bytes((0x81, 0x85)) + b"abcdhello" + bytes((0x88, 0x80)) + b"abcd"
    for _ in range(60):
        data = bytearray(rng.choice([body, frames, body + frames, get("/api/v2/public/get_instruments") * 3]))
        for _ in range(rng.randint(1, 6)):
            place = rng.randrange(len(data))
            if rng.random() < 0.5:
                data[place] = rng.randrange(256)
            else:
                del data[place : place + rng.randint(1, 20)]
            data = data or bytearray(b"x")
        wire = Wire(venue.port)
        try:
            wire.send(data[: rng.randint(1, len(data))])
            wire.send(data)
        except ConnectionError:
            pass
        wire.socket.close()
    fresh = Wire(venue.port)
    fresh.send(get("/api/v2/public/test"))
    assert fresh.response()[0] == 200
    assert venue.faults == []


# upgrades and frames


def test_upgrade_on_a_later_request_with_answers_pending(wire: Wire) -> None:
    wire.send(get("/api/v2/public/test") + get("/api/v2/public/test") + UPGRADE)
    assert [wire.response()[0] for _ in range(3)] == [200, 200, 101]
    assert wire.call("public/test")["result"]["version"]


def test_first_frame_in_the_same_segment(wire: Wire) -> None:
    payload = b'{"id":7,"method":"public/test"}'
    wire.send(UPGRADE + bytes((0x81, 0x80 | len(payload))) + b"\0\0\0\0" + payload)
    assert wire.response()[0] == 101
    assert json.loads(wire.read_frame()[1])["id"] == 7


def test_fragments_with_a_ping_between(ws: Wire) -> None:
    ws.frame(TEXT, b'{"id":3,"met', fin=False)
    ws.frame(CONTINUATION, b'hod":"publ', fin=False)
    ws.frame(PING, b"hello")
    ws.frame(CONTINUATION, b'ic/test"}')
    assert ws.read_frame() == (PONG, b"hello")
    assert json.loads(ws.read_frame()[1])["id"] == 3


def test_a_long_answer_uses_a_long_header(ws: Wire) -> None:
    answer = ws.call("public/get_instruments")
    assert len(answer["result"]) >= 2


@pytest.mark.parametrize(
    ("frames", "code"),
    [
        ([(TEXT, b'"\xff"', True)], 1007),
        ([(TEXT, b'"\xc3', False), (CONTINUATION, b'("', True)], 1007),
        ([(BINARY, b"x", True)], 1003),
        ([(CONTINUATION, b"x", True)], 1002),
        ([(TEXT, b"a", False), (TEXT, b"b", True)], 1002),
        ([(TEXT, b"x" * 5000, True)], 1009),
        ([(TEXT, b"x" * 3000, False), (CONTINUATION, b"x" * 3000, True)], 1009),
        ([(0x3, b"", True)], 1002),
        ([(PING, b"x" * 126, True)], 1002),
        ([(PING, b"x", False)], 1002),
    ],
)
def test_bad_frames_end_the_connection(ws: Wire, frames: list[tuple[int, bytes, bool]], code: int) -> None:
    for opcode, payload, fin in frames:
        ws.frame(opcode, payload, fin)
    expect_close(ws, code)


def test_unmasked_and_reserved_bits(venue: Venue) -> None:
    for rsv, masked in ((0, False), (4, True)):
        ws = Wire(venue.port)
        ws.send(UPGRADE)
        ws.response()
        ws.frame(TEXT, b"{}", masked=masked, rsv=rsv)
        expect_close(ws, 1002)


def test_fragments_split_over_a_character(ws: Wire) -> None:
    text = '{"id":"é","method":"public/test"}'.encode()
    cut = text.index(b"\xc3") + 1
    ws.frame(TEXT, text[:cut], fin=False)
    ws.frame(CONTINUATION, text[cut:])
    assert json.loads(ws.read_frame()[1])["id"] == "é"


@pytest.mark.parametrize(("payload", "code"), [(struct.pack("!H", 1000) + b"bye", 1000), (b"", 1000)])
def test_close_is_answered(ws: Wire, payload: bytes, code: int) -> None:
    ws.frame(CLOSE, payload)
    expect_close(ws, code)


def test_answers_queued_before_a_close_still_arrive(ws: Wire) -> None:
    ws.frame(TEXT, b'{"id":1,"method":"public/test"}')
    ws.frame(CLOSE, struct.pack("!H", 1000))
    assert json.loads(ws.read_frame()[1])["id"] == 1
    expect_close(ws, 1000)


def test_bad_json_is_answered_not_cut(ws: Wire) -> None:
    ws.frame(TEXT, b"{")
    assert json.loads(ws.read_frame()[1])["error"]["code"] == -32700
    assert ws.call("public/test")["result"]


def test_a_reader_that_does_not_read_is_cut(venue: Venue) -> None:
    before = venue.run(lambda: venue.gateway.server.cut_slow)
    ws = Wire(venue.port)
    ws.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    ws.send(UPGRADE)
    ws.response()
    ws.socket.settimeout(0.2)
    request = b'{"id":1,"method":"public/get_instruments"}'
    deadline = time.monotonic() + 30
    try:
        while venue.run(lambda: venue.gateway.server.cut_slow) == before:
            assert time.monotonic() < deadline, "never cut"
            for _ in range(50):
                ws.frame(TEXT, request)
    except (ConnectionError, TimeoutError):
        pass
    assert venue.run(lambda: venue.gateway.server.cut_slow) == before + 1
    fresh = Wire(venue.port)
    fresh.send(get("/api/v2/public/test"))
    assert fresh.response()[0] == 200


def test_nothing_leaves_before_it_is_durable(venue: Venue) -> None:
    trader, reader = Wire(venue.port), Wire(venue.port)
    for wire in (trader, reader):
        wire.send(UPGRADE)
        wire.response()
    account = venue.alice
    trader.call(
        "public/auth",
        grant_type="client_credentials",
        client_id=account.client_id,
        client_secret=account.secret,
    )
    reader.call("public/subscribe", channels=["quote.BTC-PERPETUAL"])
    reader.read_frame()
    venue.stall(True)
    try:
        params = {"instrument_name": "BTC-PERPETUAL", "amount": 10, "price": 90_000}
        trader.frame(TEXT, json.dumps({"id": 5, "method": "private/buy", "params": params}).encode())
        deadline = time.monotonic() + 5
        while venue.run(lambda: venue.core.sequencer.held) == 0:
            assert time.monotonic() < deadline
        http = Wire(venue.port)
        http.send(get("/api/v2/public/get_order_book?instrument_name=BTC-PERPETUAL"))
        for wire in (trader, reader, http):
            wire.socket.settimeout(0.1)
            with pytest.raises(TimeoutError):
                wire.take(1)
            wire.socket.settimeout(5)
    finally:
        venue.stall(False)
    assert json.loads(trader.read_frame()[1])["result"]["order"]["order_state"] == "open"
    assert json.loads(reader.read_frame()[1])["params"]["data"]["best_bid_price"] == 90_000.0
    assert json.loads(http.response()[2])["result"]["bids"] == [[90_000.0, 10.0]]
    trader.call("private/cancel_all")


def test_tls_carries_both(tmp_path: Path) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .sign(key, hashes.SHA256())
    )
    pem = tmp_path / "venue.pem"
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    pem.write_bytes(private + certificate.public_bytes(Encoding.PEM))
    served = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    served.load_cert_chain(pem)
    trusted = ssl.create_default_context(cafile=str(pem))
    with Venue(tmp_path / "venue", tls=served) as venue:
        wire = Wire(venue.port)
        wire.socket = trusted.wrap_socket(wire.socket, server_hostname="localhost")
        wire.send(get("/api/v2/public/test"))
        assert wire.response()[0] == 200
        wire.send(UPGRADE)
        assert wire.response()[0] == 101
        assert len(wire.call("public/get_instruments")["result"]) == 5


def test_stop_says_goodbye(tmp_path: Path) -> None:
    venue = Venue(tmp_path)
    ws = Wire(venue.port)
    ws.send(UPGRADE)
    ws.response()
    venue.close()
    opcode, payload = ws.read_frame()
    assert (opcode, struct.unpack("!H", payload[:2])[0]) == (CLOSE, 1001)


def test_the_picows_hook_is_the_pinned_one() -> None:
    """`gateway/ws_upgrade.py` builds picows' private class by position: look again at any new version."""
    from picows.picows import WSProtocol

    assert picows.__version__ == "2.3.1"
    assert {"connection_made", "get_buffer", "buffer_updated", "connection_lost"} <= set(dir(WSProtocol))


def test_address_limit_of_the_deribit_profile(tmp_path: Path) -> None:
    settings = msgspec.structs.replace(Settings(), rate_profile="deribit")
    with Venue(tmp_path, settings) as venue:
        held = []
        for _ in range(32):
            held.append(Wire(venue.port))
            held[-1].send(get("/api/v2/public/test"))
            assert held[-1].response()[0] == 200
        over = Wire(venue.port)
        assert over.response()[0] == 429
        assert over.closed()
