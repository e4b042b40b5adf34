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

from exchange.ports import JournalFull

from exchange.commands import ANY_CURRENCY, ANY_KIND, NO_INSTRUMENT
from exchange.reasons import Reason
from gateway import methods, records, render_account, render_market
from gateway.auth import Authenticator, Principal
from gateway.channels import Channels
from gateway.credentials import CredentialStore
from gateway.errors import ApiError, invalid_param
from gateway.history import OrderRecord
from gateway.listing import Listing, Listings
from gateway.projection import News, Projection
from gateway.server import Server
from gateway.session import Session
from gateway.settings import DEFAULTS, PROFILES, Settings
from gateway.throttle import Throttle
from gateway.units import money, ms

log = logging.getLogger("gateway")
_NO_GREEKS = (0.0, 0.0, 0.0, 0.0, 0.0)


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


class Gateway:
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
    ):
        self.engine, self.sequencer, self.credentials, self.settings = (
            engine,
            sequencer,
            credentials,
            settings,
        )
        self.wall_ns = wall_ns
        self.fatal_errors, self._on_fatal = fatal_errors, on_fatal
        limits = PROFILES[settings.rate_profile]
        self.auth = Authenticator(credentials, settings, limits.sessions_per_key)
        self.throttle = Throttle(limits)
        self.listings = Listings(engine)
        self.projection = Projection(engine, self.listings, settings)
        self.channels = Channels(self)
        self.projection.listeners.append(self.channels.on_news)
        self.server = Server(self)
        self.cancel_on_disconnect_accounts: set[int] = set()
        self._unsent_cancels: list[bytearray] = []
        self._timers: list[asyncio.TimerHandle] = []
        self.failure: BaseException | None = None
        sequencer.subscribe(self.projection.apply)

    async def start(self, host: str, port: int, tls: ssl.SSLContext | None = None) -> int:
        """Listen; returns the port."""
        require_secure(host, self.credentials, tls)
        methods.load()
        bound = await self.server.start(host, port, tls)
        self._every(0.1, lambda: self.channels.flush("100ms"))
        self._every(1.0, self._every_second)
        return bound

    async def stop(self) -> None:
        """Close every connection; cancel-on-disconnect orders are cancelled as on any other close."""
        await self.server.stop()
        for handle in self._timers:
            handle.cancel()

    def _every(self, seconds: float, action: Callable[[], None]) -> None:
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
        self.server.every_second(self.wall_ns())
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
        """Have a command sequenced and applied; returns what it changed. 10047 where the journal is full."""
        if self.failure is not None:
            raise ApiError(13028, {"reason": "engine_stopped"})
        self.projection.current_session = session
        try:
            self.sequencer.submit(command)
        except JournalFull:
            raise ApiError(10047) from None
        finally:
            self.projection.current_session = None
        return self.projection.news

    # orders that go with their connection

    def cancel_orders_of(self, session: Session, principal: Principal) -> None:
        """Cancel-on-disconnect: the orders placed over this connection."""
        live = self.projection.open_orders(principal.account_id)
        own = [record for record in live if record.session is session]
        reason = int(Reason.CANCEL_ON_DISCONNECT)
        if own and len(own) == len(live):
            fields = {"currency": ANY_CURRENCY, "instrument_kind": ANY_KIND, "order_type": ANY_KIND}
            self._cancel(
                records.cancel_all(
                    account_id=principal.account_id,
                    instrument=NO_INSTRUMENT,
                    key_id=principal.key_id,
                    reason=reason,
                    **fields,
                )
            )
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

    # reads that several methods and channels share

    def listing(self, name: str) -> Listing:
        """The live instrument of a name; -32602 otherwise."""
        found = self.listings.by_name.get(name)
        if found is None:
            raise invalid_param("instrument_name", "instrument not found")
        return found

    def greeks(self, listing: Listing) -> tuple[float, ...]:
        """Delta, gamma, vega, theta, rho per coin of an option, zeros for futures."""
        return self.engine.greeks(listing.slot) if listing.is_option else _NO_GREEKS

    def ticker(self, listing: Listing) -> dict[str, Any]:
        """The ticker of an instrument now."""
        market = self.engine.market(listing.slot)
        stats = self.projection.stats(listing.slot)
        return render_market.ticker(listing, market, stats, self.greeks(listing), self.engine.time_ns)

    def positions(self, account_id: int, slot: int = -1, entries: bool = False) -> list[dict[str, Any]]:
        """Positions of an account; `slot` limits them to one instrument, `entries` keeps empty ones."""
        found = []
        for view in self.engine.positions(account_id):
            if (slot >= 0 and view.instrument != slot) or not (view.quantity_lots or entries):
                continue
            listing = self.listings.by_slot[view.instrument]
            market = self.engine.market(view.instrument)
            found.append(render_account.position(listing, view, market, self.greeks(listing)))
        return found

    def summaries(self, account_id: int) -> list[dict[str, Any]]:
        """Account summaries, one per currency of the venue."""
        account = self.engine.account(account_id)
        totals = self._risk_totals(account_id)
        found = []
        for view in account.currencies:
            options = totals.get(view.currency) or dict.fromkeys(render_account.RISK_NAMES, 0.0)
            index_name = self._index_name(view.currency)
            exponent = self.listings.exponents[view.currency]
            found.append(render_account.summary(account, view, exponent, options, index_name))
        return found

    def _index_name(self, currency: str) -> str:
        underlying = self.engine.underlying_index(currency)
        return self.listings.index_names[underlying] if underlying >= 0 else ""

    def _risk_totals(self, account_id: int) -> dict[str, dict[str, float]]:
        """Greeks of an account's positions by settlement currency."""
        totals: dict[str, dict[str, float]] = {}
        for view in self.engine.positions(account_id):
            if not view.quantity_lots:
                continue
            listing = self.listings.by_slot[view.instrument]
            market = self.engine.market(view.instrument)
            shown = render_account.position(listing, view, market, self.greeks(listing))
            sums = totals.setdefault(listing.currency, dict.fromkeys(render_account.RISK_NAMES, 0.0))
            if listing.is_option:
                for name in ("delta", "gamma", "vega", "theta"):
                    sums[name] += shown[name]
            else:
                sums["futures_delta"] += shown["delta"]
        return totals

    def auctions(self) -> list[dict[str, Any]]:
        """Running liquidation auctions, sums in coins of their currency (USD: dollars)."""
        found = []
        for view in self.engine.auctions():
            exponent = self.listings.exponents.get(view.currency, 4)
            lease_exponent = self.listings.exponents.get(view.lease_currency, exponent)
            found.append(
                {
                    "auction_id": view.auction_id,
                    "currency": view.currency,
                    "phase": view.phase,
                    "reason": view.reason,
                    "opened_timestamp": ms(view.opened_ns),
                    "phase_timestamp": ms(view.phase_ns),
                    "value": money(view.value_minor, exponent),
                    "requirement": money(view.requirement_minor, exponent),
                    "price": money(view.price_minor, exponent),
                    "remaining": view.remaining_ppm / 1_000_000,
                    "bids": view.bids,
                    "lease": money(view.lease_minor, lease_exponent),
                    "portfolio": [
                        {
                            "instrument_name": position["instrument_name"],
                            "size": position["size"],
                            "mark_price": position["mark_price"],
                        }
                        for position in self.positions(view.account_id)
                    ],
                }
            )
        return found

    def order_of(self, account_id: int, order_id: int) -> OrderRecord:
        """An account's own order; 10004 where it is unknown or somebody else's."""
        record = self.projection.order(order_id)
        if record is None or record.account_id != account_id:
            raise ApiError(10004)
        return record
