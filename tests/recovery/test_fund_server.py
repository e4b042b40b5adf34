"""A venue's own fund server dies: it is started again with everything it answered, and the worker goes on."""

import json
import os
import signal
import time
from pathlib import Path

import pytest
import redis
from typer.testing import CliRunner

from gateway.admin import AdminClient
from gateway.cli_fund import app
from persistence.embedded_redis import socket_of
from tests.serving import Served, small_config

pytestmark = pytest.mark.redis


def report(data_dir: Path) -> dict:
    done = CliRunner().invoke(app, ["reconcile", "--data-dir", str(data_dir), "--json"])
    return json.loads(done.stdout) if done.exit_code == 0 else {}


@pytest.mark.parametrize("length", [0, 94])
def test_a_killed_server_comes_back(tmp_path_factory, length: int) -> None:
    """Also where its socket has to be in another place each time: the directory's path is too long for one."""
    root = tmp_path_factory.mktemp("s")
    data_dir = root / "d".ljust(length - len(str(root)) - 1, "d")
    with Served(data_dir, "--config", small_config(root / "venue.toml", "[capital]\nUSDC = 1_000\n")) as venue:
        with AdminClient(data_dir / "admin.sock") as admin:
            assert admin.call("ledger")["USDC"]["capital"] == 1_000
            for number in range(2):
                before = socket_of(data_dir / "redis")
                with redis.Redis(unix_socket_path=str(before)) as raw:
                    pid = raw.info()["process_id"]
                os.kill(pid, signal.SIGKILL)
                admin.call("endow_fund", currency="BTC", amount=number + 1)
                deadline = time.monotonic() + 15
                while not (found := report(data_dir)) or found["on_the_way"]:
                    assert time.monotonic() < deadline, (found, venue.errors())
                    time.sleep(0.1)
                assert (socket_of(data_dir / "redis") == before) == (length == 0)
            claim = found["currencies"]["BTC"]
            assert claim["fund_minor"] == claim["ledger_minor"] == 103 * 10**10
        shown = venue.call("public/get_default_waterfall")
        assert shown["USDC"] == {
            "ready": {"capital": 1_000, "fund": 5_000_000},
            "defaults": 0,
            "borne": {"capital": 0, "fund": 0, "deleveraged": 0},
        }
        assert venue.stop()[0] == 0
