"""Stress over the wire: `public/get_stress`, the channel, and the metrics page."""

import json
import re
import time
from typing import Any
from urllib.error import HTTPError
from urllib.request import urlopen

import pytest
from websockets.sync.client import connect

from gateway.metrics import for_caller
from tests.clients.venue import PERPETUAL, Venue


def call(venue: Venue, method: str, **params: Any) -> Any:
    query = "&".join(f"{name}={value}" for name, value in params.items())
    with urlopen(f"{venue.http}/api/v2/{method}?{query}") as answer:
        return json.loads(answer.read())["result"]


def trade(venue: Venue, amount: int) -> None:
    """Bob sells to alice at the index."""
    with connect(venue.ws) as socket:
        for account, side in ((venue.bob, "sell"), (venue.alice, "buy")):
            for method, params in (
                ("public/auth", {"grant_type": "client_credentials", "client_id": account.client_id,
                                 "client_secret": account.secret}),
                (f"private/{side}", {"instrument_name": PERPETUAL, "amount": amount, "price": 100_000}),
            ):  # fmt: skip
                socket.send(json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": params}))
                assert "result" in json.loads(socket.recv())


def fresh(venue: Venue) -> dict[str, Any]:
    """Figures of a sweep after now."""
    venue.run(lambda: setattr(venue.gateway.stress, "latest", []))
    time.sleep(0.6)
    (found,) = call(venue, "public/get_stress", underlying="BTC")
    return found


def test_cover_two_reverse_stress_and_the_map(venue: Venue) -> None:
    trade(venue, 3_000_000)
    alone = fresh(venue)
    # alice has ten coins and a million dollars apart: 30 coins long of BTC are bankrupt below -25 %
    assert alone["open_notional"] == 6_000_000
    rungs = {rung["move"]: rung for rung in alone["map"]}
    assert rungs[0.0]["same"] == {"below_maintenance": 0.0, "deficit": 0.0}
    assert rungs[-0.25]["same"]["below_maintenance"] == 3_000_000
    deficit = rungs[-0.33]["same"]["deficit"]
    assert deficit == pytest.approx(3_000_000 * 0.33 - 1_000_000 * 0.67, rel=0.01)
    assert alone["fund"] == 0 and alone["cover_2"]["covered"] is False
    # bob is short of them: at six times the price he lacks 15 million less his ten coins
    assert alone["cover_2"]["move"] == 5.0 and alone["cover_2"]["loss"] == pytest.approx(9_000_000, rel=0.01)
    # the first rung that leaves a deficit empties a fund of nothing; upwards it is bob who fails
    assert alone["reverse_stress"]["same"] in (-0.25, 0.33, 0.4, 0.5, 0.75)
    both = call(venue, "public/get_stress")
    assert [one["underlying"] for one in both] == ["BTC", "all"]
    assert both[1]["cover_2"] == both[0]["cover_2"]


def test_an_unknown_underlying_is_refused(venue: Venue) -> None:
    with pytest.raises(HTTPError) as refused:
        call(venue, "public/get_stress", underlying="DOGE")
    assert json.loads(refused.value.read())["error"]["code"] == -32602


def test_the_channel_tells_the_last_result_and_each_new_one(venue: Venue) -> None:
    with connect(venue.ws) as socket:
        names = ["stress.BTC", "stress.all", "stress.DOGE"]
        request = {"jsonrpc": "2.0", "id": 1, "method": "public/subscribe", "params": {"channels": names}}
        socket.send(json.dumps(request))
        assert json.loads(socket.recv())["result"] == names[:2]
        told: dict[str, list[dict[str, Any]]] = {}
        while sum(map(len, told.values())) < 4:
            message = json.loads(socket.recv(timeout=10))["params"]
            told.setdefault(message["channel"], []).append(message["data"])
    assert sorted(told) == ["stress.BTC", "stress.all"] or sorted(told) == ["stress.all", "stress.BTC"]
    for name, results in told.items():
        assert len(results) == 2
        assert all(one["underlying"] == name.partition(".")[2] for one in results)


def test_metrics_are_prometheus_text(venue: Venue) -> None:
    with urlopen(f"{venue.http}/metrics") as answer:
        assert answer.headers["Content-Type"].startswith("text/plain; version=0.0.4")
        lines = answer.read().decode().splitlines()
    samples = {}
    for line in lines:
        if not line.startswith("#"):
            name, value = re.fullmatch(r"([a-z_0-9]+(?:\{[^}]*\})?) (-?[0-9.e+-]+)", line).groups()
            samples[name] = float(value)
    assert samples["margrave_trades_total"] == venue.core.engine.counters().trades >= 1
    assert samples["margrave_accounts"] == 2
    assert samples["margrave_below_maintenance"] == 0
    assert samples['margrave_fund{currency="BTC"}'] == 0
    assert samples['margrave_cover_2_usd{underlying="all"}'] > 0
    assert samples['margrave_index_usd{underlying="BTC"}'] == 100_000
    assert {line.split()[2] for line in lines if line.startswith("# TYPE")} >= {"margrave_cover_2_usd"}


@pytest.mark.parametrize(
    ("address", "allowed"), [("127.0.0.1", True), ("::1", True), ("local", True), ("10.0.0.8", False), ("x", False)]
)
def test_metrics_are_for_the_loopback(address: str, allowed: bool) -> None:
    assert for_caller(address) is allowed
