"""Channel names: which topic a name means."""

import re
from typing import TYPE_CHECKING

from gateway.archive_prices import RESOLUTION_WORDS
from gateway.change_topics import FundingTopic, QuoteTopic
from gateway.history_topics import BookOrdersTopic, ChartTopic
from gateway.mark_topics import MarkStateTopic
from gateway.offer_topics import OffersTopic
from gateway.stress import JOINT
from gateway.topics import (
    INTERVALS,
    AuctionsTopic,
    BookTopic,
    DepthTopic,
    IndexTopic,
    StateTopic,
    StressTopic,
    TickerTopic,
    Topic,
    TradesTopic,
)
from gateway.user_topics import (
    ChangesTopic,
    ComboTradesTopic,
    OrdersTopic,
    PortfolioTopic,
    ProtectionTopic,
    RiskTopic,
    Selection,
    UserTradesTopic,
)

if TYPE_CHECKING:
    from gateway.gateway import Gateway

KINDS = ("any", "future", "option", "spot", "future_combo", "option_combo", "combo")
USER_TOPICS = {
    "orders": OrdersTopic,
    "trades": UserTradesTopic,
    "changes": ChangesTopic,
    "combo_trades": ComboTradesTopic,
}
WHOLE_NAMES: dict[str, type[Topic]] = {"auctions": AuctionsTopic, "portfolio_offers": OffersTopic}
DEPTHS = ("1", "10", "20")
_GROUP = re.compile(r"none|[1-9][0-9]{0,5}")


def market_topic(gateway: "Gateway", name: str) -> Topic | None:
    """A new topic of a public channel name, None where there is no such channel."""
    parts = name.split(".")
    family = parts[0]
    if name in WHOLE_NAMES:
        return WHOLE_NAMES[name](gateway, name)
    if len(parts) < 2:
        return None
    if family == "deribit_price_index" and len(parts) == 2:
        underlying = gateway.listings.index_by_name(parts[1])
        return IndexTopic(gateway, name, parts[1], underlying) if underlying >= 0 else None
    if family == "instrument" and len(parts) == 4 and parts[1] == "state":
        return StateTopic(gateway, name, parts[2], parts[3].lower()) if parts[2] in KINDS else None
    if family == "trades" and len(parts) == 4 and parts[1] in KINDS and parts[3] in INTERVALS:
        return TradesTopic(gateway, name, None, parts[3])
    if family in OWN_PARTS:
        return OWN_PARTS[family](gateway, name, parts)
    listing = gateway.listings.by_name.get(parts[1])
    if listing is None:
        return None
    if len(parts) == 2 and family in ("orders", "quote"):
        return (BookOrdersTopic if family == "orders" else QuoteTopic)(gateway, name, listing)
    if len(parts) == 3 and parts[2] in INTERVALS:
        if family == "book":
            return BookTopic(gateway, name, listing, parts[2])
        if family == "ticker":
            return TickerTopic(gateway, name, listing, parts[2])
        if family == "trades":
            return TradesTopic(gateway, name, listing, parts[2])
    grouped = family == "book" and len(parts) == 5 and _GROUP.fullmatch(parts[2])
    if grouped and parts[3] in DEPTHS and parts[4] in INTERVALS:
        group = 0 if parts[2] == "none" else int(parts[2])
        return DepthTopic(gateway, name, listing, group, int(parts[3]), parts[4])
    return None


def _stress_topic(gateway: "Gateway", name: str, parts: list[str]) -> Topic | None:
    known = [one.name for one in gateway.engine.config.underlyings] + [JOINT]
    return StressTopic(gateway, name, parts[1]) if len(parts) == 2 and parts[1] in known else None


def _chart_topic(gateway: "Gateway", name: str, parts: list[str]) -> Topic | None:
    minutes = RESOLUTION_WORDS.get(parts[-1])
    if len(parts) != 4 or parts[1] != "trades" or minutes is None:
        return None
    listing = gateway.listings.by_name.get(parts[2])
    return ChartTopic(gateway, name, listing, minutes) if listing is not None else None


def _funding_topic(gateway: "Gateway", name: str, parts: list[str]) -> Topic | None:
    listing = gateway.listings.by_name.get(parts[1])
    if len(parts) != 3 or parts[2] not in INTERVALS or listing is None or listing.view.kind != "perpetual":
        return None
    return FundingTopic(gateway, name, listing, parts[2])


def _mark_topic(gateway: "Gateway", name: str, parts: list[str]) -> Topic | None:
    underlying = gateway.listings.index_by_name(parts[1]) if len(parts) == 2 else -1
    return MarkStateTopic(gateway, name, parts[1], underlying) if underlying >= 0 else None


OWN_PARTS = {"chart": _chart_topic, "mark_state": _mark_topic, "perpetual": _funding_topic, "stress": _stress_topic}


def user_topic(gateway: "Gateway", account_id: int, name: str) -> Topic | None:
    """A new topic of an account's private channel name, None where there is no such channel."""
    parts = name.split(".")
    if name == "user.portfolio_offers":
        return Topic(gateway, name)
    if name == "user.liquidation":
        return RiskTopic(gateway, name, account_id)
    if len(parts) == 3 and parts[1] == "mmp_trigger":
        underlying = gateway.listings.index_by_name(parts[2])
        return ProtectionTopic(gateway, name, account_id, parts[2], underlying) if underlying >= 0 else None
    if len(parts) == 3 and parts[1] == "portfolio":
        currency = parts[2].lower()
        known = {one.lower() for one in gateway.listings.exponents} | {"any"}
        return PortfolioTopic(gateway, name, account_id, currency) if currency in known else None
    kind = USER_TOPICS.get(parts[1])
    if kind is None or parts[-1] not in INTERVALS:
        return None
    if len(parts) == 4:
        listing = gateway.listings.by_name.get(parts[2])
        return kind(gateway, name, account_id, Selection(listing, "", ""), parts[3]) if listing else None
    if len(parts) == 5 and parts[2] in KINDS:
        return kind(gateway, name, account_id, Selection(None, parts[2], parts[3].lower()), parts[4])
    return None
