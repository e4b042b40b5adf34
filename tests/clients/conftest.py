"""One venue per test module."""

from collections.abc import Iterator

import pytest

from tests.clients.venue import Venue


@pytest.fixture(scope="module")
def venue(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Venue]:
    with Venue(tmp_path_factory.mktemp("venue")) as opened:
        yield opened
