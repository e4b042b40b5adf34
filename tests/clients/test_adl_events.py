"""Whoever watches its own risk hears that a position moved in the deleveraging queue."""

from pathlib import Path

from websockets.sync.client import connect

from tests.clients.test_margin import filled
from tests.clients.test_websocket import Client
from tests.clients.venue import INDEX, PERPETUAL, Venue


def test_a_change_of_place_is_told(tmp_path: Path) -> None:
    with Venue(tmp_path / "venue") as venue:
        venue.publish(INDEX)
        with connect(venue.ws, compression=None) as connection, connect(venue.ws, compression=None) as second:
            rich = Client(connection).login(venue.alice)
            poor = Client(second).login(venue.account("poor", btc="1", usdc="0"))
            rich.result("private/subscribe", channels=["user.liquidation"])
            filled(venue, rich, PERPETUAL, "buy", 100_000, INDEX)
            before = rich.result("private/get_positions")[0]
            assert (before["adl"], before["adl_rank"], before["adl_of"]) == (5, 1, 1)
            while not any(topic._places for topic in venue.gateway.channels._by_account[venue.alice.account_id]):
                poor.result("public/get_time")
            filled(venue, poor, PERPETUAL, "buy", 300_000, INDEX)  # more leverage: it stands in front
            told = rich.wait_for("user.liquidation")
            assert (told["type"], told["instrument_name"], told["previous_adl"]) == ("adl_changed", PERPETUAL, 5)
            after = rich.result("private/get_positions")[0]
            assert (told["adl"], told["adl_rank"], told["adl_of"]) == (2, 2, 2)
            assert after["adl"] == told["adl"] and told["adl_ahead"] == 300_000
