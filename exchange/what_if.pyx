"""What an account would need: supposed positions, a supposed order, another model, and the table behind a requirement.

Nothing stays changed: lots are supposed and taken back (`Exposure.shift`), an order is counted as open and uncounted
again, a model is switched and switched back, all between two commands.
"""

import hashlib

import msgspec
from libc.stdint cimport int64_t, uint32_t
from libc.string cimport memset

from exchange.clearing.account cimport by_formula, is_cross
from exchange.clearing.fees cimport combo_fees, trade_fee
from exchange.clearing.position cimport Position
from exchange.config import MARGIN_MODELS
from exchange.market.instrument cimport MAX_LEGS, Instrument
from exchange.market.order cimport Order
from exchange.risk.exposure cimport ALL_ORDERS, Margin, ScenarioBook
from exchange.risk.risk_rows cimport MAX_EXPIRIES
from exchange.risk.scenarios import columns
from exchange.reads cimport Reads

VOL_NAMES = ("same", "up", "down")
cdef int64_t ROW_BUDGET = 1 << 52


def parameters_hash(parameters):
    """SHA-256 of a parameter set's canonical msgpack, hexadecimal."""
    return hashlib.sha256(msgspec.msgpack.encode(parameters)).hexdigest()


cdef class WhatIf:
    """Questions about one engine; amounts in minor units of the entity's currency, or 1e-4 USD of a cross account."""

    cdef Reads state

    def __init__(self, Reads state):
        self.state = state

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
            if sign > 0:
                self.state.exposure.shift(account_id, slot, held, lots, 0)
            else:
                self.state.exposure.shift(account_id, slot, held + lots, -lots, 0)

    def legs(self, uint32_t account_id, dict lots_of, bint add):
        """(slot, lots to suppose) so that the account has `lots_of` {slot: lots}, beside what it holds or instead.

        OverflowError where the lots leave the range in which scenario sums are exact."""
        held = dict([(p.instrument, p.quantity_lots) for p in self._positions(account_id)])
        legs = []
        for slot in sorted(set(lots_of) | (set() if add else set(held))):
            change = lots_of.get(slot, 0) - (0 if add else held.get(slot, 0))
            if change:
                legs.append((slot, change))
        gross = sum([abs(change) * int(self.state.rows.row_cap[<uint32_t>slot]) for slot, change in legs])
        if gross > ROW_BUDGET - max([0] + self._gross(account_id)):
            raise OverflowError("these lots are beyond what a scenario sum can hold")
        return legs

    def _positions(self, account_id):
        return self.state.positions(account_id)

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
        self._shift(account_id, legs, 1)
        try:
            return self.margins(account_id) if question is None else question()
        finally:
            self._shift(account_id, legs, -1)

    # ------------------------------------------------------------------ a supposed order

    def order_margin(self, uint32_t account_id, uint32_t slot, int side, int64_t price_units, int64_t lots):
        """What an order would add to the initial margin, minor units of the instrument's currency; -1 where the
        account's limits do not let it in."""
        cdef Order order
        cdef Margin before, after
        cdef int currency = self.state.listing.at[slot].currency
        cdef bint cross = is_cross(self.state.accounts.at[account_id].model)
        if lots <= 0 or price_units <= 0:
            return -1
        if self.state.pretrade.limit_reason(account_id, slot, side, lots, False):
            return -1
        memset(&order, 0, sizeof(Order))
        order.account_id = account_id
        order.owner_id = self.state.accounts.at[account_id].owner_id
        order.instrument = slot
        order.side = side
        order.price_units = price_units
        order.remaining_lots = lots
        self.state.exposure.margin(account_id, currency, ALL_ORDERS, &before)
        self.state.exposure.order_added(&order)
        self.state.exposure.margin(account_id, currency, ALL_ORDERS, &after)
        self.state.exposure.order_reduced(&order, lots, True)
        added = max(0, after.initial - before.initial)
        return self.state.desk.to_currency(currency, added) if cross else added

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
            entities.append({
                "currency": "USD" if is_cross(self.state.accounts.at[account_id].model)
                else self.state.currency_names[entity],
                "equity": equity, "initial": initial, "maintenance": maintenance, "initial_of_positions": alone,
            })
        out["entities"] = entities
        if by_formula(self.state.accounts.at[account_id].model):
            out["parameters"] = [self._set(u, u.standard) for u in self.state.config.underlyings]
            out["positions"] = self._formula_positions(account_id)
        else:
            out["books"] = [book for k in range(self.state.rows.chain_count)
                            if (book := self._book(account_id, k)) is not None]
        return out

    def _set(self, underlying, parameters):
        return {"underlying": underlying.name, "name": parameters.name, "version": parameters.version,
                "sha256": parameters_hash(parameters)}

    def _book(self, uint32_t account_id, int chain):
        """One scenario book: columns with moves, the P&L of positions and of what orders can take away, charges."""
        cdef int u = self.state.rows.chain[chain].underlying
        cdef int currency = self.state.rows.chain[chain].currency
        cdef int b, k
        totals = self.state.exposure.scenario_totals(account_id, chain, True)
        if totals is None or not (totals[5] or totals[6]):
            return None
        pnl, orders, deltas, value, cost, held_lots, open_lots = totals[:7]
        underlying = self.state.config.underlyings[u]
        coin = not is_cross(self.state.accounts.at[account_id].model) and (
            self.state.exposure.currency_underlying[currency] >= 0)
        grid = self.state.rows.grid[u]
        dampener = [int(grid.dampener_coin[k]) if coin else int(grid.dampener_usd[k]) for k in range(len(pnl))]
        table = [
            {"move_ppm": column.move_ppm, "vol": VOL_NAMES[column.vol], "extended": column.extended,
             "weight": column.weight[0] / column.weight[1], "dampener": dampener[j], "positions": pnl[j],
             "orders": orders[j]}
            for j, column in enumerate(columns(underlying.matrix)) if column.weight[0]
        ]
        roll = [
            {"expiry_ns": self.state.rows.bucket_expiry_ns[u * MAX_EXPIRIES + b], "delta_e10": deltas[b],
             "move_q32": int(grid.move_q32[b]), "charge_e10": -(-abs(deltas[b]) * int(grid.move_q32[b]) >> 32)}
            for b in range(MAX_EXPIRIES) if deltas[b]
        ]
        return {
            "underlying": underlying.name, "currency": self.state.currency_names[currency],
            "unit": "1e-10 coin" if coin else "1e-4 USD", "parameters": self._set(underlying, underlying.matrix),
            "index_price_e8": self.state.rows.index_e8[u], "scenarios": table, "roll": roll,
            "value_minor": value, "order_cost_minor": cost, "held_lots": held_lots, "open_lots": open_lots,
            "worst": max([0] + [-row["positions"] - min(max(-row["positions"], 0), row["dampener"]) for row in table]),
        }

    def _formula_positions(self, uint32_t account_id):
        """The requirement of each position by itself, in its currency."""
        found = []
        for view in self._positions(account_id):
            if not (view.quantity_lots or view.open_buy_lots or view.open_sell_lots):
                continue
            initial, maintenance = self.state.exposure.formulas.of_position(
                view.instrument, view.quantity_lots, view.open_buy_lots, view.open_sell_lots)
            found.append({
                "instrument_name": self.state.listing.name(view.instrument), "lots": view.quantity_lots,
                "open_buy_lots": view.open_buy_lots, "open_sell_lots": view.open_sell_lots,
                "initial": initial, "maintenance": maintenance,
            })
        return found
