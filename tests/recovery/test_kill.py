"""kill -9 under load: what was acknowledged is there after the restart, and the journal proves itself."""

import json
import os
import random
import threading
import time
from pathlib import Path

import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection

from tests.serving import Served, margrave, small_config

pytestmark = pytest.mark.redis
PERPETUAL = "BTC-PERPETUAL"
WINDOW = 64
ROUNDS = 3
MAX_LIVE = 1_500
CHECKPOINT_EVERY = 500


class Load:
    """One connection that places and cancels resting orders, WINDOW at a time, and notes what was acknowledged."""

    def __init__(self, connection: ClientConnection, price: float, seed: int):
        self._connection, self._price, self._rng = connection, price, random.Random(seed)
        self._sent: dict[int, tuple[str, str]] = {}
        self.live: dict[str, tuple[float, str]] = {}
        """order_id -> (price, label) of acknowledged orders whose cancellation was not asked for"""
        self.cancelled: set[str] = set()
        self.acknowledged = 0
        self.refused: list[dict] = []
        self._next = 0
        self._thread = threading.Thread(target=self._run, daemon=True)

    def start(self) -> None:
        self._thread.start()

    def until(self, count: int) -> None:
        """Wait until so many commands have been acknowledged, however slow the machine is."""
        deadline = time.monotonic() + 60
        while self.acknowledged < count:
            assert time.monotonic() < deadline and self._thread.is_alive()
            time.sleep(0.01)

    def join(self) -> None:
        self._thread.join(20)
        assert not self._thread.is_alive()

    def _send(self) -> None:
        self._next += 1
        if self.live and self._rng.random() < (0.3 if len(self.live) < MAX_LIVE else 1.0):
            order_id = self._rng.choice(list(self.live))
            del self.live[order_id]  # whether it is still there at the end depends on the moment of the kill
            method, params, what = "private/cancel", {"order_id": order_id}, ("cancel", order_id)
        else:
            label = f"{os.getpid()}-{self._next}"
            price = self._price + self._rng.randrange(200) * 0.5
            params = {"instrument_name": PERPETUAL, "amount": 10, "price": price, "label": label}
            method, what = "private/buy", ("buy", label)
        self._sent[self._next] = what
        self._connection.send(json.dumps({"jsonrpc": "2.0", "id": self._next, "method": method, "params": params}))

    def _run(self) -> None:
        try:
            while True:
                while len(self._sent) < WINDOW:
                    self._send()
                self._take(json.loads(self._connection.recv(10)))
        except (ConnectionClosed, ConnectionError, OSError):
            pass

    def _take(self, answer: dict) -> None:
        kind, name = self._sent.pop(answer["id"])
        if "result" not in answer:
            self.refused.append(answer)
            return
        self.acknowledged += 1
        if kind == "cancel":
            self.cancelled.add(name)
        else:
            order = answer["result"]["order"]
            self.live[order["order_id"]] = (order["price"], name)


def check_journal(data_dir: Path) -> dict:
    done = margrave("verify", data_dir, "--json")
    findings = json.loads(done.stdout)
    assert done.returncode == 0, done.stderr
    assert findings["conserved"] is True
    assert findings["faults"] == []
    return findings


def test_nothing_acknowledged_is_lost(tmp_path: Path, seed: int) -> None:
    print(f"seed {seed}")
    rng = random.Random(seed)
    data_dir = tmp_path / "data"
    # each life is long enough to leave a checkpoint to be reproduced
    file = small_config(tmp_path / "venue.toml", f"checkpoint_every = {CHECKPOINT_EVERY}\n")
    live: dict[str, tuple[float, str]] = {}
    gone: set[str] = set()
    acknowledged = 0
    for life in range(ROUNDS + 1):
        with Served(data_dir, "--config", file) as venue:
            found = {
                order["order_id"]: (order["price"], order["label"])
                for order in venue.call("private/get_open_orders", "demo")
            }
            assert {order_id: found.get(order_id) for order_id in live} == live
            assert not gone & found.keys()
            if life == ROUNDS:
                break
            venue.call("private/cancel_all", "demo")
            mark = venue.call("public/ticker", instrument_name=PERPETUAL)["mark_price"]
            with venue.socket("demo") as connection:
                load = Load(connection, round(mark * 0.9), rng.randrange(1 << 30))
                load.start()
                load.until(CHECKPOINT_EVERY + WINDOW)
                time.sleep(rng.uniform(0.0, 0.6))
                venue.kill()
                load.join()
        assert load.refused == []
        assert load.acknowledged > WINDOW
        live, gone = dict(load.live), load.cancelled
        acknowledged += load.acknowledged
        check_journal(data_dir)
    findings = check_journal(data_dir)
    # each life begins a new stretch and loses its last one
    assert findings["checkpoints"] >= max(ROUNDS, acknowledged // CHECKPOINT_EVERY - ROUNDS - 1)
    print(f"{acknowledged} acknowledged commands, {findings['checkpoints']} checkpoints, seq {findings['seq']}")


def test_a_first_start_that_was_killed_begins_anew(tmp_path: Path) -> None:
    data_dir = tmp_path / "data"
    file = small_config(tmp_path / "venue.toml")
    with Served(data_dir, "--config", file) as venue:
        first = json.loads((data_dir / "venue.json").read_text())
        venue.kill()
    # as it stood before the last write of the first start
    (data_dir / "venue.json").write_text(json.dumps(first | {"populated": False}))
    with Served(data_dir, "--config", file) as venue:
        second = json.loads((data_dir / "venue.json").read_text())
        assert second["populated"] is True
        assert second["venue_id"] != first["venue_id"]  # nothing of the shared fund is claimed twice
        assert venue.call("public/test")["version"]
        assert venue.stop()[0] == 0
    assert check_journal(data_dir)["accounts"] == 17
