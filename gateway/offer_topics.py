"""The channel of portfolios offered for sale."""

from typing import TYPE_CHECKING

from gateway.render_offers import offer_shown
from gateway.topics import Topic

if TYPE_CHECKING:
    from gateway.session import Session


class OffersTopic(Topic):
    """`portfolio_offers` (our own): offers as they come and end, those that stand on subscription."""

    def snapshot(self, session: "Session") -> None:
        for offer in self.gateway.offers.standing():
            self.emit_to(session, {"type": "snapshot", **offer_shown(self.gateway, offer)})
