"""The venue as its clients see it: order to durable answer, saturation, fan-out, with the floors of the machine.

A venue runs as its own process on its own cores where there are several; the clients run here.
"""

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import uvloop

from loadtest import swarm
from loadtest.report import Figure, progress

START_S = 60.0
CLOSED_S, OPEN_S, SATURATED_S, FANOUT_S = 3.0, 4.0, 4.0, 3.0
OPEN_PER_SECOND = 400.0
CONNECTIONS, IN_FLIGHT = 8, 32
READERS, WRITER_IN_FLIGHT = 100, 8
ACK_ABOVE_FLOOR_US = 30.0
SATURATED_GOAL = 100_000.0
SYNCS = 400
ROOT = Path(__file__).resolve().parent.parent


def split_cores() -> tuple[set[int], set[int]]:
    """(cores of the server, cores of the clients); the same where there is only one."""
    if not hasattr(os, "sched_getaffinity"):
        return set(), set()
    allowed = sorted(os.sched_getaffinity(0))
    return (set(allowed[:-1]), {allowed[-1]}) if len(allowed) > 1 else (set(allowed), set(allowed))


@contextmanager
def process(command: list[str], cores: set[int], **options: Any) -> Iterator[subprocess.Popen[str]]:
    """A child on the given cores; ended with SIGTERM, and killed where it does not end."""
    own = os.sched_getaffinity(0) if cores else set()
    if cores:
        os.sched_setaffinity(0, cores)
    try:
        child = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, **options)
    finally:
        if cores:
            os.sched_setaffinity(0, own)
    try:
        yield child
    finally:
        child.send_signal(signal.SIGTERM)
        try:
            child.communicate(timeout=20)
        except subprocess.TimeoutExpired:
            child.kill()
            child.communicate()


def first_line(child: subprocess.Popen[str], seconds: float) -> str:
    """The first line that a child prints; RuntimeError where none comes."""
    if child.stdout is None:
        raise RuntimeError("the child has no standard output")
    deadline = time.monotonic() + seconds
    os.set_blocking(child.stdout.fileno(), False)
    line = ""
    while time.monotonic() < deadline and not line.endswith("\n"):
        line += child.stdout.readline() or ""
        if not line.endswith("\n"):
            if child.poll() is not None:
                raise RuntimeError(f"{child.args} ended with status {child.returncode}")
            time.sleep(0.02)
    if not line.endswith("\n"):
        raise RuntimeError(f"{child.args} was not ready within {seconds:.0f} s")
    return line


def sync_us(directory: Path) -> tuple[float, float]:
    """(p50, p99) of a 4 KiB write and fdatasync on a zero-filled file, as the journal's segments are."""
    path = directory / "sync.bin"
    page = os.urandom(4096)
    sync = getattr(os, "fdatasync", os.fsync)
    fd = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        os.pwrite(fd, bytes(SYNCS * len(page)), 0)
        sync(fd)
        found = []
        for number in range(SYNCS):
            started = time.perf_counter_ns()
            os.pwrite(fd, page, number * len(page))
            sync(fd)
            found.append(time.perf_counter_ns() - started)
    finally:
        os.close(fd)
        path.unlink()
    return percentiles_us(found)


def percentiles_us(waits_ns: list[int]) -> tuple[float, float]:
    """(p50, p99) in microseconds."""
    p50, p99 = np.percentile(np.array(waits_ns), (50, 99)) / 1_000.0
    return float(p50), float(p99)


async def measure_echo(url: str, requests: swarm.Requests) -> dict[str, Any]:
    """Latency and saturation of the bare WebSocket library."""
    wire = await swarm.connect(url)
    waits, _ = await swarm.closed_loop(wire, requests, 0.5 * CLOSED_S)
    opened = await swarm.open_loop(wire, requests, OPEN_PER_SECOND, 0.5 * OPEN_S)
    wires = [await swarm.connect(url) for _ in range(CONNECTIONS)]
    rate = await swarm.saturate(wires, requests, IN_FLIGHT, 0.5 * SATURATED_S)
    return {"closed": percentiles_us(waits), "open": percentiles_us(opened), "rate": rate}


async def measure_venue(ready: dict[str, Any]) -> tuple[dict[str, Any], swarm.Requests]:
    """Latency, saturation and fan-out of a running venue."""
    url = ready["ws"]
    logins = [(key["client_id"], key["client_secret"]) for key in ready["keys"]]
    wire = await swarm.connect(url, logins[0])
    name = "BTC-PERPETUAL"
    ticker = await wire.ask("public/ticker", instrument_name=name)
    price = round(0.9 * ticker["index_price"] * 2) / 2
    requests = swarm.Requests(name, 10.0, price)
    await swarm.closed_loop(wire, requests, 0.5)  # warm up
    waits, size = await swarm.closed_loop(wire, requests, CLOSED_S)
    opened = await swarm.open_loop(wire, requests, OPEN_PER_SECOND, OPEN_S)
    progress(f"gateway: {len(waits):,} answers in a closed loop")
    wires = [await swarm.connect(url, logins[number % len(logins)]) for number in range(CONNECTIONS)]
    busy = time.process_time()
    rate = await swarm.saturate(wires, requests, IN_FLIGHT, SATURATED_S)
    busy = (time.process_time() - busy) / (SATURATED_S + min(1.0, 0.25 * SATURATED_S) + 0.5)
    readers = [await swarm.connect(url, logins[number % len(logins)]) for number in range(READERS)]
    for reader in readers:
        await reader.ask("public/subscribe", channels=[f"book.{name}.raw"])
    fanned, orders = await swarm.fan_out(wire, readers, requests, WRITER_IN_FLIGHT, FANOUT_S)
    for one in (wire, *wires, *readers):
        if one.ended:
            raise RuntimeError("the venue closed a connection")
    found = {
        "closed": percentiles_us(waits),
        "open": percentiles_us(opened),
        "rate": rate,
        "client": busy,
        "fan": fanned,
        "fan orders": orders,
        "size": size,
    }
    return found, requests


def figures() -> dict[str, Figure]:
    """`gateway.ack.p50`, `gateway.ack.p99`, `gateway.saturated`, `gateway.fanout`."""
    server_cores, client_cores = split_cores()
    if client_cores:
        os.sched_setaffinity(0, client_cores)
    with tempfile.TemporaryDirectory(prefix="margrave-bench-") as place:
        directory = Path(place)
        sync = sync_us(directory)
        command = [sys.executable, "-m", "gateway", "serve", "--json", "--no-bots", "--port", "0"]
        command += ["--data-dir", str(directory / "venue")]
        progress("gateway: starting a venue")
        with process(command, server_cores, stderr=subprocess.DEVNULL) as venue:
            ready = msgspec.json.decode(first_line(venue, START_S))
            found, requests = uvloop.run(measure_venue(ready))
    progress("gateway: measuring the floor")
    with process([sys.executable, "-m", "loadtest.echo", str(found["size"])], server_cores) as echo:
        port = first_line(echo, START_S).strip()
        floor = uvloop.run(measure_echo(f"ws://127.0.0.1:{port}/", requests))
    cores = "venue and clients on cores of their own" if server_cores != client_cores else "one core for all"
    result = {}
    for place_in, percentile in enumerate(("p50", "p99")):
        bottom = floor["open"][place_in] + sync[place_in]
        result[f"gateway.ack.{percentile}"] = Figure(
            found["open"][place_in],
            "us",
            round(bottom + ACK_ABOVE_FLOOR_US, 1),
            {
                "floor: echo + fdatasync": bottom,
                "floor: echo": floor["open"][place_in],
                "floor: fdatasync": sync[place_in],
                "closed loop": found["closed"][place_in],
                "closed loop, echo": floor["closed"][place_in],
            },
            f"order to durable answer, one connection, {OPEN_PER_SECOND:.0f}/s by schedule; {cores}",
        )
    result["gateway.saturated"] = Figure(
        found["rate"],
        "orders/s",
        SATURATED_GOAL,
        {"floor: echo": floor["rate"]},
        f"order messages (placements and cancels), {CONNECTIONS} connections x {IN_FLIGHT} in flight; "
        f"the client was {found['client']:.0%} busy; {cores}",
    )
    result["gateway.fanout"] = Figure(
        found["fan"],
        "messages/s",
        None,
        {"order messages beside": found["fan orders"]},
        f"book changes to {READERS} connections; the reading client shares one core",
    )
    return result
