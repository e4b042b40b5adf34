"""The gateway whole: engine and sequencer on one side, server and sessions on the other.

`Gateway(engine, sequencer, credentials, settings)`, then `await start(host, port)` and `await stop()`.
Everything a client changes becomes a command through `submit`; everything a client sees is read from the
engine or the projection and leaves through the commit queue.
"""

import asyncio
import ipaddress
import logging
import ssl
import time
from collections.abc import Callable
from typing import Any

import persistence.errors
from exchange.ports import JournalFull
from exchange.reasons import Reason
from gateway import methods, records
from gateway.adaptive import AdaptiveMargins
from gateway.auth import Authenticator, Principal
from gateway.channels import Channels
from gateway.credentials import CredentialStore
from gateway.distance import Outlook
from gateway.errors import ApiError
from gateway.feeds import ComposedFeed
from gateway.news import News
from gateway.offers import Offers
from gateway.output import CommitQueue
from gateway.reads import Reads
from gateway.recorder import Recorder
from gateway.reserved import has_room
from gateway.server import Server
from gateway.session import Session
from gateway.settings import DEFAULTS, PROFILES, Settings
from gateway.stress import SLICE_SECONDS, StressWatch
from gateway.throttle import Throttle

log = logging.getLogger("gateway")
_JOURNAL_FULL = (JournalFull, persistence.errors.JournalFull)


class Insecure(Exception):
    """The venue may not listen there with what it has."""


def require_secure(host: str, credentials: CredentialStore, tls: ssl.SSLContext | None) -> None:
    """Off loopback: TLS, and no demo keys. Raises Insecure saying what is missing."""
    if host == "localhost":
        return
    try:
        if ipaddress.ip_address(host).is_loopback:
            return
    except ValueError:
        pass
    if tls is None:
        raise Insecure(f"listening on {host} needs TLS: only loopback may go without")
    demo = [item.client_id for item in credentials.all() if item.demo]
    if demo:
        raise Insecure(f"listening on {host} with demo keys ({', '.join(demo[:5])}): revoke them first")


class Gateway(Reads):
    """Wires sessions to the engine; one per process, on one event loop."""

    def __init__(
        self,
        engine: Any,
        sequencer: Any,
        credentials: CredentialStore,
        settings: Settings = DEFAULTS,
        wall_ns: Callable[[], int] = time.time_ns,
        fatal_errors: tuple[type[BaseException], ...] = (),
        on_fatal: Callable[[BaseException], None] | None = None,
        recorder: Recorder | None = None,
    ):
        """`recorder` feeds a history store and follows the sequencer; without one memory is all there is."""
        super().__init__(engine, settings, recorder.history if recorder is not None else None)
        self._recorder = recorder
        self.sequencer, self.credentials, self.settings = sequencer, credentials, settings
        self.wall_ns = wall_ns
        self.fatal_errors, self._on_fatal = fatal_errors, on_fatal
        limits = PROFILES[settings.rate_profile]
        self.auth = Authenticator(credentials, settings, limits.sessions_per_key)
        self.throttle = Throttle(limits)
        self.channels = Channels(self)
        self.stress = StressWatch(self)
        self.outlook = Outlook(self)
        self.offers = Offers(engine, self.channels.tell_offer)
        self.projection.listeners.append(self._on_news)
        self.server = Server(self)
        self.queue: CommitQueue | None = None
        self.cancel_on_disconnect_accounts: set[int] = set()
        self._unsent_cancels: list[bytearray] = []
        self._timers: list[asyncio.TimerHandle] = []
        self.failure: BaseException | None = None
        self.fund_desk: Any = None
        """The LocalDesk of a fund worker in another process; None where the venue works with the fund itself."""
        self.index_feed: ComposedFeed | None = None
        """Takes the prices of socket sources, where the index is composed of several."""
        self.adaptive: AdaptiveMargins | None = None
        """Margin rates that follow volatility, where a feed is pumped."""
        self.fund_books: Any = None
        """The LocalDesk of a running venue, wherever its worker is."""
        sequencer.subscribe(self.projection.apply)

    async def start(self, host: str, port: int, tls: ssl.SSLContext | None = None) -> int:
        """Listen; returns the port."""
        require_secure(host, self.credentials, tls)
        methods.load()
        loop = asyncio.get_running_loop()
        self.queue = CommitQueue(self.sequencer, loop.call_soon, self.fail)
        bound = await self.server.start(host, port, tls)
        self._every(0.1, lambda: self.channels.flush("100ms"))
        self._every(1.0, self._every_second)
        self._every(SLICE_SECONDS, self.stress.step)
        if self._recorder is not None:
            self._every(0.1, self._recorder.flush)
        return bound

    async def stop(self) -> None:
        """Close every connection; cancel-on-disconnect orders are cancelled as on any other close."""
        await self.server.stop()
        for handle in self._timers:
            handle.cancel()
        self.archive.close()

    def _every(self, seconds: float, action: Callable[[], object]) -> None:
        loop = asyncio.get_running_loop()
        slot = len(self._timers)

        def fire() -> None:
            self._timers[slot] = loop.call_later(seconds, fire)
            try:
                action()
            except Exception:
                log.exception("periodic work failed")

        self._timers.append(loop.call_later(seconds, fire))

    def _every_second(self) -> None:
        self.channels.flush("agg2")
        self.channels.tell_ranks()
        self.server.every_second(self.wall_ns())
        self.retry_cancels()

    def retry_cancels(self) -> None:
        """Try again what a full journal kept from being cancelled on a disconnect."""
        pending, self._unsent_cancels = self._unsent_cancels, []
        for command in pending:
            self._cancel(command)

    def fail(self, error: BaseException) -> None:
        """An invariant broke: nothing more is accepted, the composition root is told."""
        if self.failure is None:
            self.failure = error
            log.critical("engine stopped: %s", error)
            if self._on_fatal is not None:
                self._on_fatal(error)

    def submit(self, command: bytearray, session: Session | None = None) -> News:
        """Have a command sequenced and applied; returns what it changed. 10047 where the journal is full, or a client's
        command (`session`) would take the room that is kept for what lowers risk."""
        if self.failure is not None:
            raise ApiError(13028, {"reason": "engine_stopped"})
        if session is not None and not has_room(self.sequencer, command, self.settings.reserved_ppm):
            raise ApiError(10047)
        self.projection.current_session = session
        try:
            self.sequencer.submit(command)
        except _JOURNAL_FULL:
            raise ApiError(10047) from None
        finally:
            self.projection.current_session = None
        if self.queue is not None:
            self.queue.end_turn_soon()
        return self.projection.news

    def revoke_key(self, client_id: str) -> bool:
        """Remove a key and end the connections logged in with it; False where there is none."""
        if not self.credentials.revoke(client_id):
            return False
        for session in self.server.sessions():
            if session.principal is not None and session.principal.client_id == client_id:
                session.close(1008, "key revoked")
        return True

    # orders that go with their connection

    def cancel_orders_of(self, session: Session, principal: Principal) -> None:
        """Cancel-on-disconnect: the orders placed over this connection, waiting ones too."""
        live = self.projection.live_orders(principal.account_id)
        own = [record for record in live if record.session is session]
        reason = int(Reason.CANCEL_ON_DISCONNECT)
        if own and len(own) == len(live):
            self._cancel(records.cancel_every(principal.account_id, reason, principal.key_id))
            return
        for record in own:
            self._cancel(
                records.cancel_order(
                    account_id=principal.account_id,
                    order_id=record.order_id,
                    key_id=principal.key_id,
                    reason=reason,
                )
            )

    def _cancel(self, command: bytearray) -> None:
        try:
            self.submit(command)
        except ApiError as error:
            if error.code == 10047:
                self._unsent_cancels.append(command)
        except self.fatal_errors as error:
            self.fail(error)

    def _on_news(self, news: News) -> None:
        if news.states:
            self.instruments_changed()
        self.channels.on_news(news)
        self.offers.follow(news)
