"""Subscriptions: channel names to topics, topics to sessions, and news to the topics it concerns."""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from exchange.market.instrument import STATES
from exchange.offer_views import BidView, OfferView
from gateway.auth import Principal
from gateway.change_topics import QuoteTopic
from gateway.channel_names import market_topic, user_topic
from gateway.history_topics import BookOrdersTopic, ChartTopic
from gateway.mark_topics import STATE_WORDS, tell_marks
from gateway.news import News
from gateway.render_offers import bid_shown, offer_shown
from gateway.topics import (
    BUYER,
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
    OrdersTopic,
    PortfolioTopic,
    ProtectionTopic,
    RiskTopic,
    UserTopic,
)

if TYPE_CHECKING:
    from gateway.gateway import Gateway
    from gateway.session import Session

MAX_NAME = 128
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

    @property
    def count(self) -> int:
        """Topics that have subscribers."""
        return len(self._topics)

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

    def _create(self, key: Key) -> Topic | None:
        account_id, name = key
        if name.startswith("user."):
            topic = user_topic(self._gateway, account_id, name)
            if topic is not None:
                self._by_account.setdefault(account_id, []).append(topic)
        else:
            topic = market_topic(self._gateway, name)
            if topic is not None and topic.listing is not None:
                self._by_slot.setdefault(topic.listing.slot, []).append(topic)
            elif topic is not None:
                self._wide.append(topic)
        if topic is not None:
            self._topics[key] = topic
        return topic

    # news

    def on_news(self, news: News) -> None:
        """Hand one command's changes to the topics they concern, then let the raw ones speak."""
        if not self._topics:
            return
        for listing in news.settled:
            self._retire(listing.slot)
        if self._by_account:
            self._tell_accounts(news)
        for slot, levels in news.levels.items():
            for topic in self._by_slot.get(slot, ()):
                if isinstance(topic, (BookTopic, DepthTopic)):
                    topic.touch(levels)
                    self._mark(topic)
                elif isinstance(topic, (TickerTopic, QuoteTopic)):
                    self._mark(topic)
        self._tell_trades(news)
        self._tell_orders(news)
        for underlying in news.marks:
            self._tell_marks(underlying)
        if news.states or news.auctions:
            self._tell_rare(news)
        if news.facts:
            for topic in tell_marks(self._gateway, self._wide, news.facts):
                self._mark(topic)
        if self._due["raw"]:
            self.flush("raw")

    def _retire(self, slot: int) -> None:
        """End the channels of an instrument that is no more: its slot will be another's."""
        for topic in self._by_slot.pop(slot, []):
            self._due[topic.interval].discard(topic)
            self._topics.pop((0, topic.name), None)
            for session in topic.subscribers:
                session.channels.pop(topic.name, None)

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
        for place, (kind, fields) in enumerate(news.facts):
            for account_id in {fields.account_id, *(getattr(fields, name, 0) for name in BUYER)}:
                for topic in self._by_account.get(account_id, ()):
                    if isinstance(topic, (RiskTopic, ProtectionTopic)):
                        topic.on_fact(kind, fields, news.buckets.get(place, 0))

    def _tell_trades(self, news: News) -> None:
        for trade in news.trades:
            for topic in (*self._by_slot.get(trade.listing.slot, ()), *self._wide):
                wanted = isinstance(topic, ChartTopic) or (
                    isinstance(topic, TradesTopic) and (topic.listing is not None or _covers(topic.name, trade.listing))
                )
                if wanted:
                    topic.add(trade)
                    self._mark(topic)

    def _tell_orders(self, news: News) -> None:
        for record in news.orders.values():
            for topic in self._by_slot.get(record.listing.slot, ()):
                if isinstance(topic, BookOrdersTopic):
                    topic.touch(record)
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
                    topic.on_auction(kind, fields)

    def tell_stress(self, results: list[dict[str, Any]]) -> None:
        """A stress sweep is complete."""
        for topic in list(self._wide):
            if isinstance(topic, StressTopic):
                for one in results:
                    if one["underlying"] == topic.underlying:
                        topic.emit(one)

    def tell_ranks(self) -> None:
        """Let `user.liquidation` look at the deleveraging queues."""
        for topics in self._by_account.values():
            for topic in topics:
                if isinstance(topic, RiskTopic):
                    topic.on_ranks()

    def tell_offer(self, offer: OfferView, what: str, bid: BidView | None) -> None:
        """A portfolio is offered or no longer; a bid is for its owner alone."""
        key = (0, "portfolio_offers") if bid is None else (offer.account_id, "user.portfolio_offers")
        topic = self._topics.get(key)
        if topic is not None:
            shown = offer_shown(self._gateway, offer) if bid is None else bid_shown(self._gateway, offer, bid)
            topic.emit({"type": what} | shown)

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
    return listing.is_of(kind) and currency.lower() in ("any", listing.currency.lower())
