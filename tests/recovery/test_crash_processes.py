"""A falling market with venue, fund worker and fund server as three processes, each killed with kill -9 at random."""

import json
import os
import signal
import time
from pathlib import Path

import pytest
from typer.testing import CliRunner

from gateway.admin import AdminClient
from gateway.cli_fund import app
from persistence.embedded_redis import EmbeddedRedis
from tests.recovery.test_crash import CONFIG
from tests.recovery.test_liquidator_process import Liquidator
from tests.serving import Served, margrave

pytestmark = [pytest.mark.redis, pytest.mark.full]
ROUNDS = 12


class Three:
    """The processes, and new ones for those that died."""

    def __init__(self, root: Path):
        self.root, self.data_dir, self.file = root, root / "data", root / "venue.toml"
        self.file.write_text(CONFIG)
        self.server = EmbeddedRedis.start(root / "redis")
        self.serve()
        self.work()

    def serve(self) -> None:
        words = ("--config", self.file, "--bots", "--seed", "8", "--liquidator", "process")
        self.venue = Served(self.data_dir, *words)

    def work(self) -> None:
        self.worker = Liquidator(self.data_dir, "--redis", self.server.url)

    def kill(self, which: str) -> None:
        if which in ("venue", "all"):
            self.venue.kill()
        if which in ("worker", "all"):
            self.worker.process.kill()
            self.worker.process.communicate(timeout=20)
        if which in ("server", "all"):
            os.kill(self.server.pid, signal.SIGKILL)
            self.server.stop()
            time.sleep(0.5)
            self.server = EmbeddedRedis.start(self.root / "redis")
        if which in ("venue", "all"):
            self.venue.__exit__()
            self.serve()
        if which in ("worker", "all"):
            self.work()

    def status(self) -> dict:
        with AdminClient(self.data_dir / "admin.sock") as admin:
            return {**admin.call("status")["counters"], "leases": len(admin.call("leases"))}

    def end(self) -> None:
        self.worker.__exit__()
        self.venue.__exit__()
        self.server.stop()


def test_three_processes_through_kills_agree_to_the_unit(tmp_path: Path, rng, history_note, seed) -> None:
    three = Three(tmp_path)
    try:
        for _ in range(ROUNDS):
            time.sleep(float(rng.uniform(0.2, 2.0)))
            three.kill(str(rng.choice(["venue", "worker", "worker", "server", "server", "all"])))
        deadline = time.monotonic() + 240
        while (counters := three.status())["auctions_open"] or counters["leases"] or counters["auctions_closed"] < 10:
            assert time.monotonic() < deadline, counters
            assert three.worker.process.poll() is None, three.worker.end()
            time.sleep(0.3)
        done = CliRunner().invoke(
            app, ["reconcile", "--redis", three.server.url, "--admin", str(three.data_dir / "admin.sock"), "--json"]
        )
        report = json.loads(done.stdout)
        assert done.exit_code == 0, report
        history_note(f"three processes, seed {seed}: {ROUNDS} kills, {counters['auctions_closed']} auctions closed")
        assert three.venue.stop()[0] == 0, three.venue.errors()
        verified = margrave("verify", three.data_dir, "--json")
        assert verified.returncode == 0 and json.loads(verified.stdout)["conserved"], verified.stderr
    finally:
        three.end()
