"""How far an account is from liquidation, in price and in vol, and the cheapest trades that take it further away.

A distance is the smallest move of an underlying, the others standing still, at which equity would be below the
maintenance margin that is needed now; positions are repriced in full, nothing weighted or clamped. It is the measure of
the venue's liquidation map (`gateway.stress`), of one account and between its rungs.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import margin_ext
from gateway.listing import Listing
from gateway.units import E8

PPM = 1_000_000
USD_E4 = 10_000
YEAR_NS = 365 * 86_400 * 10**9
PRICE_MOVES = (
    0.01, 0.02, 0.03, 0.04, 0.06, 0.08, 0.1, 0.12, 0.14, 0.16, 0.2, 0.25, 0.3, 0.35, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95,
    1.25, 1.5, 2.0, 3.0, 4.0, 5.0,
)  # fmt: skip
VOL_MOVES = (0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0, 1.5, 2.0, 3.0, 4.0)
LOWEST = -0.95
MOST_TRADES = 3
HALVINGS = 30

Change = Callable[[float, float], float]


class Leg(NamedTuple):
    """A position: coins (or an inverse future's dollars) held, and what its value depends on."""

    listing: Listing
    size: float
    forward: float
    index: float
    vol: float
    years: float


class Entity(NamedTuple):
    """What is margined together, in USD; `number` as the engine's desk takes it."""

    number: int
    currency: str
    balance: float
    maintenance: float


def _option_change(leg: Leg, move: float, vol_move: float) -> float:
    """Change of an option's value in USD; an inverse option's coins at the moved index, less their own move."""
    view, moved = leg.listing.view, leg.forward * (1 + move)
    now, then = (
        float(margin_ext.price(forward, view.strike_e8 / E8, vol, leg.years, view.option_type == "call"))
        for forward, vol in ((leg.forward, leg.vol), (moved, leg.vol * (1 + vol_move)))
    )
    if view.inverse:
        return leg.size * leg.index * (1 + move) * (then / moved - now / leg.forward)
    return leg.size * (then - now)


def _leg_change(leg: Leg, move: float, vol_move: float) -> float:
    if leg.listing.is_option:
        return _option_change(leg, move, vol_move)
    if leg.listing.view.inverse:
        return leg.size * leg.index / leg.forward * move
    return leg.size * leg.forward * move


class Outlook:
    """Distances and trades of one engine's accounts; reads only."""

    def __init__(self, gateway: Any):
        self._gateway = gateway
        self._engine = gateway.engine

    # ------------------------------------------------------------------ what is margined together

    def _usd(self, currency: int, minor: int) -> float:
        return int(self._engine.exposure.usd_of(currency, minor)) / USD_E4

    def _entities(self, account_id: int) -> list[Entity]:
        engine, found = self._engine, []
        names = [currency.name for currency in engine.config.currencies]
        if engine.desk.is_cross(account_id):
            equity, _, maintenance = engine.desk.margins(account_id, 0)
            return [Entity(0, "USD", equity / USD_E4, maintenance / USD_E4)]
        for number, name in enumerate(names):
            equity, _, maintenance = engine.desk.margins(account_id, number)
            if maintenance > 0:
                found.append(Entity(number, name, self._usd(number, equity), self._usd(number, maintenance)))
        return found

    def _legs(self, account_id: int, entity: Entity) -> list[Leg]:
        engine, found = self._engine, []
        for slot, lots in engine.desk.held(account_id, entity.number):
            listing, market = self._gateway.listings.by_slot[slot], engine.market(slot)
            forward = market.forward_e8 if listing.is_option else market.mark_price_e8
            years = max(0, listing.view.expiry_ns - engine.time_ns) / YEAR_NS if listing.is_option else 0.0
            found.append(
                Leg(
                    listing,
                    lots * listing.lot_e8 / E8,
                    forward / E8,
                    market.index_price_e8 / E8,
                    market.mark_vol_e6 / 1e6,
                    years,
                )
            )
        return found

    def _coins(self, account_id: int, entity: Entity, underlying: int) -> float:
        """Balance in the underlying's own coin, USD: it moves with the index."""
        desk, total = self._engine.desk, 0.0
        for currency, minor in desk.balances(account_id, entity.number):
            if self._engine.desk.underlying_of(currency) == underlying:
                total += self._usd(currency, minor)
        return total

    def _change(self, account_id: int, entity: Entity, legs: list[Leg], underlying: int) -> Change:
        """(move of the price, of vols) of one underlying to the change of the entity's balance, USD. The balance of a
        model by formula leaves options out."""
        coins = self._coins(account_id, entity, underlying)
        formula = self._engine.account(account_id).margin_model.endswith("_sm")
        mine = [leg for leg in legs if leg.listing.underlying == underlying]
        counted = [leg for leg in mine if not (formula and leg.listing.is_option)]
        return lambda move, vol: coins * move + sum(_leg_change(leg, move, vol) for leg in counted)

    # ------------------------------------------------------------------ distances

    def figures(self, account_id: int) -> list[dict[str, Any]]:
        """Per entity with a requirement: health, distance per underlying, and the trades."""
        found = []
        for entity in self._entities(account_id):
            legs = self._legs(account_id, entity)
            underlyings = sorted({leg.listing.underlying for leg in legs})
            found.append(
                {
                    "currency": entity.currency,
                    "equity": round(entity.balance, 4),
                    "maintenance_margin": round(entity.maintenance, 4),
                    "ratio": round(entity.balance / entity.maintenance, 6) if entity.maintenance > 0 else None,
                    "distance": [self._distance(account_id, entity, legs, u) for u in underlyings],
                    "trades": self._trades(account_id, entity, legs),
                }
            )
        return found

    def _distance(self, account_id: int, entity: Entity, legs: list[Leg], underlying: int) -> dict[str, Any]:
        change = self._change(account_id, entity, legs, underlying)
        excess = entity.balance - entity.maintenance
        index = self._engine.index_price(underlying) / E8
        name = self._engine.config.underlyings[underlying].name
        price = {
            side: nearest(lambda move: excess + change(move, 0.0), sign, PRICE_MOVES)
            for side, sign in (("down", -1), ("up", 1))
        }
        vol = {
            side: nearest(lambda move: excess + change(0.0, move), sign, VOL_MOVES)
            for side, sign in (("down", -1), ("up", 1))
        }
        levels = {side: None if move is None else round(index * (1 + move), 4) for side, move in price.items()}
        ladder = sorted({sign * move for move in PRICE_MOVES for sign in (-1, 1) if sign * move >= LOWEST} | {0.0})
        return {
            "underlying": name,
            "index_price": index,
            "price": price,
            "price_level": levels,
            "vol": vol,
            "map": [{"move": move, "equity": round(entity.balance + change(move, 0.0), 4)} for move in ladder],
        }

    # ------------------------------------------------------------------ trades

    def _trades(self, account_id: int, entity: Entity, legs: list[Leg]) -> list[dict[str, Any]]:
        """At most three trades at the best prices shown, cheapest first of those that bring the ratio above the
        outermost warning; after them those that only help. Closing a position, or a perpetual against the delta."""
        if entity.maintenance <= 0 or entity.balance >= entity.maintenance * self._warning():
            return []
        candidates = {leg.listing.slot: -round(leg.size * E8 / leg.listing.lot_e8) for leg in legs}
        for slot, lots in self._hedges(account_id, entity).items():
            candidates.setdefault(slot, lots)
        found = [trade for slot, lots in candidates.items() if (trade := self._trade(account_id, entity, slot, lots))]
        found.sort(key=lambda trade: (not trade["restores"], trade["cost_usd"], -trade["ratio"]))
        return found[:MOST_TRADES]

    def _warning(self) -> float:
        """The outermost ratio that is warned of."""
        return max(self._engine.config.liquidation.warning_ppm, default=PPM) / PPM

    def _hedges(self, account_id: int, entity: Entity) -> dict[int, int]:
        """Lots of each perpetual of the entity that would take its delta away."""
        engine, found = self._engine, {}
        for chain in engine.what_if.greeks(account_id):
            for listing in self._gateway.listings.by_slot.values():
                fits = engine.desk.is_cross(account_id) or engine.desk.currency_of(listing.slot) == entity.number
                if listing.view.kind != "perpetual" or listing.underlying != chain.underlying or not fits:
                    continue
                per_lot = listing.lot_e8 / E8 / (chain.index_price_e8 / E8 if listing.view.inverse else 1)
                lots = -round(chain.net_delta / per_lot)
                if lots:
                    found[listing.slot] = lots
        return found

    def _trade(self, account_id: int, entity: Entity, slot: int, most: int) -> dict[str, Any] | None:
        """The fewest lots of a trade that restore the account, else all of them where that helps."""
        listing, market = self._gateway.listings.by_slot[slot], self._engine.market(slot)
        units = market.best_ask_units if most > 0 else market.best_bid_units
        if units is None or not market.mark_price_e8:
            return None
        warning = self._warning()
        sign, ratio = 1 if most > 0 else -1, entity.balance / entity.maintenance

        def after(lots: int) -> float:
            cost = round(self._cost(listing, market, units, sign * lots) * 10**listing.exponent)
            currency = self._engine.desk.currency_of(slot)
            equity, _, maintenance = self._engine.desk.margins_with(
                account_id, entity.number, [(slot, sign * lots)], {currency: -cost}
            )
            return equity / maintenance if maintenance > 0 else float("inf") if equity > 0 else 0.0

        lots, restores = abs(most), after(abs(most)) >= warning
        if restores:
            low = 0
            while lots - low > 1:
                middle = (low + lots) // 2
                low, lots = (low, middle) if after(middle) >= warning else (middle, lots)
        reached = after(lots)
        if reached <= ratio:
            return None
        cost = self._cost(listing, market, units, sign * lots)
        minor = round(cost * 10**listing.exponent)
        return {
            "instrument_name": listing.name,
            "direction": "buy" if sign > 0 else "sell",
            "amount": listing.amount(lots),
            "price": listing.price(units),
            "cost": cost,
            "cost_currency": listing.currency,
            "cost_usd": round(self._usd(self._engine.desk.currency_of(slot), minor), 4),
            "ratio": round(min(reached, 1e6), 6),
            "restores": restores,
        }

    def _cost(self, listing: Listing, market: Any, units: int, lots: int) -> float:
        """What trading signed lots at a price loses against the mark, with the taker's fee, in coins or dollars."""
        size, price, mark = lots * listing.lot_e8 / E8, listing.price(units) or 0.0, market.mark_price_e8 / E8
        if listing.counts_dollars:
            lost = size * (1 / mark - 1 / price) if price and mark else 0.0
        else:
            lost = size * (price - mark)
        fee = self._engine.what_if.fees(listing.slot, units, abs(lots))[1] / 10**listing.exponent
        return float(lost + fee)


def nearest(excess: Callable[[float], float], sign: int, moves: tuple[float, ...]) -> float | None:
    """The smallest move in a direction at which the excess is negative, to 1e-6; 0 where it is so now, None where it is
    at no rung of the ladder."""
    if excess(0.0) < 0:
        return 0.0
    near = 0.0
    for size in moves:
        far = sign * size
        if far < LOWEST:
            return None
        if excess(far) < 0:
            for _ in range(HALVINGS):
                middle = (near + far) / 2
                near, far = (near, middle) if excess(middle) < 0 else (middle, far)
            return round(far, 6)
        near = far
    return None
