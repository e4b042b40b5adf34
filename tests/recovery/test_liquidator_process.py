"""The fund worker in a process of its own, over the administration socket: killed, superseded, waiting."""

import asyncio
import json
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from gateway.admin import AdminClient
from gateway.admin_operations import AdminError
from persistence.embedded_redis import EmbeddedRedis
from persistence.insurance_fund import InsuranceFund
from tests.redis_server import access, secured
from tests.serving import COMMAND, ROOT, Served, margrave, small_config

pytestmark = pytest.mark.redis
FUND = {"BTC": 100, "ETH": 2_000, "USDC": 5_000_000}
EXPONENTS = {"BTC": 10, "ETH": 10, "USDC": 6}


class Liquidator:
    """`margrave liquidator --json` as a process."""

    def __init__(self, data_dir: Path, *words: Any):
        line = [*COMMAND, "liquidator", "--json", "--admin", str(data_dir / "admin.sock"), *map(str, words)]
        self.process = subprocess.Popen(line, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def attached(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line, self.process.stderr and self.process.stderr.read()
        return json.loads(line)

    def end(self, number: signal.Signals = signal.SIGTERM) -> tuple[int, str]:
        if self.process.poll() is None:
            self.process.send_signal(number)
        _, errors = self.process.communicate(timeout=20)
        return self.process.returncode, errors

    def __enter__(self) -> "Liquidator":
        return self

    def __exit__(self, *error: object) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.communicate(timeout=20)


def claims(url: Any, venue_id: str) -> dict[str, int]:
    async def read() -> dict[str, int]:
        async with await InsuranceFund.open(url, "reader", 1) as fund:
            return {name: (await fund.state(name)).claims_minor.get(venue_id, 0) for name in FUND}

    return asyncio.run(read())


def wait_for(condition, seconds: float = 20.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def minor(coins: dict[str, float]) -> dict[str, int]:
    return {name: round(amount * 10 ** EXPONENTS[name]) for name, amount in coins.items()}


def test_it_works_for_a_venue_through_kills_and_restarts(tmp_path: Path) -> None:
    data_dir, file = tmp_path / "data", small_config(tmp_path / "venue.toml")
    words = ("--config", file, "--liquidator", "process")
    with EmbeddedRedis.start(tmp_path / "redis") as server:
        with Served(data_dir, *words) as venue:
            with Liquidator(data_dir, "--redis", server.url) as worker:
                first = worker.attached()
                venue_id = first["venue_id"]
                wait_for(lambda: claims(server.url, venue_id) == minor(FUND))
                # a later one takes over, and this one ends
                with Liquidator(data_dir, "--redis", server.url) as later:
                    assert later.attached()["epoch"] == first["epoch"] + 1
                    assert worker.process.wait(20) == 1
                    later.process.kill()
            with AdminClient(data_dir / "admin.sock") as admin:
                admin.call("endow_fund", currency="BTC", amount=7)
                with pytest.raises(AdminError) as caught:
                    admin.call("fund_next", attachment=1)
                assert caught.value.reason == "superseded"
            with Liquidator(data_dir, "--redis", server.url) as worker:
                epoch = worker.attached()["epoch"]
                wait_for(lambda: claims(server.url, venue_id)["BTC"] == 107 * 10**10)
                # the venue goes and comes back: the worker waits for it
                venue.kill()
                with Served(data_dir, *words) as again:
                    assert worker.attached()["epoch"] > epoch + 1_000
                    with AdminClient(data_dir / "admin.sock") as admin:
                        admin.call("endow_fund", currency="USDC", amount=3)
                    wait_for(lambda: claims(server.url, venue_id)["USDC"] == 5_000_003 * 10**6)
                    assert claims(server.url, venue_id) == minor({**FUND, "BTC": 107, "USDC": 5_000_003})
                    assert worker.end()[0] == 0
                    assert again.stop()[0] == 0
        assert claims(server.url, venue_id) == minor({**FUND, "BTC": 107, "USDC": 5_000_003})


def test_a_venue_with_its_own_worker_says_so(tmp_path: Path) -> None:
    data_dir = tmp_path / "data"
    with Served(data_dir, "--config", small_config(tmp_path / "venue.toml")) as venue:
        done = margrave("liquidator", "--admin", data_dir / "admin.sock", "--redis", "unix:///nowhere.sock")
        assert done.returncode == 1 and "--liquidator process" in done.stderr
        assert venue.stop()[0] == 0


def test_the_venue_s_own_worker_and_its_own_process_over_tls(tmp_path: Path) -> None:
    data_dir, file = tmp_path / "data", small_config(tmp_path / "venue.toml")
    with secured(tmp_path / "server") as (port, pem):
        reached = access(tmp_path / "server", port, pem)
        words = (
            "--redis", reached.url, "--redis-user", "margrave", "--redis-password-file", reached.password_file,
            "--redis-ca", reached.ca, "--redis-certificate", reached.certificate, "--redis-key", reached.key,
        )  # fmt: skip
        with Served(data_dir, "--config", file, *words) as venue:
            venue_id = json.loads((data_dir / "venue.json").read_text())["venue_id"]
            wait_for(lambda: claims(reached, venue_id) == minor(FUND))
            assert venue.stop()[0] == 0
        with Served(data_dir, "--config", file, "--liquidator", "process") as venue:
            with Liquidator(data_dir, *words) as worker:
                assert worker.attached()["fund"] == reached.url
                with AdminClient(data_dir / "admin.sock") as admin:
                    admin.call("endow_fund", currency="ETH", amount=1)
                wait_for(lambda: claims(reached, venue_id)["ETH"] == 2_001 * 10**10)
                assert worker.end(signal.SIGINT)[0] == 0
            assert venue.stop()[0] == 0
