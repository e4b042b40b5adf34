"""Channels that speak whenever what they say has changed: best prices, funding."""

from typing import TYPE_CHECKING, Any

from gateway import render_market
from gateway.listing import Listing
from gateway.topics import TickerTopic, Topic
from gateway.units import E8, ms

if TYPE_CHECKING:
    from gateway.gateway import Gateway
    from gateway.session import Session


class ChangeTopic(Topic):
    """Tells `data`, with the time, whenever it is not what was told last."""

    _last: dict[str, Any] | None = None

    def data(self) -> dict[str, Any]:
        """What is told, without the time."""
        raise NotImplementedError

    def _dated(self, data: dict[str, Any]) -> dict[str, Any]:
        return {"timestamp": ms(self.gateway.engine.time_ns), **data}

    def snapshot(self, session: "Session") -> None:
        data = self.data()
        if self._last is None:  # of what others have not heard yet a newcomer takes nothing away
            self._last = data
        self.emit_to(session, self._dated(data))

    def flush(self) -> None:
        data = self.data()
        if data != self._last:
            self._last = data
            self.emit(self._dated(data))


class QuoteTopic(ChangeTopic):
    """`quote.I`: best bid and ask, whenever one of them changes."""

    def __init__(self, gateway: "Gateway", name: str, listing: Listing):
        super().__init__(gateway, name)
        self.listing = listing

    def data(self) -> dict[str, Any]:
        """Best prices and amounts."""
        best = render_market.best(self.listing, self.gateway.engine.market(self.listing.slot))
        return {"instrument_name": self.listing.name, **best}


class FundingTopic(ChangeTopic, TickerTopic):
    """`perpetual.I.{interval}`: the funding rate per eight hours and the index, whenever one of them changes."""

    def data(self) -> dict[str, Any]:
        """Rate and index."""
        market = self.gateway.engine.market(self.listing.slot)
        return {"interest": market.funding_rate_e12 / 10**12, "index_price": market.index_price_e8 / E8}
