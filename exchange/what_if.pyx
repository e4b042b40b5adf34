"""What an account would need: supposed positions, a supposed order, another model, and the table behind a requirement.

Nothing stays changed: lots are supposed and taken back (`Exposure.shift`), an order is counted as open and uncounted
again, a model is switched and switched back, all between two commands.
"""

import hashlib
from bisect import bisect_left

import msgspec
from libc.stdint cimport int64_t, uint32_t
from libc.string cimport memset

from exchange.clearing.account cimport by_formula, is_cross
from exchange.clearing.fees cimport combo_fees, trade_fee
from exchange.clearing.position cimport Position
from exchange import views
from exchange.config import MARGIN_MODELS
from exchange.market.instrument cimport KIND_OPTION, MAX_LEGS, Instrument
from exchange.market.order cimport Order
from exchange.risk.exposure cimport ALL_ORDERS, Margin, ScenarioBook
from exchange.risk.isolated_prices import deductions
from exchange.risk.risk_rows cimport MAX_EXPIRIES
from exchange.risk.scenarios import grid_of, span_names
from exchange.reads cimport Reads

GREEKS = ("delta", "gamma", "vega", "theta", "rho", "net_delta")
VOL_NAMES = ("same", "up", "down")
cdef int64_t ROW_BUDGET = 1 << 52
cdef double DAY_NS = 86400e9
cdef double YEAR_NS = 365.0 * DAY_NS


def parameters_hash(parameters):
    """SHA-256 of a parameter set's canonical msgpack, hexadecimal."""
    return hashlib.sha256(msgspec.msgpack.encode(parameters)).hexdigest()


cdef class WhatIf:
    """Questions about one engine; amounts in minor units of the entity's currency, or 1e-4 USD of a cross account.

    A question asked within `with_positions` sees what is supposed there."""

    cdef Reads state
    cdef dict supposed       # {slot: lots} beside what the account holds

    def __init__(self, Reads state):
        self.state = state
        self.supposed = {}

    def _entities(self, uint32_t account_id):
        if is_cross(self.state.accounts.at[account_id].model):
            return [0]
        return list(range(len(self.state.currency_names)))

    def margins(self, uint32_t account_id, bint with_orders=True):
        """[(equity, initial, maintenance)] per entity."""
        return [self.state.exposure.margins(account_id, entity, with_orders) for entity in self._entities(account_id)]

    # ------------------------------------------------------------------ supposed positions

    def _shift(self, uint32_t account_id, list legs, int sign):
        cdef uint32_t slot
        cdef int64_t lots, held
        cdef Position* position
        for slot, lots in legs:
            self.state.exposure.ensure_book(account_id, self.state.listing.at[slot].chain)
            position = self.state.positions_room.find(account_id, slot)
            held = 0 if position == NULL else position.quantity_lots
            held += self.supposed.get(slot, 0)
            if sign > 0:
                self.state.exposure.shift(account_id, slot, held, lots, 0)
            else:
                self.state.exposure.shift(account_id, slot, held + lots, -lots, 0)

    def legs(self, uint32_t account_id, dict lots_of, bint add):
        """(slot, lots to suppose) so that the account has `lots_of` {slot: lots}, beside what it holds or instead.

        OverflowError where the lots leave the range in which scenario sums are exact."""
        held = self.holdings(account_id)
        legs = []
        for slot in sorted(set(lots_of) | (set() if add else set(held))):
            change = lots_of.get(slot, 0) - (0 if add else held.get(slot, 0))
            if change:
                legs.append((slot, change))
        gross = sum([abs(change) * int(self.state.rows.row_cap[<uint32_t>slot]) for slot, change in legs])
        if gross > ROW_BUDGET - max([0] + self._gross(account_id)):
            raise OverflowError("these lots are beyond what a scenario sum can hold")
        return legs

    def holdings(self, uint32_t account_id):
        """{slot: lots} of the account, supposed ones included, ascending slot; no empty ones."""
        lots = dict([(p.instrument, p.quantity_lots) for p in self.state.positions(account_id)])
        for slot, more in self.supposed.items():
            lots[slot] = lots.get(slot, 0) + more
        return {slot: lots[slot] for slot in sorted(lots) if lots[slot]}

    def _gross(self, uint32_t account_id):
        cdef ScenarioBook* book
        cdef int k
        found = []
        for k in range(self.state.rows.chain_count):
            book = self.state.exposure.book(account_id, k)
            if book != NULL:
                found.append(book.gross_row)
        return found

    def with_positions(self, uint32_t account_id, dict lots_of, bint add=True, question=None):
        """`question()` (default: the margins with open orders) while the account is supposed to hold the lots at their
        marks. KeyError for an account or instrument that is not there, ValueError for one without a mark."""
        cdef uint32_t slot
        if not self.state.accounts.exists(account_id):
            raise KeyError(account_id)
        for slot in lots_of:
            if not self.state.listing.is_live(slot):
                raise KeyError(slot)
            if not self.state.listing.at[slot].marked:
                raise ValueError(f"{self.state.listing.name(slot)} has no mark yet")
            if self.state.listing.at[slot].leg_count:
                raise ValueError(f"{self.state.listing.name(slot)} is a combo: nobody holds it, but its legs")
        legs = self.legs(account_id, lots_of, add)
        return self._supposing(account_id, legs, (lambda: self.margins(account_id)) if question is None else question)

    def _supposing(self, uint32_t account_id, list legs, question):
        before = self.supposed
        self._shift(account_id, legs, 1)
        self.supposed = dict(before)
        for slot, lots in legs:
            self.supposed[slot] = self.supposed.get(slot, 0) + lots
        try:
            return question()
        finally:
            self.supposed = before
            self._shift(account_id, legs, -1)

    def closest_expiry_ns(self):
        """The earliest expiry that is listed, 0 where nothing expires."""
        cdef int b
        expiries = [self.state.rows.bucket_expiry_ns[b] for b in range(self.state.rows.underlying_count * MAX_EXPIRIES)
                    if self.state.rows.bucket_use[b] and b % MAX_EXPIRIES]
        return min(expiries) if expiries else 0

    def projected(self, uint32_t account_id):
        """[(equity, initial, maintenance)] per entity, open orders included, without the positions of the closest
        expiry; None where the account has none of these."""
        closest = self.closest_expiry_ns()
        legs = [(slot, -lots) for slot, lots in self.holdings(account_id).items()
                if closest and self.state.listing.at[<uint32_t>slot].expiry_ns == closest]
        return self._supposing(account_id, legs, lambda: self.margins(account_id)) if legs else None

    def projected_of_currencies(self, uint32_t account_id):
        """[(initial, maintenance)] of `projected` per currency in its minor units; None likewise."""
        found = self.projected(account_id)
        if found is None or not is_cross(self.state.accounts.at[account_id].model):
            return None if found is None else [one[1:] for one in found]
        return [tuple([self.state.desk.to_currency(c, x) if self.state._has_price(c) else 0 for x in found[0][1:]])
                for c in range(len(self.state.currency_names))]

    # ------------------------------------------------------------------ Greeks

    def position_greeks(self, uint32_t account_id):
        """[exchange.views.PositionGreeks] of what the account holds, ascending slot, at the current marks."""
        cdef Instrument* row
        found = []
        for slot, lots in self.holdings(account_id).items():
            row = &self.state.listing.at[<uint32_t>slot]
            coins = lots * row.lot_size
            delta, gamma, vega, theta, rho = self.state.rows.greeks(slot, self.state.time_ns)
            if row.kind != KIND_OPTION:
                delta = (lots * self.state.rows.delta_e10[<uint32_t>slot]) / 1e10
                years = (row.expiry_ns - self.state.time_ns) / YEAR_NS if row.expiry_ns else 0.0
                rho = delta * row.mark_price_e8 / 1e8 * max(0.0, years)
                value = 0
            else:
                delta, gamma, vega, theta, rho = delta * coins, gamma * coins, vega * coins, theta * coins, rho * coins
                value = lots * row.mark_minor if row.inverse else 0
            found.append(views.PositionGreeks(
                instrument=slot, underlying=row.underlying, currency=row.currency, expiry_ns=row.expiry_ns,
                is_option=row.kind == KIND_OPTION, delta=delta, gamma=gamma, vega=vega, theta=theta, rho=rho,
                net_delta=delta - value / 10 ** self.state.config.currencies[row.currency].exponent,
            ))
        return found

    def greeks(self, uint32_t account_id):
        """[exchange.views.ChainGreeks]: sums of `position_greeks` by underlying and settlement currency, ascending."""
        chains = {}
        for one in self.position_greeks(account_id):
            chains.setdefault((one.underlying, one.currency), []).append(one)
        closest = self.closest_expiry_ns()
        return [self._chain_greeks(*key, chains[key], closest) for key in sorted(chains)]

    def _chain_greeks(self, int underlying, int currency, list held, closest):
        tenors = [0.0] * (len(views.TENOR_DAYS) + 1)
        for one in held:
            days = (one.expiry_ns - self.state.time_ns) / DAY_NS
            tenors[bisect_left(views.TENOR_DAYS, days)] += one.vega
        return views.ChainGreeks(
            underlying=underlying, currency=currency, index_price_e8=self.state.rows.index_e8[underlying],
            **{name: sum([getattr(one, name) for one in held]) for name in GREEKS},
            option_delta=sum([one.delta for one in held if one.is_option]),
            later_net_delta=sum([one.net_delta for one in held if one.expiry_ns != closest]),
            vega_by_tenor=tuple(tenors),
        )

    # ------------------------------------------------------------------ one position of a formula account

    def position_margins(self, uint32_t account_id):
        """{slot: (initial, maintenance, added by open orders)} of a formula account's positions, each by itself, in
        minor units; {} of other models."""
        cdef uint32_t slot
        cdef Order* order
        if not by_formula(self.state.accounts.at[account_id].model):
            return {}
        if self.state.accounts.is_bucket(account_id):
            return self._bucket_margins(account_id)
        costs = {}
        slot = self.state.orders_room.account_head[account_id]
        while slot:
            order = &self.state.orders_room.at[slot]
            lots = self.state.orders_room.whole_lots(order)
            costs[order.instrument] = costs.get(order.instrument, 0) + self.state.exposure.order_cost(order, lots)
            slot = order.account_next
        found = {}
        for view in self.state.positions(account_id):
            if self.state.listing.at[<uint32_t>view.instrument].leg_count:
                continue     # a combo's order: its risk is that of the legs
            alone, keep = self.state.exposure.formulas.of_position(view.instrument, view.quantity_lots, 0, 0)
            whole, _ = self.state.exposure.formulas.of_position(
                view.instrument, view.quantity_lots, view.open_buy_lots, view.open_sell_lots)
            found[view.instrument] = (alone, keep, whole - alone + costs.get(view.instrument, 0))
        return found

    def _bucket_margins(self, uint32_t account_id):
        """The same of an isolated position."""
        found = {}
        for view in self.state.positions(account_id):
            currency = self.state.listing.at[<uint32_t>view.instrument].currency
            _, whole, keep = self.state.exposure.margins(account_id, currency)
            _, alone, _ = self.state.exposure.margins(account_id, currency, False)
            found[view.instrument] = (alone, keep, whole - alone)
        return found

    # ------------------------------------------------------------------ a supposed order

    def order_margin(self, uint32_t account_id, uint32_t slot, int side, int64_t price_units, int64_t lots):
        """What an order would add to the initial margin, minor units of the instrument's currency; -1 where the
        account's limits do not let it in."""
        cdef Order order
        cdef Margin before, after
        cdef int currency = self.state.listing.at[slot].currency
        if not self._supposed(&order, account_id, slot, side, price_units, lots):
            return -1
        self.state.exposure.margin(account_id, currency, ALL_ORDERS, &before)
        self._suppose(&order)
        try:
            self.state.exposure.margin(account_id, currency, ALL_ORDERS, &after)
        finally:
            self._suppose_no_more(&order)
        added = max(0, after.initial - before.initial)
        cross = is_cross(self.state.accounts.at[account_id].model)
        return self.state.desk.to_currency(currency, added) if cross else added

    def order_table(self, uint32_t account_id, uint32_t slot, int side, int64_t price_units, int64_t lots):
        """`explain` of the account with an order among its open ones; None where its limits do not let it in."""
        cdef Order order
        if not self._supposed(&order, account_id, slot, side, price_units, lots):
            return None
        self._suppose(&order)
        try:
            return self.explain(account_id)
        finally:
            self._suppose_no_more(&order)

    cdef int _suppose(self, Order* order) except -1:
        """Count an order that is in no pool among the account's. Its figures could not be made anew, so the account
        keeps its blocks meanwhile, whoever else is asked."""
        self.state.exposure.order_added(order)
        self.state.exposure.kept_account = order.account_id
        return 0

    cdef int _suppose_no_more(self, Order* order) except -1:
        self.state.exposure.kept_account = 0
        self.state.exposure.order_reduced(order, order.remaining_lots, True)
        return 0

    cdef bint _supposed(self, Order* order, uint32_t account_id, uint32_t slot, int side, int64_t price_units,
                        int64_t lots) except -1:
        """Fill in an order that is not placed; whether the account's limits would let it in."""
        if lots <= 0 or price_units <= 0:
            return False
        if self.state.pretrade.limit_reason(account_id, slot, side, lots, False):
            return False
        memset(order, 0, sizeof(Order))
        order.account_id = account_id
        order.owner_id = self.state.accounts.at[account_id].owner_id
        order.instrument = slot
        order.side = side
        order.price_units = price_units
        order.remaining_lots = lots
        # figures of open orders are brought up to date from the orders there are, which this one is not
        self.state.exposure.refresh_orders(account_id, self.state.listing.at[slot].chain)
        return True

    def fees(self, uint32_t slot, int64_t price_units, int64_t lots):
        """(maker, taker) fee of a trade, minor units."""
        cdef Instrument* row = &self.state.listing.at[slot]
        cdef int bad = 0
        cdef int64_t cost
        cdef int64_t index = self.state.rows.index_e8[row.underlying]
        cdef int64_t prices[MAX_LEGS]
        cdef int64_t fees[MAX_LEGS]
        if row.leg_count:
            self.state.listing.leg_prices(row, price_units, prices)
            maker = combo_fees(self.state.listing, row, prices, lots, False, index, fees, &bad)
            taker = combo_fees(self.state.listing, row, prices, lots, True, index, fees, &bad)
        else:
            cost = self.state.listing.trade_cost(row, price_units, lots, &bad)
            maker = trade_fee(row, cost, lots, row.maker_ppm, index, &bad)
            taker = trade_fee(row, cost, lots, row.taker_ppm, index, &bad)
        if bad:
            raise OverflowError("the trade is too large")
        return maker, taker

    # ------------------------------------------------------------------ another model

    def under_model(self, uint32_t account_id, str model):
        """exchange.views.AccountView under another model, as if it were the account's."""
        cdef int before = self.state.accounts.at[account_id].model
        self.state.accounts.at[account_id].model = MARGIN_MODELS.index(model)
        self.state.rebuild_books(account_id)
        try:
            account = self.state.account(account_id)
        finally:
            self.state.accounts.at[account_id].model = before
            self.state.rebuild_books(account_id)
        return account

    # ------------------------------------------------------------------ the table behind a requirement

    def explain(self, uint32_t account_id):
        """Everything that the requirement is made of, as plain values (docs/margin.md)."""
        if not self.state.accounts.exists(account_id):
            raise KeyError(account_id)
        model = self.state.accounts.model(account_id)
        out = {"account_id": account_id, "margin_model": model, "seq": self.state.seq, "time_ns": self.state.time_ns}
        entities = []
        for entity, (equity, initial, maintenance) in zip(self._entities(account_id), self.margins(account_id)):
            _, alone, _ = self.state.exposure.margins(account_id, entity, False)
            found = {
                "currency": "USD" if is_cross(self.state.accounts.at[account_id].model)
                else self.state.currency_names[entity],
                "equity": equity, "initial": initial, "maintenance": maintenance, "initial_of_positions": alone,
            }
            entities.append(found)
            parts = self.state.exposure.span_parts(account_id, entity)
            if parts:
                found["span16"] = [self._part(account_id, entity, part) for part in parts]
        out["entities"] = entities
        isolated = self._isolated(account_id)
        if isolated:
            out["isolated"] = isolated
        if self.state.accounts.is_bucket(account_id):
            return out
        if by_formula(self.state.accounts.at[account_id].model):
            out["parameters"] = [self._set(u, u.standard) for u in self.state.margin_plan.in_force]
            out["positions"] = self._formula_positions(account_id)
        else:
            if is_cross(self.state.accounts.at[account_id].model):
                out["charges"] = [
                    {"underlying": self.state.underlying_names[u], "unit": "1e-4 USD", **charges}
                    for u in range(self.state.rows.underlying_count)
                    if (charges := self._charges(account_id, u, -1))
                ]
            out["books"] = [book for k in range(self.state.rows.chain_count)
                            if (book := self._book(account_id, k)) is not None]
        return out

    def _part(self, uint32_t account_id, int entity, dict part):
        """An underlying's part of a requirement under `span16`, with what it belongs to."""
        underlying = self.state.margin_plan.in_force[part["underlying"]]
        coin = not is_cross(self.state.accounts.at[account_id].model) and (
            self.state.exposure.currency_underlying[entity] >= 0)
        terms = self.state.config.span_credits
        currency = -1 if is_cross(self.state.accounts.at[account_id].model) else entity
        return part | self._concentration(account_id, part["underlying"], currency) | {
            "underlying": underlying.name, "unit": "1e-10 coin" if coin else "1e-4 USD",
            "parameters": self._set(underlying, underlying.span),
            "credits": None if terms is msgspec.UNSET else {"name": terms.name, "version": terms.version,
                                                            "sha256": parameters_hash(terms)},
            "initial_factor_ppm": self.state.rows.factors(part["underlying"])[0],
            "maintenance_factor_ppm": self.state.rows.factors(part["underlying"])[1],
        }

    def _charges(self, uint32_t account_id, int underlying, int currency):
        """Charges beside the grid by name, and the losses that compete with the worst column; {} without any."""
        found = self.state.exposure.charges(account_id, underlying, currency)
        if found is None:
            return {}
        charges, rivals = found
        return self._concentration(account_id, underlying, currency) | {
            "charges": {name: {"initial": a, "maintenance": b} for name, (a, b) in charges.items()},
            "rivals": {name: {"positions": a, "with_orders": b} for name, (a, b) in rivals.items()},
            "horizon_days": self.state.margin_plan.in_force[underlying].matrix.horizon_days,
        }

    def _concentration(self, uint32_t account_id, int underlying, int currency):
        """What the charge of that name rests on; {} where the set asks for none."""
        borne = self.state.exposure.concentration(account_id, underlying, currency)
        if borne is None:
            return {}
        interest, depth = self.state.market_size.figures(underlying)
        names = ("own_delta_e10", "owner_delta_e10", "rate_e12")
        more = {name: {"positions": borne[0][i], "with_orders": borne[1][i]} for i, name in enumerate(names)}
        return {"concentration": more | {"open_interest_e10": interest, "depth_e10": depth}}

    def _set(self, underlying, parameters):
        return {"underlying": underlying.name, "name": parameters.name, "version": parameters.version,
                "sha256": parameters_hash(parameters)}

    def _book(self, uint32_t account_id, int chain):
        """One scenario book: columns with moves, the P&L of positions and of what orders can take away, charges."""
        cdef int u = self.state.rows.chain[chain].underlying
        cdef int currency = self.state.rows.chain[chain].currency
        cdef int b, k
        cdef ScenarioBook* book
        cdef double* taken
        totals = self.state.exposure.scenario_totals(account_id, chain, True)
        if totals is None or not (totals[5] or totals[6]):
            return None
        pnl, _, deltas, value, cost, held_lots, open_lots, *_ = totals
        book = self.state.exposure.book(account_id, chain)
        self.state.exposure._bring_up(account_id, chain, book, ALL_ORDERS)
        taken = self.state.exposure._orders_pnl(book)
        orders = [int(taken[b]) for b in range(len(pnl))]
        underlying = self.state.margin_plan.in_force[u]
        own = underlying.matrix if underlying.span is msgspec.UNSET else underlying.span
        coin = not is_cross(self.state.accounts.at[account_id].model) and (
            self.state.exposure.currency_underlying[currency] >= 0)
        grid = self.state.rows.grid[u]
        dampener = [int(grid.dampener_coin[k]) if coin else int(grid.dampener_usd[k]) for k in range(len(pnl))]
        table = [
            {"move_ppm": column.move_ppm, "vol": VOL_NAMES[column.vol], "extended": column.extended,
             "weight": column.weight[0] / column.weight[1], "dampener": dampener[j], "positions": pnl[j],
             "orders": orders[j]}
            for j, column in enumerate(grid_of(underlying)) if column.weight[0]
        ]
        if underlying.span is not msgspec.UNSET:
            names = span_names(underlying.span)
            table = [row | {"name": names[j]} for j, row in enumerate(table)]
        roll = [
            {"expiry_ns": self.state.rows.bucket_expiry_ns[u * MAX_EXPIRIES + b], "delta_e10": deltas[b],
             "move_q32": int(grid.move_q32[b]), "charge_e10": -(-abs(deltas[b]) * int(grid.move_q32[b]) >> 32)}
            for b in range(MAX_EXPIRIES) if deltas[b]
        ]
        beside = {} if is_cross(self.state.accounts.at[account_id].model) else self._charges(account_id, u, currency)
        return {
            "underlying": underlying.name, "currency": self.state.currency_names[currency], **beside,
            "unit": "1e-10 coin" if coin else "1e-4 USD",
            "grid": "matrix" if underlying.span is msgspec.UNSET else "span16",
            "parameters": self._set(underlying, own),
            "index_price_e8": self.state.rows.index_e8[u], "scenarios": table, "roll": roll,
            "value_minor": value, "order_cost_minor": cost, "held_lots": held_lots, "open_lots": open_lots,
            "worst": max([0] + [-row["positions"] - min(max(-row["positions"], 0), row["dampener"]) for row in table]),
        }

    def _isolated(self, uint32_t account_id):
        """The isolated positions of an account, or a bucket's own: tiers, collateral, requirements and where it is
        liquidated and bankrupt (exchange/risk/isolated_prices.py). Amounts in minor units, prices in 1e-8 USD."""
        found = []
        holder = self.state.accounts.holder(account_id) or account_id
        for view in Reads.buckets(self.state, holder):
            if holder != account_id and view.bucket_account_id != account_id:
                continue
            slot = view.instrument
            underlying = self.state.margin_plan.in_force[self.state.listing.at[<uint32_t>slot].underlying]
            tiers = underlying.isolated.tiers
            held = [p for p in self.state.positions(view.bucket_account_id) if p.instrument == slot]
            lots = held[0].quantity_lots if held else 0
            notional = self._notional_usd_e8(slot, lots)
            place = max([i for i, tier in enumerate(tiers) if tier.above_usd * 10**8 <= notional])
            found.append({
                "account_id": view.bucket_account_id, "instrument_name": self.state.listing.name(slot),
                "currency": self.state.currency_names[self.state.listing.at[<uint32_t>slot].currency],
                "parameters": self._set(underlying, underlying.isolated), "lots": lots,
                "open_buy_lots": held[0].open_buy_lots if held else 0,
                "open_sell_lots": held[0].open_sell_lots if held else 0,
                "leverage_e2": view.leverage_e2, "notional_usd_e8": notional, "tier": place,
                "tiers": [
                    {"above_usd": tier.above_usd, "initial_ppm": tier.initial_ppm,
                     "maintenance_ppm": tier.maintenance_ppm, "deduction_usd_e6": deduction}
                    for tier, deduction in zip(tiers, deductions(tiers))
                ],
                "mark_price_e8": self.state.listing.at[<uint32_t>slot].mark_price_e8,
                "cost_minor": held[0].cost_minor if held else 0,
                "funding_accrued_minor": held[0].funding_accrued_minor if held else 0,
                "collateral_minor": view.collateral_minor, "drawn_minor": view.drawn_minor,
                "equity_minor": view.equity_minor, "initial": view.initial_margin_minor,
                "initial_of_positions": view.position_initial_margin_minor,
                "maintenance": view.maintenance_margin_minor,
                "bankruptcy_price_e8": view.bankruptcy_price_e8, "liquidation_price_e8": view.liquidation_price_e8,
            })
        return found

    def _notional_usd_e8(self, uint32_t slot, lots):
        """What leverage tiers go by: the size of an inverse position, the value at the mark of a linear one."""
        cdef Instrument* row = &self.state.listing.at[slot]
        if row.inverse:
            return abs(lots) * row.lot_size_e8
        exponent = self.state.config.currencies[row.currency].exponent
        return abs(lots) * abs(int(row.mark_minor)) * 10**8 // 10**exponent

    def _formula_positions(self, uint32_t account_id):
        """The requirement of each position by itself, in its currency."""
        found = []
        for view in self.state.positions(account_id):
            if not (view.quantity_lots or view.open_buy_lots or view.open_sell_lots):
                continue
            initial, maintenance = self.state.exposure.formulas.of_position(
                view.instrument, view.quantity_lots, view.open_buy_lots, view.open_sell_lots)
            found.append({
                "instrument_name": self.state.listing.name(view.instrument),
                "currency": self.state.currency_names[self.state.listing.at[<uint32_t>view.instrument].currency],
                "lots": view.quantity_lots,
                "open_buy_lots": view.open_buy_lots, "open_sell_lots": view.open_sell_lots,
                "initial": initial, "maintenance": maintenance,
            })
        return found
