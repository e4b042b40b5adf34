"""The administration socket, and what may listen where."""

import base64
import json
import socket
import stat
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec
import numpy as np
import pytest

from exchange import commands, config
from gateway.admin import AdminClient, AdminServer
from gateway.admin_operations import AdminError
from gateway.credentials import CredentialStore
from gateway.gateway import Insecure, require_secure
from tests.clients.venue import CONFIG, EXPIRY_NS, PERPETUAL, Venue

MARKS = {"index_price_e8": 1, "source_time_ns": 1}


@pytest.fixture(scope="module")
def admin_path(venue: Venue, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    path = tmp_path_factory.mktemp("a") / "admin.sock"
    server = AdminServer(venue.gateway, path)
    venue._await(server.start())
    yield path
    venue._await(server.stop())
    assert not path.exists()


@pytest.fixture
def admin(admin_path: Path) -> Iterator[AdminClient]:
    with AdminClient(admin_path) as client:
        yield client


def test_only_the_owner_may_connect(admin_path: Path) -> None:
    assert stat.S_IMODE(admin_path.stat().st_mode) == 0o600
    with pytest.raises(ValueError, match="too long"):
        AdminClient("/" + "x" * 200)


def test_an_account_from_creation_to_login(admin: AdminClient, venue: Venue) -> None:
    made = admin.call(
        "create_account", name="carol", deposits={"BTC": "1.5", "USDC": 100}, key={"scopes": ["trade:read"]}
    )
    (key,) = made["keys"]
    grant = venue.run(lambda: venue.gateway.auth.client_credentials(key["client_id"], key["client_secret"]))
    assert (grant.account_id, grant.scopes) == (made["account_id"], ("trade:read",))
    seen = admin.call("account", account="carol")
    assert {row["currency"]: row["balance"] for row in seen["summaries"]} == {"BTC": 1.5, "USDC": 100.0}
    admin.call("deposit", account=made["account_id"], currency="BTC", amount=0.5)
    admin.call("withdraw", account="carol", currency="BTC", amount="0.25")
    assert admin.call("account", account="carol")["summaries"][0]["balance"] == 1.75
    assert "client_secret" not in json.dumps(admin.call("list_keys"))
    assert admin.call("revoke_key", client_id=key["client_id"]) == "ok"
    assert admin.call("audit")["faults"] == []


@pytest.mark.parametrize(
    ("operation", "params", "reason"),
    [
        ("nothing", {}, "unknown_operation"),
        ("deposit", {"account": "carol"}, "bad_request"),
        ("deposit", {"account": "nobody", "currency": "BTC", "amount": 1}, "unknown_account"),
        ("deposit", {"account": "alice", "currency": "XRP", "amount": 1}, "unknown_currency"),
        ("deposit", {"account": "alice", "currency": "USDC", "amount": "0.0000001"}, "bad_amount"),
        ("deposit", {"account": "alice", "currency": "USDC", "amount": -1}, "amount_not_positive"),
        ("withdraw", {"account": "alice", "currency": "BTC", "amount": 1000}, "insufficient_withdrawable"),
        ("create_account", {"name": "alice"}, "account_exists"),
        ("set_instrument_state", {"name": "X", "state": "halted"}, "unknown_instrument"),
        (
            "update_marks",
            {"underlying": "BTC", "index_price_e8": 1, "source_time_ns": 1, "vols": "!"},
            "bad_payload",
        ),
        ("update_marks", {"underlying": "X", **MARKS}, "unknown_underlying"),
        ("create_key", {"account": "alice", "key": {"scopes": ["all"]}}, "bad_key"),
        ("revoke_key", {"client_id": "x"}, "unknown_key"),
    ],
)
def test_refusals_have_a_reason(admin: AdminClient, venue: Venue, operation: str, params: dict, reason: str) -> None:
    with pytest.raises(AdminError) as caught:
        admin.call(operation, **params)
    assert caught.value.reason == reason
    assert admin.call("status")["stopped"] is None


def test_marks_tick_status_and_instruments(admin: AdminClient, venue: Venue) -> None:
    pairs = venue.run(lambda: venue.core.engine.pairs(0))
    vols = np.array([(slot, 500_000) for slot, _, _ in pairs], dtype=commands.VOL_ENTRY)
    price_e8 = 100_500 * 10**8
    forwards = np.array([(EXPIRY_NS, price_e8)], dtype=commands.FORWARD_ENTRY)
    admin.call(
        "update_marks",
        underlying="BTC",
        index_price_e8=price_e8,
        source_time_ns=time.time_ns(),
        forwards=base64.b64encode(forwards.tobytes()).decode(),
        vols=base64.b64encode(vols.tobytes()).decode(),
    )
    assert venue.run(lambda: venue.core.engine.index_price(0)) == price_e8
    before = admin.call("status")
    admin.call("tick")
    after = admin.call("status")
    assert after["seq"] == before["seq"] + 1
    assert after["durable_seq"] >= before["seq"]
    assert after["marks_fresh"] == {"btc_usd": True}
    template = next(one for one in CONFIG.instruments if one.name == "BTC-27DEC30-100000-C")
    extra = msgspec.structs.replace(template, name="BTC-27DEC30-120000-C", strike_e8=120_000 * 10**8)
    assert admin.call("list_instruments", instruments=[msgspec.to_builtins(extra)]) == {"listed": 1}
    assert venue.run(lambda: "BTC-27DEC30-120000-C" in venue.gateway.listings.by_name)
    admin.call("set_instrument_state", name=PERPETUAL, state="halted")
    assert venue.run(lambda: venue.core.engine.market(venue.gateway.listing(PERPETUAL).slot).state) == "halted"
    admin.call("set_instrument_state", name=PERPETUAL, state="open")
    admin.call("endow_fund", currency="BTC", amount="2")
    assert admin.call("ledger")["BTC"]["fund"] == 2.0


def test_garbage_on_the_socket(admin_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as raw:
        raw.connect(str(admin_path))
        reader = raw.makefile("rb")
        for line in (b"{\n", b"[]\n", b'{"operation":5}\n', b"[" * 5000 + b"\n", b"\xff\n"):
            raw.sendall(line)
            assert json.loads(reader.readline())["error"]["reason"] == "bad_request"


def test_off_loopback_needs_tls_and_no_demo_keys(tmp_path: Path) -> None:
    store = CredentialStore(tmp_path)
    for host in ("127.0.0.1", "::1", "localhost", "127.8.8.8"):
        require_secure(host, store, None)
    for host in ("0.0.0.0", "::", "192.0.2.1", "venue.example"):
        with pytest.raises(Insecure, match="TLS"):
            require_secure(host, store, None)
    import ssl

    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    require_secure("0.0.0.0", store, tls)
    store.create(1, demo=True)
    with pytest.raises(Insecure, match="demo"):
        require_secure("0.0.0.0", store, tls)
    require_secure("127.0.0.1", store, None)


def test_configuration_types_are_the_engines() -> None:
    assert config.decode_config(config.encode(CONFIG)) == CONFIG
