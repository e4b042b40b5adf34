"""Subscriptions: channel names to topics, topics to sessions, and news to the topics it concerns."""

import re
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from exchange.events import EventKind
from gateway.auth import Principal
from gateway.projection import News
from gateway.render_market import STATES
from gateway.topics import (
    INTERVALS,
    AuctionsTopic,
    BookTopic,
    DepthTopic,
    IndexTopic,
    QuoteTopic,
    StateTopic,
    TickerTopic,
    Topic,
    TradesTopic,
)
from gateway.units import ms
from gateway.user_topics import (
    ChangesTopic,
    OrdersTopic,
    PortfolioTopic,
    Selection,
    UserTopic,
    UserTradesTopic,
)

if TYPE_CHECKING:
    from gateway.gateway import Gateway
    from gateway.session import Session

KINDS = ("any", "future", "option", "spot", "future_combo", "option_combo", "combo")
USER_TOPICS = {"orders": OrdersTopic, "trades": UserTradesTopic, "changes": ChangesTopic}
DEPTHS = ("1", "10", "20")
_GROUP = re.compile(r"none|[1-9][0-9]{0,5}")
MAX_NAME = 128
STATE_WORDS = {"created": "created", "open": "started", "settled": "settled", "archived": "terminated"}
Key = tuple[int, str]


class Channels:
    """All topics that somebody listens to; account 0 owns the public ones."""

    def __init__(self, gateway: "Gateway"):
        self._gateway = gateway
        self._topics: dict[Key, Topic] = {}
        self._by_slot: dict[int, list[Topic]] = {}
        self._by_account: dict[int, list[Topic]] = {}
        self._wide: list[Topic] = []
        """Topics of no single instrument and no account."""
        self._due: dict[str, set[Topic]] = {interval: set() for interval in INTERVALS}

    # subscriptions

    def subscribe(self, session: "Session", principal: Principal | None, names: Iterable[str]) -> list[str]:
        """Add channels to a session; returns those accepted. Unknown and forbidden ones are left out."""
        accepted = []
        for name in dict.fromkeys(names):
            key = self._key(name, principal)
            if key is None:
                continue
            if name in session.channels:
                accepted.append(name)
                continue
            if len(session.channels) >= self._gateway.settings.max_subscriptions:
                break
            topic = self._topics.get(key) or self._create(key)
            if topic is None:
                continue
            session.channels[name] = key[0]
            accepted.append(name)
            session.after_reply(lambda topic=topic: self._join(session, topic))
            topic.subscribers.setdefault(session)
        return accepted

    @staticmethod
    def _join(session: "Session", topic: Topic) -> None:
        if not session.ended and session in topic.subscribers:
            topic.snapshot(session)

    def _key(self, name: str, principal: Principal | None) -> Key | None:
        if len(name) > MAX_NAME:
            return None
        if name.startswith("user."):
            scope = "account:read" if name.startswith("user.portfolio.") else "trade:read"
            return (principal.account_id, name) if principal is not None and principal.allows(scope) else None
        if name.endswith(".raw") and principal is None and self._gateway.settings.raw_needs_login:
            return None
        return (0, name)

    def unsubscribe(self, session: "Session", names: Iterable[str]) -> list[str]:
        """Remove channels from a session; returns those that were there."""
        removed = []
        for name in dict.fromkeys(names):
            account_id = session.channels.pop(name, None)
            if account_id is not None:
                self._leave(session, (account_id, name))
                removed.append(name)
        return removed

    def drop(self, session: "Session") -> None:
        """Remove all channels of a session."""
        self.unsubscribe(session, list(session.channels))

    def drop_private(self, session: "Session") -> None:
        """Remove a session's private channels (it logs in as somebody else)."""
        self.unsubscribe(session, [name for name in session.channels if name.startswith("user.")])

    def _leave(self, session: "Session", key: Key) -> None:
        topic = self._topics.get(key)
        if topic is None:
            return
        topic.subscribers.pop(session, None)
        if not topic.subscribers:
            del self._topics[key]
            for index in (self._by_slot, self._by_account):
                for group_key in [group for group, topics in index.items() if topic in topics]:
                    index[group_key].remove(topic)
                    if not index[group_key]:
                        del index[group_key]
            if topic in self._wide:
                self._wide.remove(topic)
            self._due[topic.interval].discard(topic)

    # names

    def _create(self, key: Key) -> Topic | None:
        account_id, name = key
        parts = name.split(".")
        if parts[0] == "user":
            topic = self._user_topic(account_id, name, parts)
            if topic is not None:
                self._by_account.setdefault(account_id, []).append(topic)
        else:
            topic = self._market_topic(name, parts)
            if topic is not None and topic.listing is not None:
                self._by_slot.setdefault(topic.listing.slot, []).append(topic)
            elif topic is not None:
                self._wide.append(topic)
        if topic is not None:
            self._topics[key] = topic
        return topic

    def _market_topic(self, name: str, parts: list[str]) -> Topic | None:
        gateway, family = self._gateway, parts[0]
        if name == "auctions":
            return AuctionsTopic(gateway, name)
        if len(parts) < 2:
            return None
        if family == "deribit_price_index" and len(parts) == 2:
            underlying = gateway.listings.index_by_name(parts[1])
            return IndexTopic(gateway, name, parts[1], underlying) if underlying >= 0 else None
        if family == "instrument" and len(parts) == 4 and parts[1] == "state":
            return StateTopic(gateway, name, parts[2], parts[3].lower()) if parts[2] in KINDS else None
        if family == "trades" and len(parts) == 4 and parts[1] in KINDS and parts[3] in INTERVALS:
            return TradesTopic(gateway, name, None, parts[3])
        listing = gateway.listings.by_name.get(parts[1])
        if listing is None:
            return None
        if family == "quote" and len(parts) == 2:
            return QuoteTopic(gateway, name, listing)
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

    def _user_topic(self, account_id: int, name: str, parts: list[str]) -> Topic | None:
        gateway = self._gateway
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

    # news

    def on_news(self, news: News) -> None:
        """Hand one command's changes to the topics they concern, then let the raw ones speak."""
        if not self._topics:
            return
        if self._by_account:
            self._tell_accounts(news)
        for slot, levels in news.levels.items():
            for topic in self._by_slot.get(slot, ()):
                if isinstance(topic, (BookTopic, DepthTopic)):
                    topic.touch(levels)
                    self._mark(topic)
                elif isinstance(topic, (TickerTopic, QuoteTopic)):
                    self._mark(topic)
        for trade in news.trades:
            for topic in (*self._by_slot.get(trade.listing.slot, ()), *self._wide):
                if isinstance(topic, TradesTopic) and (
                    topic.listing is not None or _covers(topic.name, trade.listing)
                ):
                    topic.add(trade)
                    self._mark(topic)
        for underlying in news.marks:
            self._tell_marks(underlying)
        if news.states or news.auctions:
            self._tell_rare(news)
        if self._due["raw"]:
            self.flush("raw")

    def _mark(self, topic: Topic) -> None:
        self._due[topic.interval].add(topic)

    def _tell_accounts(self, news: News) -> None:
        for record in news.orders.values():
            for topic in self._by_account.get(record.account_id, ()):
                if isinstance(topic, UserTopic):
                    topic.on_order(record)
        for account_id, trade, as_maker in news.user_trades:
            for topic in self._by_account.get(account_id, ()):
                if isinstance(topic, UserTopic):
                    topic.on_trade(trade, as_maker)
        touched = {record.account_id for record in news.orders.values()} | news.accounts
        for account_id in touched:
            for topic in self._by_account.get(account_id, ()):
                if topic.dirty or isinstance(topic, PortfolioTopic):
                    topic.dirty = False
                    self._mark(topic)

    def _tell_marks(self, underlying: int) -> None:
        for topics in self._by_slot.values():
            for topic in topics:
                if isinstance(topic, TickerTopic) and topic.listing.underlying == underlying:
                    self._mark(topic)
        for topic in self._wide:
            if isinstance(topic, IndexTopic) and topic.underlying == underlying:
                self._mark(topic)
        for topics in self._by_account.values():
            for topic in topics:
                if isinstance(topic, PortfolioTopic):
                    self._mark(topic)

    def _tell_rare(self, news: News) -> None:
        for topic in list(self._wide):
            if isinstance(topic, StateTopic):
                for listing, state in news.states:
                    word = STATES[state] if state < len(STATES) else str(state)
                    topic.on_state(listing, STATE_WORDS.get(word, word))
            elif isinstance(topic, AuctionsTopic):
                for kind, fields in news.auctions:
                    topic.emit(auction_event(kind, fields))

    def flush(self, interval: str) -> None:
        """Let the topics of an interval speak: `user.*` first, orders before trades, as clients expect."""
        due, self._due[interval] = self._due[interval], set()
        for topic in sorted(due, key=_speaking_order):
            topic.flush()


def _speaking_order(topic: Topic) -> tuple[int, str]:
    rank = 0 if isinstance(topic, OrdersTopic) else 1 if isinstance(topic, UserTopic) else 2
    return rank, topic.name


def _covers(name: str, listing: Any) -> bool:
    """Whether `trades.{kind}.{currency}.{interval}` covers an instrument."""
    _, kind, currency, _ = name.split(".")
    return kind in ("any", listing.kind) and currency.lower() in ("any", listing.currency.lower())


def auction_event(kind: int, fields: Any) -> dict[str, Any]:
    """One step of an auction as the `auctions` channel shows it; sums in minor units."""
    found = {name: value for name, value in fields._asdict().items() if not name.startswith("reserved")}
    for name in ("kind", "slots", "account_id"):
        found.pop(name, None)
    stamp = ms(found.pop("time_ns"))
    return {"type": EventKind(kind).name.lower(), "timestamp": stamp, **found}
