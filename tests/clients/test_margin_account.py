"""`margrave margin explain ACCOUNT`: running and not, the engine's table, the exported case, both figures."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.serving import Served, margrave, small_config

pytestmark = pytest.mark.redis


def explained(data_dir: Path, *words: Any) -> dict[str, Any]:
    done = margrave("margin", "explain", *words, "--data-dir", data_dir, "--json")
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def bought(venue: Served, seller: str, buyer: str, name: str, share: float, amount: float, tick: float) -> None:
    """A trade at a share of the mark: whoever quotes better takes part of either order, and both are done."""
    mark = venue.call("public/ticker", instrument_name=name)["mark_price"]
    terms = {"instrument_name": name, "amount": amount, "price": round(round(mark * share / tick) * tick, 4)}
    venue.call("private/sell", seller, **terms)
    assert venue.call("private/buy", buyer, **terms)


def follows_volatility(venue: Served) -> None:
    """The shipped venue's rates follow volatility: vols are seen, and in a calm market nothing is announced."""
    for one in venue.call("public/get_margin_parameters")["underlyings"]:
        adaptive = one["adaptive"]
        assert adaptive["samples"] >= 1 and adaptive["terms"]["underlying"] == one["underlying"]
        assert 0.1 < adaptive["implied_vol"] < 2 and adaptive["realised_vol"] > 0
        assert (adaptive["wanted_scale"], one["margin_scale"]) == (1.0, 1.0)


def test_an_account_is_explained_running_and_not(tmp_path: Path) -> None:
    data_dir, case = tmp_path / "data", tmp_path / "case.json"
    with Served(data_dir, "--config", small_config(tmp_path / "venue.toml")) as venue:
        chain = venue.call("public/get_instruments", currency="BTC", kind="option")
        option = min(chain, key=lambda one: (abs(one["strike"] - 105_000), -one["expiration_timestamp"]))
        bought(venue, "maker", "demo", "BTC-PERPETUAL", 0.99, 2_000, 0.5)
        bought(venue, "demo", "maker", option["instrument_name"], 1.0, 1, 0.0005)
        running = explained(data_dir, "demo", "--export", case)
        follows_volatility(venue)
        venue.stop()
    assert running["source"]["account"] == "demo" and running["engine"]["margin_model"] == "segregated_pm"
    assert len(running["engine"]["portfolio"]["positions"]) == 2
    assert running["engine"]["portfolio"] == json.loads(case.read_text())
    agreed(running)
    (book,) = (one for one in running["engine"]["books"] if one["currency"] == "BTC")
    assert running["venue_sha256"]["BTC"] == book["parameters"]["sha256"]
    stopped = explained(data_dir, running["source"]["account_id"])
    agreed(stopped)
    assert stopped["source"]["seq"] >= running["source"]["seq"]
    again = margrave("margin", "explain", case, "--json")
    offline = json.loads(again.stdout)
    assert again.returncode == 0 and "engine" not in offline
    for part in ("totals", "comparison", "venue_sha256", "source"):
        assert offline[part] == running[part]
    text = margrave("margin", "explain", "demo", "--data-dir", data_dir, "--plot", tmp_path / "p.svg")
    assert text.returncode == 0 and "Venue and library" in text.stdout and "DIFFERS" not in text.stdout
    assert book["parameters"]["sha256"] in text.stdout and (tmp_path / "p.svg").exists()
    for model in ("cross_pm", "segregated_sm", "cross_sm"):
        name = f"of-{model}"
        made = margrave(
            "account", "create", name, "--data-dir", data_dir, "--margin-model", model, "--deposit", "BTC=2"
        )
        assert made.returncode == 0, made.stderr
        found = explained(data_dir, name)
        assert found["engine"]["margin_model"] == model
        if model == "cross_pm":  # the coin is a position of its own
            assert {row["figure"] for row in found["comparison"]} == {"balance", "initial", "maintenance"}
        agreed(found)


def test_isolated_positions_are_explained(tmp_path: Path) -> None:
    """Under their account, and each by the number of its bucket: with the library's prices beside."""
    data_dir = tmp_path / "data"
    with Served(data_dir, "--config", small_config(tmp_path / "venue.toml")) as venue:
        venue.call(
            "private/set_margin_mode", "demo", instrument_name="BTC-PERPETUAL", margin_mode="isolated", leverage=10
        )
        bought(venue, "demo", "maker", "BTC-PERPETUAL", 1.01, 3_000, 0.5)
        (own,) = explained(data_dir, "demo")["engine"]["isolated"]
        alone = explained(data_dir, own["account_id"], "--export", tmp_path / "bucket.json")
        wire = venue.call("private/get_margin_table", "demo", currency="BTC", simulated_positions={})["isolated"]
        text = margrave("margin", "explain", "demo", "--data-dir", data_dir).stdout
        venue.stop()
    assert own["lots"] == -300 and own["tiers"][own["tier"]]["above_usd"] == 0
    agreed(alone)
    assert {row["figure"] for row in alone["comparison"]} == {"initial", "maintenance"}
    (requirement,) = alone["requirements"]
    for name in ("liquidation_price", "bankruptcy_price"):
        assert requirement[name][0] == pytest.approx(alone["engine"]["isolated"][0][f"{name}_e8"] / 1e8, rel=1e-6)
    assert alone["engine"]["margin_model"] == "isolated" and "positions" not in alone["engine"]
    assert alone["venue_sha256"]["isolated"] == own["parameters"]["sha256"]
    assert own["parameters"]["sha256"][:16] in text
    assert wire[0]["instrument_name"] == "BTC-PERPETUAL" and wire[0]["tiers"] == own["tiers"]
    assert "liquidation price" in text and "BTC-PERPETUAL isolated" in text
    again = margrave("margin", "explain", tmp_path / "bucket.json", "--json")
    assert again.returncode == 0 and json.loads(again.stdout)["comparison"] == alone["comparison"]


def agreed(found: dict[str, Any]) -> None:
    """The library's figures within the rounding of the venue's, and some there."""
    rows = found["comparison"]
    assert any(row["venue"] for row in rows)
    for row in rows:
        assert abs(row["difference"]) <= row["rounding"], row


def test_what_cannot_be_explained_is_refused(tmp_path: Path) -> None:
    data_dir = tmp_path / "data"
    with Served(data_dir, "--config", small_config(tmp_path / "venue.toml")) as venue:
        done = margrave("margin", "explain", "nobody", "--data-dir", data_dir)
        assert (done.returncode, done.stdout) == (1, "") and "no account 'nobody'" in done.stderr
        venue.stop()
    done = margrave("margin", "explain", "demo")
    assert done.returncode == 2 and "demo: no such file; an account" in done.stderr
    (tmp_path / "x.toml").write_text("")
    done = margrave("margin", "explain", tmp_path / "x.toml", "--export", tmp_path / "y.json")
    assert done.returncode == 2 and "--export" in done.stderr
