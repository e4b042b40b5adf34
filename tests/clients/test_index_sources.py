"""An index composed of prices that come over the administration socket, pumped into a whole venue."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway import metrics
from gateway.admin import AdminClient, AdminServer
from gateway.admin_operations import AdminError
from gateway.feeds import ComposedFeed, ComposerTerms, SimFeed, SimParameters, SimUnderlying, Source
from gateway.venue_clock import VenueClock
from gateway.venue_feed import Pump
from tests.clients.venue import Venue

SECOND = 10**9
NAMES = ("alpha", "beta", "gamma")


class Sources:
    """The venue's feed, stepped by the test, and a connection for each source."""

    def __init__(self, venue: Venue, path: Path):
        engine = venue.gateway.engine
        terms = ComposerTerms(
            sources=tuple(Source(name=name, kind="socket") for name in NAMES), least=2, stale_ns=600 * SECOND
        )
        coin = SimUnderlying(name="BTC", start_price=100_000.0)
        start_ns = venue.gateway.sequencer.clock()
        self.feed = ComposedFeed(SimFeed(start_ns, SimParameters(underlyings=(coin,))), terms)
        self.venue, self.now = venue, start_ns
        self.pump = Pump(engine, self.feed, VenueClock(start_ns, 1.0), venue.gateway.sequencer.submit)
        venue.gateway.index_feed = self.feed
        self.sockets = {name: AdminClient(path) for name in NAMES}

    def say(self, **prices: float) -> None:
        for name, price in prices.items():
            self.sockets[name].call("source_price", underlying="BTC", source=name, price=price)

    def _advance(self) -> None:
        self.pump.advance(self.now)
        self.venue.gateway.sequencer.journal.kick()  # what the commit loop of a served venue does

    def index(self) -> float:
        """The venue's index after the next second of the feed."""
        self.now = max(self.now + SECOND, self.venue.gateway.sequencer.clock())
        self.venue.run(self._advance)
        return self.venue.gateway.engine.index_price(0) / 1e8


@pytest.fixture(scope="module")
def sources(venue: Venue, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sources]:
    path = tmp_path_factory.mktemp("s") / "admin.sock"
    server = AdminServer(venue.gateway, path)
    venue._await(server.start())
    with AdminClient(path) as client, pytest.raises(AdminError) as caught:
        client.call("source_price", underlying="BTC", source="alpha", price=1.0)
    assert caught.value.reason == "no_sources"
    made = Sources(venue, path)
    yield made
    for client in made.sockets.values():
        client.close()
    venue._await(server.stop())


def test_the_venue_follows_the_median_and_a_liar_moves_nothing(sources: Sources, venue: Venue) -> None:
    before = venue.gateway.engine.index_price(0) / 1e8
    sources.say(alpha=101_000)
    assert sources.index() == before  # one of three is too few
    sources.say(alpha=101_000, beta=101_100, gamma=101_040)
    assert sources.index() == 101_040.0
    sources.say(alpha=101_000, beta=101_100, gamma=140_000)
    assert sources.index() == 101_050.0
    states = {one["source"]: one["state"] for one in sources.sockets["alpha"].call("index_sources")}
    assert states == {"alpha": "agrees", "beta": "agrees", "gamma": "apart"}
    text = venue.run(lambda: metrics.text(venue.gateway)).decode()
    assert 'margrave_index_source{underlying="BTC",source="gamma"} 0.0' in text
    assert 'margrave_index_source{underlying="BTC",source="beta"} 1.0' in text
    sources.say(alpha=139_900, beta=101_100, gamma=140_000)  # now two say it
    assert sources.index() == 139_950.0


@pytest.mark.parametrize(
    ("params", "named"),
    [
        ({"underlying": "XRP", "source": "alpha", "price": 1.0}, "no underlying"),
        ({"underlying": "BTC", "source": "delta", "price": 1.0}, "no socket source"),
        ({"underlying": "BTC", "source": "alpha", "price": 0.0}, "positive"),
        ({"underlying": "BTC", "source": "alpha", "price": -5.0}, "positive"),
    ],
)
def test_a_price_that_cannot_be_is_refused_by_name(sources: Sources, params: dict[str, object], named: str) -> None:
    with pytest.raises(AdminError, match=named):
        sources.sockets["alpha"].call("source_price", **params)
