"""What methods and channels show of the engine: tickers, positions, summaries, auctions, as wire objects."""

from typing import Any

import msgspec

from exchange.views import MarketView, PositionView
from gateway import render_account, render_isolated, render_market
from gateway.adl import AdlRanks
from gateway.archive import Archive, Reader
from gateway.archive_prices import day_bars
from gateway.errors import ApiError, invalid_param
from gateway.families import Families
from gateway.history import OrderRecord
from gateway.listing import Listing, Listings
from gateway.projection import Projection
from gateway.protocol import encode
from gateway.render_margin import liquidation_price
from gateway.settings import PROFILES, Settings
from gateway.units import E8, money, ms
from persistence.history import History

MAX_CACHED = 64
_NO_GREEKS = (0.0, 0.0, 0.0, 0.0, 0.0)


class Reads:
    """Read-only questions about the engine and the projection."""

    def __init__(self, engine: Any, settings: Settings, history: History | None = None):
        """`history`: a store that covers everything applied so far, or none."""
        self.engine = engine
        self._limits = render_account.limits(PROFILES[settings.rate_profile])
        self.listings = Listings(engine)
        reader = Reader(history.path) if history is not None else None
        fills = reader.partly_filled() if reader is not None else {}
        self.projection = Projection(engine, self.listings, settings, fills)
        self.archive = Archive(engine, self.listings, self.projection, history, reader)
        if reader is not None and engine.config is not None:
            for slot, listing in self.listings.by_slot.items():
                index = engine.index_price(listing.underlying) / E8
                self.projection.restore_stats(slot, day_bars(reader, listing, engine.time_ns, index))
        self.adl = AdlRanks(engine)
        self.families = Families(engine)
        self._instruments_json: dict[tuple[str, str], msgspec.Raw] = {}

    def instruments_changed(self) -> None:
        """Forget encoded instruments."""
        self._instruments_json.clear()

    def listing(self, name: str) -> Listing:
        """The live instrument of a name; -32602 otherwise."""
        found = self.listings.by_name.get(name)
        if found is None:
            raise invalid_param("instrument_name", "instrument not found")
        return found

    def instruments_json(self, currency: str, kind: str) -> msgspec.Raw:
        """Encoded instrument objects of a currency and kind, kept until an instrument changes."""
        key = (currency, kind)
        encoded = self._instruments_json.get(key)
        if encoded is None:
            chosen = [self.listings.by_slot[slot] for slot in self.engine.instruments()]
            objects = [
                render_market.instrument(listing, self.engine.market(listing.slot))
                for listing in chosen
                if currency in ("ANY", listing.currency) and listing.is_of(kind)
            ]
            if len(self._instruments_json) >= MAX_CACHED:
                self._instruments_json.clear()
            encoded = self._instruments_json[key] = msgspec.Raw(encode(objects))
        return encoded

    def greeks(self, listing: Listing) -> tuple[float, ...]:
        """Delta, gamma, vega (per vol point), theta (per day), rho (per point) of a coin; futures: zeros."""
        if not listing.is_premium:
            return _NO_GREEKS
        delta, gamma, vega, theta, rho = self.engine.greeks(listing.slot)
        return delta, gamma, vega / 100.0, theta / 365.0, rho / 100.0

    def ticker(self, listing: Listing) -> dict[str, Any]:
        """The ticker of an instrument now."""
        market = self.engine.market(listing.slot)
        stats = self.projection.stats(listing.slot)
        return render_market.ticker(listing, market, stats, self.greeks(listing), self.engine.time_ns)

    def positions(self, account_id: int, slot: int = -1, entries: bool = False) -> list[dict[str, Any]]:
        """Positions of an account, isolated ones last; `slot` limits them to one instrument, `entries` keeps empty
        ones."""
        found = self._positions(account_id, slot, entries)
        for bucket in self.engine.buckets(account_id):
            for one in self._positions(bucket.bucket_account_id, slot, entries):
                listing = self.listings.by_slot[bucket.instrument]
                found.append(one | render_isolated.of_position(listing, bucket))
        return found

    def _positions(self, account_id: int, slot: int, entries: bool) -> list[dict[str, Any]]:
        """Those of one margin account."""
        found = []
        views = self.engine.positions(account_id)
        margins = self.engine.what_if.position_margins(account_id) if views else {}
        for view in views:
            if (slot >= 0 and view.instrument != slot) or not (view.quantity_lots or entries):
                continue
            listing = self.listings.by_slot[view.instrument]
            market = self.engine.market(view.instrument)
            own = margins.get(view.instrument, (0, 0, 0))
            at = self._liquidation_price(listing, view, market, views) if margins and not listing.is_option else None
            shown = render_account.position(listing, view, market, self.greeks(listing), own, at)
            found.append(shown | self.adl.shown(listing, view))
        return found

    def _liquidation_price(
        self, listing: Listing, view: PositionView, market: MarketView, views: list[PositionView]
    ) -> float | None:
        """Of a future that is the only position in its currency, in an account by formula with money apart."""
        account = self.engine.account(view.account_id)
        others = (o for o in views if o.quantity_lots and o.instrument != view.instrument)
        if account.margin_model != "segregated_sm" or any(
            self.listings.by_slot[o.instrument].currency == listing.currency for o in others
        ):
            return None
        cash_minor = next(c.cash_minor for c in account.currencies if c.currency == listing.currency)
        parameters = self.engine.margin_plan.in_force[listing.underlying].standard
        cash = money(cash_minor, listing.exponent)
        return liquidation_price(cash, listing.exponent, view, listing.view, market, parameters)

    def summaries(self, account_id: int, what_if: Any = None) -> list[dict[str, Any]]:
        """Account summaries, one per currency of the venue; `what_if` within whose suppositions they are asked for."""
        what_if = what_if or self.engine.what_if
        account, chains = self.engine.account(account_id), what_if.greeks(account_id)
        projected = (what_if.projected_of_currencies(account_id) if chains else None) or [None] * len(
            account.currencies
        )
        isolated = render_isolated.totals(self.listings, self.engine.buckets(account_id))
        return [
            render_account.summary(
                account,
                view,
                number,
                self.listings.exponents[view.currency],
                chains,
                self.listings.index_names,
                projected[number],
                self._limits,
            )
            | isolated[view.currency]
            for number, view in enumerate(account.currencies)
        ]

    def _auctioned(self, account_id: int, currency: str) -> list[dict[str, Any]]:
        """The positions that an auction sells: all of a cross account, else those settled in its currency."""
        positions = self.positions(account_id)
        if self.engine.account(account_id).margin_model.startswith("cross"):
            return positions
        by_name = self.listings.by_name
        return [one for one in positions if by_name[one["instrument_name"]].currency == currency]

    def auctions(self) -> list[dict[str, Any]]:
        """Running liquidation auctions, sums in coins of their currency (USD: dollars)."""
        found = []
        for view in self.engine.auctions():
            exponent = self.listings.exponents.get(view.currency, 4)
            shown = self._auctioned(view.account_id, view.currency)
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
                    "terms_version": view.terms_version,
                    "lease": money(view.lease_minor, lease_exponent),
                    "portfolio": [
                        {
                            "instrument_name": position["instrument_name"],
                            "size": position["size"],
                            "mark_price": position["mark_price"],
                        }
                        for position in shown
                    ],
                }
            )
        return found

    def order_of(self, account_id: int, order_id: int) -> OrderRecord:
        """An account's own order; 10004 where it is unknown or somebody else's."""
        record = self.archive.order(account_id, order_id)
        if record is None:
            raise ApiError(10004)
        return record
