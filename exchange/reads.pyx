"""What the engine shows: views of instruments, markets, orders, positions and accounts at current marks."""

from libc.stdint cimport int64_t, uint32_t, uint64_t

from exchange import mark_views, views
from exchange.bucket_views import BucketView
from exchange.clearing.account cimport is_cross
from exchange.clearing.position cimport Position, PositionList
from exchange.market.instrument cimport KIND_OPTION, KIND_PERPETUAL, NO_SLOT, STATE_AUCTION, Instrument
from exchange.market.instrument import KINDS, STATES
from exchange.market.order cimport Order, OrderDetail
from exchange.risk.isolated_prices import bankruptcy_price_e8, liquidation_price_e8
from exchange.risk.risk_rows cimport MAX_EXPIRIES
from exchange.state cimport State


cdef class Reads(State):
    """Reads change nothing."""

    # ------------------------------------------------------------------ instruments

    def instrument_slot(self, str name):
        """Slot of an instrument, -1 when unknown."""
        return self.listing.slot(name)

    def instruments(self):
        """Slots of live instruments, ascending instrument_id."""
        return self.listing.slots()

    def instrument(self, uint32_t slot):
        cdef Instrument* row = &self.listing.at[slot]
        cdef int i
        return views.InstrumentView(
            instrument=slot, instrument_id=row.instrument_id, name=self.listing.name(slot), kind=KINDS[row.kind],
            underlying=self.underlying_names[row.underlying], settlement=self.currency_names[row.currency],
            inverse=bool(row.inverse), option_type=(None, "call", "put")[row.option_type], strike_e8=row.strike_e8,
            expiry_ns=row.expiry_ns, created_ns=row.created_ns, price_unit_e8=row.price_unit_e8,
            lot_size_e8=row.lot_size_e8,
            tick_steps=tuple([(row.tick_above[i], row.tick_units[i]) for i in range(row.tick_count)]),
            min_quantity_lots=row.min_quantity_lots, max_quantity_lots=row.max_quantity_lots,
            max_price_units=row.max_price_units, maker_ppm=row.maker_ppm, taker_ppm=row.taker_ppm,
            block_min_lots=self.listing.spec(slot).block_min_lots, zero_units=row.zero_units,
            legs=tuple([(leg.instrument, leg.ratio) for leg in self.listing.spec(slot).legs]),
        )

    def market(self, uint32_t slot):
        cdef Instrument* row = &self.listing.at[slot]
        cdef int64_t bid = self.books.at[slot].side[0].best
        cdef int64_t ask = self.books.at[slot].side[1].best
        index = self.rows.index_e8[row.underlying]
        forward = index if row.kind == KIND_PERPETUAL else self.rows.forward_e8[
            row.underlying * MAX_EXPIRIES + row.expiry_bucket]
        auction = None
        if row.state == STATE_AUCTION:
            auction = self.uncross.indicative(slot)
        return views.MarketView(
            state=STATES[row.state], change_id=self.books.at[slot].change_id, mark_price_e8=row.mark_price_e8,
            mark_vol_e6=self.rows.vol_e6[slot], index_price_e8=index, forward_e8=forward,
            best_bid_units=bid if bid >= 0 else None,
            best_bid_lots=self.books.level_lots(slot, 0, bid) if bid >= 0 else 0,
            best_ask_units=ask if ask >= 0 else None,
            best_ask_lots=self.books.level_lots(slot, 1, ask) if ask >= 0 else 0,
            last_price_units=row.last_price_units or None,
            min_price_units=self.pretrade.bands.lowest(row) if row.marked else 0,
            max_price_units=self.pretrade.bands.highest(row) if row.marked else 0,
            open_interest_lots=row.open_interest_lots, volume_lots=row.volume_lots,
            turnover_minor=row.turnover_minor, trade_seq=row.trade_seq,
            funding_rate_e12=self.marks.funding_rate(slot), settlement_price_e8=row.settlement_price_e8,
            auction_until_ns=row.auction_until_ns,
            indicative_price_units=None if auction is None else auction[0],
            indicative_lots=0 if auction is None else auction[1],
        )

    def greeks(self, uint32_t slot):
        return self.rows.greeks(slot, self.time_ns)

    def depth(self, uint32_t slot, int levels):
        return self.books.depth(slot, levels)

    def level_lots(self, uint32_t slot, int side, int64_t price_units):
        return self.books.level_lots(slot, side, price_units)

    def change_id(self, uint32_t slot):
        return self.books.at[slot].change_id

    def pairs(self, int underlying):
        return self.rows.pairs(underlying)

    def forwards(self, int underlying):
        return self.rows.forwards(underlying)

    def index_price(self, int underlying):
        return self.rows.index_e8[underlying]

    def marks_time_ns(self, int underlying):
        """When the underlying's marks were last taken, venue time; 0: never."""
        return self.marks.time_ns[underlying]

    def mark_state(self, int underlying):
        """exchange.mark_views.MarkState of an underlying."""
        plan = self.margin_plan.announced[underlying]
        return mark_views.MarkState(
            stage=self.stages.stage_of(underlying), marked_ns=self.stages.marked_at(underlying),
            held_jump=self.jumps.held_jump(underlying), age_stage=self.stages.age_stage_of(underlying),
            paused_until_ns=self.jumps.paused_until(underlying), index_fixed=self.jumps.fixed[underlying],
            margin_scale_ppm=self.margin_plan.scale_ppm[underlying], announced_margin=plan and plan[:2])

    def mark_overrides(self):
        """(proposals that wait, overrides in force), ascending number: exchange.mark_views.OverrideView."""
        return self.overrides.views()

    def marks_fresh(self, int underlying):
        return self.marks.is_fresh(underlying, self.time_ns)

    # ------------------------------------------------------------------ orders and accounts

    cdef _order_view(self, uint32_t slot):
        cdef Order* order = &self.orders_room.at[slot]
        cdef OrderDetail* detail = &self.orders_room.detail[slot]
        return views.OrderView(
            order_id=order.order_id, account_id=order.account_id, instrument=order.instrument, side=order.side,
            order_type=order.order_type, time_in_force=order.time_in_force, flags=order.flags,
            price_units=order.price_units, quantity_lots=detail.quantity_lots,
            remaining_lots=order.remaining_lots + detail.hidden_lots,
            filled_cost_minor=detail.filled_cost_minor, created_ns=detail.created_ns, updated_ns=detail.updated_ns,
            label=detail.label[:detail.label_bytes].decode("utf-8", "replace"), shown_lots=order.remaining_lots,
            display_lots=detail.display_lots, advanced=detail.advanced, advanced_value_e8=detail.advanced_value_e8,
            protection_group=order.protection_group, linked_order_id=detail.linked_order_id,
        )

    def order(self, uint64_t order_id):
        """A live order, None otherwise."""
        cdef uint32_t slot = self.orders_room.find(order_id)
        return self._order_view(slot) if slot else None

    def open_orders(self, uint32_t account_id, int64_t instrument=-1):
        """Live orders of an account, ascending id, of one instrument slot where given."""
        if not self.accounts.exists(account_id):
            return []
        cdef uint32_t slot = self.orders_room.account_head[account_id]
        out = []
        while slot:
            if instrument < 0 or self.orders_room.at[slot].instrument == instrument:
                out.append(self._order_view(slot))
            slot = self.orders_room.at[slot].account_next
        return out

    def trigger_order(self, uint64_t order_id):
        """A waiting order, None otherwise."""
        return self.triggers.find(order_id)

    def trigger_orders(self, uint32_t account_id, int64_t instrument=-1):
        """Waiting orders of an account, ascending id, of one instrument slot where given."""
        return self.triggers.views(account_id, instrument)

    def protection_groups(self, uint32_t account_id):
        """ProtectionView of the account's groups, ascending underlying and number."""
        return self.protection.views(account_id, self.underlying_names) if self.accounts.exists(account_id) else []

    def quotes_frozen_until(self, uint32_t account_id):
        """Until when the account's quotes are refused at its own request, ns; 0 where they are not."""
        return self.protection.frozen_until(account_id) if self.accounts.exists(account_id) else 0

    def linked_orders(self):
        """(link type, fill condition, order ids) of every group of linked orders."""
        return self.links.listed()

    def self_trade(self, uint32_t account_id):
        """(mode, extended_to_subaccounts) of an account's self-trade prevention."""
        a = &self.accounts.at[account_id]
        return ("reject_taker" if a.reject_taker else "cancel_maker", not a.own_account_only)

    def account_id(self, str name):
        return self.accounts.id_of(name)

    def account_name(self, uint32_t account_id):
        return self.accounts.name(account_id)

    def account_ids(self):
        return list(range(1, self.accounts.high))

    def positions(self, uint32_t account_id):
        """Entries with lots or open orders, ascending slot."""
        cdef PositionList* held
        cdef uint32_t i
        cdef Position* p
        out = []
        if not self.accounts.exists(account_id):
            return out
        held = &self.positions_room.of[account_id]
        for i in range(held.count):
            p = &held.at[i]
            out.append(views.PositionView(
                account_id=account_id, instrument=p.instrument, quantity_lots=p.quantity_lots,
                cost_minor=p.cost_minor,
                mark_value_minor=p.quantity_lots * self.listing.at[p.instrument].mark_minor,
                realised_minor=p.realised_minor, funding_accrued_minor=self.positions_room.accrued(p),
                funding_realised_minor=p.funding_realised_minor, open_buy_lots=p.open_buy_lots,
                open_sell_lots=p.open_sell_lots, combo_buy_lots=p.combo_buy_lots,
                combo_sell_lots=p.combo_sell_lots,
            ))
        return out

    cdef bint _has_price(self, int currency) noexcept:
        cdef int u = self.exposure.currency_underlying[currency]
        return u < 0 or self.rows.index_e8[u] != 0

    def _currency_view(self, uint32_t account_id, int currency):
        cdef PositionList* held = &self.positions_room.of[account_id]
        cdef Position* p
        cdef uint32_t i
        cdef bint cross = is_cross(self.accounts.at[account_id].model)
        cash = self.ledger_room.cash_of(account_id, currency)
        futures = options = 0
        for i in range(held.count):
            p = &held.at[i]
            if self.listing.at[p.instrument].currency != currency or p.quantity_lots == 0:
                continue
            if self.listing.at[p.instrument].kind == KIND_OPTION:
                options += self.positions_room.value_minor(p)
            else:
                futures += self.positions_room.value_minor(p)
        equity, initial, maintenance = self.exposure.margins(account_id, 0 if cross else currency)
        _, alone, _ = self.exposure.margins(account_id, 0 if cross else currency, False)
        available = equity - initial
        if cross:
            initial, maintenance, alone, available = (
                self.desk.to_currency(currency, x) if self._has_price(currency) else 0
                for x in (initial, maintenance, alone, available)
            )
        return views.CurrencyView(
            currency=self.currency_names[currency], cash_minor=cash, equity_minor=cash + futures + options,
            margin_balance_minor=cash + futures + (0 if self.exposure.by_formula(account_id) else options),
            futures_unrealised_minor=futures, options_value_minor=options, initial_margin_minor=initial,
            maintenance_margin_minor=maintenance, position_initial_margin_minor=alone, available_minor=available,
            withdrawable_minor=self._withdrawable_view(account_id, currency),
        )

    def _withdrawable_view(self, uint32_t account_id, int currency):
        cdef int u = self.exposure.currency_underlying[currency]
        if (self.accounts.at[account_id].in_liquidation or (u >= 0 and self.rows.index_e8[u] == 0)
                or not self.on_current_marks(account_id)):
            return 0
        return self.withdrawable(account_id, currency)

    def account(self, uint32_t account_id):
        """The account at current marks; KeyError when there is none."""
        if not self.accounts.exists(account_id):
            raise KeyError(account_id)
        cdef bint cross = is_cross(self.accounts.at[account_id].model)
        currencies = tuple([self._currency_view(account_id, c) for c in range(len(self.currency_names))])
        if cross:
            equity, initial, maintenance = self.exposure.margins(account_id, 0)
            balance = equity
            if self.exposure.by_formula(account_id):
                equity += sum([self.exposure.usd_of(c, view.options_value_minor) for c, view in enumerate(currencies)])
        else:
            equity = balance = initial = maintenance = 0
            for c, view in enumerate(currencies):
                equity += self.exposure.usd_of(c, view.equity_minor)
                balance += self.exposure.usd_of(c, view.margin_balance_minor)
                initial += self.exposure.usd_of(c, view.initial_margin_minor)
                maintenance += self.exposure.usd_of(c, view.maintenance_margin_minor)
        return views.AccountView(
            account_id=account_id, owner_id=self.accounts.owner(account_id), name=self.accounts.name(account_id),
            margin_model=self.accounts.model(account_id), level=self.accounts.at[account_id].level,
            in_liquidation=bool(self.accounts.at[account_id].in_liquidation),
            liquidation_reason=self.accounts.at[account_id].liquidation_reason,
            open_orders=self.orders_room.account_count[account_id], currencies=currencies, equity_usd_e4=equity,
            margin_balance_usd_e4=balance, initial_margin_usd_e4=initial, maintenance_margin_usd_e4=maintenance,
        )

    @property
    def bucket_count(self):
        """Buckets of all accounts, used or not."""
        return 0 if self.config is None else self.accounts.bucket_count

    def bucket_slot(self, uint32_t bucket):
        """The instrument slot that a bucket is for, -1 while it is free."""
        cdef uint32_t slot = self.accounts.at[bucket].instrument
        return -1 if slot == NO_SLOT else int(slot)

    def settlement_average(self, uint32_t slot):
        """(share that is open, mean so far in 1e-8 USD) of a contract's settlement average, as of the last marks; None
        where it has not begun or contracts are not priced on it."""
        cdef Instrument* row = &self.listing.at[slot]
        if row.expiry_bucket == 0 or not self.rows.fixing_of(row).settling:
            return None
        return self.rows.fixing_of(row).open, self.marks.settlement_price_e8(row.underlying, row.expiry_ns)

    def holder(self, uint32_t account_id):
        """The account that a bucket belongs to; the account itself where it is none."""
        return (self.accounts.holder(account_id) or account_id) if self.accounts.exists(account_id) else account_id

    def bucket_of(self, uint32_t account_id, uint32_t slot):
        """Account of the bucket that an account's instrument is isolated in, 0 where it is not."""
        return self.accounts.bucket_of(account_id, slot)

    def bucket_accounts(self, uint32_t account_id):
        """Accounts of an account's buckets, ascending; those that wait to be used again among them."""
        return self.accounts.buckets(account_id) if self.accounts.exists(account_id) else []

    def buckets(self, uint32_t account_id):
        """The isolated positions of an account at current marks, ascending bucket."""
        return [self._bucket_view(bucket) for bucket in self.bucket_accounts(account_id)
                if self.accounts.at[<uint32_t>bucket].instrument != NO_SLOT]

    def _bucket_view(self, uint32_t bucket):
        cdef uint32_t slot = self.accounts.at[bucket].instrument
        cdef Instrument* row = &self.listing.at[slot]
        cdef Position* p = self.positions_room.find(bucket, slot)
        tiers = self.margin_plan.in_force[row.underlying].isolated.tiers
        cash = self.ledger_room.cash_of(bucket, row.currency)
        lots = 0 if p == NULL else int(p.quantity_lots)
        cost = 0 if p == NULL else int(p.cost_minor)
        held = cash + (0 if p == NULL else self.positions_room.accrued(p))
        usd = int(row.lot_size_e8) if row.inverse else 10 ** self.config.currencies[row.currency].exponent
        shape = (bool(row.inverse), lots, int(row.lot_scale_minor), cost, held)
        equity, initial, maintenance = self.exposure.margins(bucket, row.currency)
        return BucketView(
            bucket_account_id=bucket, account_id=self.accounts.at[bucket].holder, instrument=slot,
            leverage_e2=self.accounts.at[bucket].leverage_e2, collateral_minor=cash,
            drawn_minor=self.accounts.at[bucket].drawn_minor, equity_minor=equity, initial_margin_minor=initial,
            position_initial_margin_minor=self.exposure.margins(bucket, row.currency, False)[1],
            maintenance_margin_minor=maintenance, bankruptcy_price_e8=bankruptcy_price_e8(*shape),
            liquidation_price_e8=liquidation_price_e8(*shape, tiers, usd), level=self.accounts.at[bucket].level,
            in_liquidation=bool(self.accounts.at[bucket].in_liquidation),
            liquidation_reason=self.accounts.at[bucket].liquidation_reason,
        )

    def transfer_by_nonce(self, uint32_t account_id, str nonce):
        """exchange.transfer_views.TransferView of what an account submitted with a nonce, None where that is not
        remembered."""
        return self.transfers.find(account_id, nonce)

    def ledger(self, str currency):
        """Clearing accounts of a currency, with the sums over instruments and accounts; they add up to zero."""
        index = self.currency_index(currency)
        if index < 0:
            raise KeyError(currency)
        slots = [s for s in self.listing.slots() if self.listing.at[<uint32_t>s].currency == index]
        return self.ledger_room.sums(index, slots)

    def auctions(self):
        return self.liquidation.views()

    def leases(self):
        return self.liquidation.lease_views()

    def on_current_marks(self, uint32_t account_id):
        """Whether every underlying that the account's margin depends on, orders included, has recent marks, overrides
        left aside."""
        return all([self.stages.is_current(u) for u in self.desk.underlyings(account_id, True)])

    def withdrawable(self, uint32_t account_id, int currency):
        """Cash that may leave, the least by current, announced and stressed initial margin."""
        found = []
        for _, scales in self.margin_plan.strictest():
            self.margin_plan.suppose(scales)
            try:
                found.append(self._withdrawable(account_id, currency))
            finally:
                self.margin_plan.settle(scales)
        return min(found)

    def _withdrawable(self, uint32_t account_id, int currency):
        """Cash that may leave: no more than is there, and the rest still meets initial margin with open orders.

        In a cross account cash is also a hedge, so the requirement moves with it: searched for, to a millionth below.
        """
        cash = self.ledger_room.cash_of(account_id, currency)
        if not self.exposure.is_cross(account_id):
            equity, initial, _ = self.exposure.margins(account_id, currency)
            return max(0, min(equity - initial, cash))
        if cash <= 0 or not self.desk.stands_without(account_id, currency, 0):
            return 0
        low, high = 0, cash + 1
        if self.desk.stands_without(account_id, currency, cash):
            return cash
        while high - low > 1 + (cash >> 20):
            middle = (low + high) // 2
            if self.desk.stands_without(account_id, currency, middle):
                low = middle
            else:
                high = middle
        return low
