"""`margrave serve` from outside: ready line, answers, clean stop, restart, refusals."""

import json
import signal
import stat
import time
from pathlib import Path

import pytest

from tests.serving import Served, margrave, small_config

pytestmark = pytest.mark.redis
PERPETUAL = "BTC-PERPETUAL"


def far_bid(venue: Served) -> dict[str, float]:
    """Parameters of a buy order that rests well below the market."""
    mark = venue.call("public/ticker", instrument_name=PERPETUAL)["mark_price"]
    return {"amount": 100, "price": round(mark * 0.9 * 2) / 2}


def test_ready_within_ten_seconds_with_the_full_population(tmp_path: Path) -> None:
    started = time.monotonic()
    with Served(tmp_path / "data", "--seed", "5") as venue:
        assert time.monotonic() - started < 10.0
        assert venue.ready.keys() == {"ws", "http", "data_dir", "keys", "pid"}
        assert venue.ready["pid"] == venue.process.pid
        assert Path(venue.ready["data_dir"]) == tmp_path / "data"
        names = [key["name"] for key in venue.ready["keys"]]
        assert names == ["demo", "maker", "taker", "liquidator"]
        chain = venue.call("public/get_instruments", currency="BTC", kind="option")
        assert len(chain) > 200
        ticker = venue.call("public/ticker", instrument_name=PERPETUAL)
        assert ticker["open_interest"] > 0  # the population holds positions
        assert ticker["mark_price"] == pytest.approx(100_000, rel=0.05)
        status, rest = venue.stop()
        assert (status, rest) == (0, "")
    done = margrave("verify", tmp_path / "data", "--json")
    findings = json.loads(done.stdout)
    assert done.returncode == 0, done.stderr
    assert findings["accounts"] == 205
    assert findings["conserved"] is True
    assert findings["checkpoints"] == 1
    assert len(findings["digest"]) == 64


def test_restart_keeps_orders_positions_and_time(tmp_path: Path) -> None:
    data_dir = tmp_path / "data"
    file = small_config(tmp_path / "venue.toml")
    with Served(data_dir, "--config", file) as venue:
        params = far_bid(venue)
        placed = venue.call("private/buy", "demo", instrument_name=PERPETUAL, label="kept", **params)
        sold = venue.call("private/sell", "maker", instrument_name=PERPETUAL, amount=40, price=params["price"])
        assert sold["order"]["average_price"] == params["price"]
        before = venue.call("public/get_time")
        keys = venue.ready["keys"]
        assert venue.stop(signal.SIGINT)[0] == 0
    with Served(data_dir, "--config", file) as venue:
        assert venue.ready["keys"] == keys
        found = venue.call("private/get_open_orders", "demo")
        assert [order["order_id"] for order in found] == [placed["order"]["order_id"]]
        assert found[0]["label"] == "kept"
        assert found[0]["price"] == params["price"]
        assert (found[0]["amount"], found[0]["filled_amount"]) == (100, 40)
        position = venue.call("private/get_position", "demo", instrument_name=PERPETUAL)
        assert position["size"] == 40
        assert venue.call("public/get_time") >= before
        assert venue.stop()[0] == 0


def test_a_changed_configuration_is_refused_and_named(tmp_path: Path) -> None:
    data_dir = tmp_path / "data"
    with Served(data_dir, "--config", small_config(tmp_path / "a.toml")) as venue:
        assert venue.stop()[0] == 0
    changed = small_config(tmp_path / "b.toml", "[liquidation]\nfee_ppm = 30000\n")
    done = margrave("serve", "--data-dir", data_dir, "--port", "0", "--config", changed)
    assert done.returncode == 2
    assert "liquidation.fee_ppm: 20000 -> 30000" in done.stderr
    assert done.stdout == ""
    other_seed = margrave("serve", "--data-dir", data_dir, "--port", "0", "--seed", "77")
    assert other_seed.returncode == 2
    assert "--seed" in other_seed.stderr
    too_fast = margrave("serve", "--data-dir", data_dir, "--port", "0", "--speed", "500")
    assert too_fast.returncode == 2
    assert "at most --speed 20" in " ".join(too_fast.stderr.split())


def test_off_loopback_is_refused_without_tls_and_says_how_to_make_keys(tmp_path: Path) -> None:
    done = margrave("serve", "--host", "0.0.0.0", "--port", "0", "--data-dir", tmp_path / "data")
    assert done.returncode == 2
    assert "margrave account create" in done.stderr
    assert not (tmp_path / "data").exists()


def test_one_data_directory_has_one_venue(tmp_path: Path) -> None:
    file = small_config(tmp_path / "venue.toml")
    with Served(tmp_path / "data", "--config", file) as venue:
        done = margrave("serve", "--data-dir", tmp_path / "data", "--port", "0")
        assert done.returncode == 2
        assert f"held by pid {venue.process.pid}" in done.stderr
        assert venue.call("public/test")["version"]


def test_accounts_are_made_beside_a_running_venue_and_offline(tmp_path: Path) -> None:
    data_dir = tmp_path / "data"
    file = small_config(tmp_path / "venue.toml")
    with Served(data_dir, "--config", file) as venue:
        done = margrave("account", "create", "ann", "--data-dir", data_dir, "--deposit", "BTC=1.25", "--json")
        made = json.loads(done.stdout)
        assert done.returncode == 0, done.stderr
        venue.ready["keys"].append({**made["keys"][0], "name": "ann"})
        summary = venue.call("private/get_account_summary", "ann", currency="BTC")
        assert summary["balance"] == 1.25
        again = margrave("account", "create", "ann", "--data-dir", data_dir)
        assert again.returncode == 1
        assert "account_exists" in again.stderr
        assert venue.stop()[0] == 0
    offline = margrave(
        *("account", "create", "ben", "--data-dir", data_dir, "--key", "ben-key", "--secret", "ben-secret"),
        *("--deposit", "USDC=10", "--margin-model", "cross_pm", "--json"),
    )
    assert offline.returncode == 0, offline.stderr
    assert json.loads(offline.stdout)["keys"][0]["client_id"] == "ben-key"
    for word, amounts in (("deposit", ("USDC=5", "BTC=1")), ("withdraw", ("USDC=5", "BTC=0.5"))):
        done = margrave("account", word, "ben", *amounts, "--data-dir", data_dir)
        assert done.returncode == 0, done.stderr
    refused = margrave("account", "withdraw", "ben", "BTC=7", "--data-dir", data_dir)
    assert refused.returncode == 1 and "insufficient_withdrawable" in refused.stderr
    with Served(data_dir) as venue:
        venue.ready["keys"].append({"name": "ben", "client_id": "ben-key", "client_secret": "ben-secret"})
        assert venue.call("private/get_account_summary", "ben", currency="USDC")["balance"] == 10.0
        busy = margrave("serve", "--port", venue.ready["http"].rpartition(":")[2])
        assert busy.returncode == 2 and "is in use" in busy.stderr
        assert venue.stop()[0] == 0


def test_an_override_takes_two_operators(tmp_path: Path) -> None:
    data_dir = tmp_path / "data"
    ann, ben = tmp_path / "ann.json", tmp_path / "ben.json"
    with Served(data_dir, "--config", small_config(tmp_path / "venue.toml")) as venue:
        for name, file in (("ann", ann), ("ben", ben)):
            done = margrave("operator", "create", name, "--data-dir", data_dir, "--file", file)
            assert done.returncode == 0, done.stderr
            assert stat.S_IMODE(file.stat().st_mode) == 0o600
            assert json.loads(file.read_text())["secret"] not in done.stdout + done.stderr
        asked = ("override", "propose", "set_index", "BTC", "--price", "99000", "--seconds", "600")
        done = margrave(*asked, "--data-dir", data_dir, "--by", ann, "--json")
        proposal = str(json.loads(done.stdout)["proposal"])
        assert margrave("override", "approve", proposal, "--data-dir", data_dir, "--by", ben).returncode == 0
        assert venue.call("public/get_index_price", index_name="btc_usd")["index_price"] == 99_000.0
        (override,) = venue.call("public/status")["overrides"]["in_force"]
        assert override["action"] == "set_index"
        listed = margrave("override", "list", "--data-dir", data_dir).stdout
        assert "set_index BTC 99,000 USD for 600 s until " in listed
        assert "by ann, approved by ben" in listed
        ann.chmod(0o644)
        open_to_all = margrave("override", "propose", "resume", "BTC", "--data-dir", data_dir, "--by", ann)
        assert open_to_all.returncode == 2 and "chmod 600" in open_to_all.stderr
        assert venue.stop()[0] == 0


def test_replay_of_recorded_data(tmp_path: Path, real_data) -> None:
    chain = real_data("options/deribit_options_snapshot_20260206T043012Z.csv.gz")
    index = real_data("crash/BTCUSD_PERP-1m-2025-10-10.zip")
    file = small_config(tmp_path / "venue.toml")
    with Served(
        tmp_path / "data",
        *("--config", file, "--feed", "replay", "--chain", chain, "--index", index, "--speed", "100"),
    ) as venue:
        first = venue.call("public/get_time")
        assert len(venue.call("public/get_instruments", currency="BTC", kind="option")) == 930
        time.sleep(1.0)
        second = venue.call("public/get_time")
        assert 50_000 < second - first < 200_000  # a hundred venue seconds in one
        assert venue.stop()[0] == 0
    with Served(tmp_path / "data", "--speed", "100") as venue:
        assert second <= venue.call("public/get_time") < second + 100_000  # time goes on where it stood
        assert venue.stop()[0] == 0
    assert margrave("verify", tmp_path / "data").returncode == 0
