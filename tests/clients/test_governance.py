"""Operators, overrides and announced margin through the administration socket; their state on the wire."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from websockets.sync.client import connect

from exchange import commands
from gateway import metrics
from gateway.admin import AdminClient, AdminServer
from gateway.admin_operations import AdminError
from tests.clients.test_websocket import Client
from tests.clients.venue import FUTURE, INDEX, PERPETUAL, Venue

E8 = 10**8


@pytest.fixture(scope="module")
def admin(venue: Venue, tmp_path_factory: pytest.TempPathFactory) -> Iterator[AdminClient]:
    path = tmp_path_factory.mktemp("g") / "admin.sock"
    server = AdminServer(venue.gateway, path)
    venue._await(server.start())
    with AdminClient(path) as client:
        yield client
    venue._await(server.stop())


@pytest.fixture(scope="module")
def ann(admin: AdminClient) -> dict[str, str]:
    return signer(admin.call("create_operator", name="ann"))


@pytest.fixture(scope="module")
def ben(admin: AdminClient, ann: dict[str, str]) -> dict[str, str]:
    return signer(admin.call("create_operator", name="ben"))


def signer(made: dict[str, str]) -> dict[str, str]:
    return {"name": made["name"], "secret": made["secret"]}


def refused(admin: AdminClient, operation: str, **params: object) -> str:
    with pytest.raises(AdminError) as caught:
        admin.call(operation, **params)
    return caught.value.reason


def test_nobody_becomes_two_alone(admin: AdminClient, ann: dict[str, str], ben: dict[str, str]) -> None:
    assert refused(admin, "create_operator", name="cat") == "two_operators_needed"
    assert refused(admin, "create_operator", name="cat", by=[ann, ann]) == "two_operators_needed"
    assert refused(admin, "create_operator", name="cat", by=[ann, ben | {"secret": "x"}]) == "unknown_operator"
    assert refused(admin, "create_operator", name="ann", by=[ann, ben]) == "operator_exists"
    cat = admin.call("create_operator", name="cat", by=[ann, ben])
    assert cat["operator"] == 3
    assert refused(admin, "remove_operator", name="ben", by=[ann]) == "two_operators_needed"
    admin.call("remove_operator", name="cat", by=[ann, ben])
    assert refused(admin, "propose_override", by=signer(cat), action="resume", underlying="BTC") == "unknown_operator"
    listed = admin.call("operators")
    assert [(one["name"], one["active"]) for one in listed] == [("ann", True), ("ben", True), ("cat", False)]
    assert "secret" not in str(listed)


def test_an_override_from_proposal_to_its_end(
    admin: AdminClient, venue: Venue, ann: dict[str, str], ben: dict[str, str]
) -> None:
    with connect(venue.ws) as connection:
        client = Client(connection)
        accepted = client.result("public/subscribe", channels=["mark_state.btc_usd", "mark_state.xrp_usd"])
        assert accepted == ["mark_state.btc_usd"]
        assert client.wait_for("mark_state.btc_usd")["stage"] == "live"
        asked = {"by": ann, "action": "set_index", "underlying": "BTC", "price": 90_000, "seconds": 60}
        proposal = admin.call("propose_override", **asked)["proposal"]
        client.wait_for("mark_state.btc_usd")
        assert refused(admin, "approve_override", by=ann, proposal=proposal) == "own_proposal"
        status = client.result("public/status")
        assert (status["locked"], status["locked_indices"]) == ("false", [])
        (waits,) = status["overrides"]["proposed"]
        assert (waits["action"], waits["price"], waits["underlying"]) == ("set_index", 90_000.0, "BTC")
        assert not {"proposer", "approver"} & set(waits)
        admin.call("approve_override", by=ben, proposal=proposal)
        assert client.wait_for("mark_state.btc_usd")["index_fixed"] is True
        assert client.result("public/get_index_price", index_name="btc_usd")["index_price"] == 90_000.0
        shown = admin.call("governance")["in_force"]
        assert [(one["proposer"], one["approver"]) for one in shown] == [("ann", "ben")]
        text = venue.run(lambda: metrics.text(venue.gateway)).decode()
        assert 'margrave_index_fixed{underlying="BTC"} 1' in text
        assert 'margrave_overrides{state="in_force"} 1' in text
        assert 'margrave_mark_stage{underlying="BTC"} 0' in text
        admin.call("revoke_override", by=ann, proposal=proposal)
        assert client.wait_for("mark_state.btc_usd")["index_fixed"] is False
    assert refused(admin, "approve_override", by=ben, proposal=proposal) == "unknown_proposal"
    update = commands.update_marks(0, INDEX * E8, 0, [], [])
    venue.run(lambda: venue.gateway.submit(update))


def test_a_stage_is_a_state_of_every_instrument(venue: Venue) -> None:
    """Marks become old while nobody sends any: venue time leaps, and an update brings them back."""
    sequencer, real = venue.gateway.sequencer, venue.gateway.sequencer.clock
    with connect(venue.ws) as connection:
        client = Client(connection)
        channel = "instrument.state.future.BTC"
        client.result("public/subscribe", channels=[channel, "mark_state.btc_usd"])
        client.wait_for("mark_state.btc_usd")
        sequencer.clock = lambda: real() + 3_601 * 10**9
        try:
            venue.run(lambda: venue.gateway.submit(commands.record(commands.CommandKind.TICK)))
            assert client.wait_for("mark_state.btc_usd")["stage"] == "halt"
            shut = {one["instrument_name"]: one["state"] for one in (client.wait_for(channel) for _ in range(2))}
            assert shut == {PERPETUAL: "marks_halt", FUTURE: "marks_halt"}
            status = client.result("public/status")
            assert (status["locked"], status["locked_indices"]) == ("true", ["btc_usd"])
            update = commands.update_marks(0, INDEX * E8, 0, [], [])
            venue.run(lambda: venue.gateway.submit(update))
            back = {one["instrument_name"]: one["state"] for one in (client.wait_for(channel) for _ in range(2))}
            assert back == {PERPETUAL: "started", FUTURE: "started"}
        finally:
            sequencer.clock = real


def test_announced_margin_is_seen_by_everybody(admin: AdminClient, venue: Venue, ann: dict[str, str]) -> None:
    effective_ns = admin.call("announce_margin", by=ann, underlying="BTC", scale=1.25)["effective_ns"]
    assert effective_ns > venue.gateway.engine.time_ns
    with connect(venue.ws) as connection:
        client = Client(connection)
        announced = client.result("public/status")["marks"][0]["announced_margin"]
        assert announced == {"scale": 1.25, "effective_timestamp": effective_ns // 10**6}
    admin.call("announce_margin", by=ann, underlying="BTC", scale=1.0)
    assert refused(admin, "announce_margin", by=ann, underlying="BTC", scale=1.0) == "nothing_to_override"


def test_operators_outlive_the_store(tmp_path: Path, ann: dict[str, str], venue: Venue) -> None:
    kept = type(venue.gateway.credentials)(venue.gateway.credentials._path.parent)
    assert [one.name for one in kept.operators][:2] == ["ann", "ben"]
    assert ann["secret"].encode() not in venue.gateway.credentials._path.read_bytes()
