"""A venue whose BTC is margined by `span16` and whose ETH by a grid of its own: served, traded on, explained."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.serving import Served, margrave, small_config

pytestmark = pytest.mark.redis

SETS = """
[parameters]
BTC = "span16"
ETH = "own.toml"
"""
OWN = """
model = "matrix"
name = "own"
version = 4
columns = [
    { move_ppm = -180_000, vol = "up" },
    { move_ppm = 0 },
    { move_ppm = 180_000, vol = "up" },
]
"""


def explained(data_dir: Path, account: str, *words: Any) -> str:
    done = margrave("margin", "explain", account, "--data-dir", data_dir, *words)
    assert done.returncode == 0, done.stderr
    return str(done.stdout)


def test_a_venue_under_span16(tmp_path: Path) -> None:
    data_dir, config = tmp_path / "data", small_config(tmp_path / "venue.toml", SETS)
    (tmp_path / "own.toml").write_text(OWN)
    with Served(data_dir, "--config", config) as venue:
        chain = venue.call("public/get_instruments", currency="BTC", kind="option")
        option = min(chain, key=lambda one: (abs(one["strike"] - 105_000), -one["expiration_timestamp"]))
        mark = venue.call("public/ticker", instrument_name=option["instrument_name"])["mark_price"]
        terms = {"instrument_name": option["instrument_name"], "amount": 1, "price": round(mark / 0.0005) * 0.0005}
        venue.call("private/buy", "maker", **terms)
        assert venue.call("private/sell", "demo", **terms)
        supposed = {"BTC-PERPETUAL": 10_000, option["instrument_name"]: -2}
        table = venue.call(
            "private/get_margin_table", "demo", currency="any", simulated_positions=supposed, add_positions=False
        )
        (book,) = (one for one in table["books"] if one["currency"] == "BTC")
        (entity,) = (one for one in table["entities"] if one["currency"] == "BTC")
        (part,) = entity["span16"]
        assert [book["grid"], book["scenarios"][15]["name"]] == ["span16", "-2 ranges, 35 % of it"]
        assert part["scan"][0] == max(0, *(-row["positions"] for row in book["scenarios"]))
        assert part["parameters"] == book["parameters"] and part["parameters"]["name"] == "span16"
        assert part["short_option_minimum"][0] == 2 * 10**8  # one per cent of two coins
        (change, *_) = venue.call("private/change_margin_model", "demo", margin_model="cross_pm", dry_run=True)
        assert change["new_state"]["maintenance_margin_rate"] > 0
        changed = venue.call("private/change_margin_model", "demo", margin_model="cross_pm")
        assert changed[0]["new_state"].keys() == change["new_state"].keys()
        text = explained(data_dir, "demo")
        for words in ("+1/3 range, vol up", "calendar charge", "net option value", "short-option minimum"):
            assert words in text
        venue.stop()
    found = json.loads(explained(data_dir, "demo", "--json"))
    assert found["engine"]["margin_model"] == "cross_pm" and found["model"] == "span16"
    assert found["venue_sha256"]["BTC"] == part["parameters"]["sha256"]
    # another set at a restart is refused by what differs
    (tmp_path / "own.toml").write_text(OWN.replace("180_000", "170_000"))
    with pytest.raises(RuntimeError, match=r"underlyings\[1\]\.matrix\.columns\[0\]\.move_ppm: -180000 -> -170000"):
        Served(data_dir, "--config", config)
    (tmp_path / "own.toml").write_text(OWN + "future_clamp = 'gains'\n")
    with pytest.raises(RuntimeError, match=r"parameters\.ETH: future_clamp: the engine does nothing with 'gains'"):
        Served(data_dir, "--config", config)
