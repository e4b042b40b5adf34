"""The engine's state: its rooms, built from the configuration; the canonical export and the digest over it."""

import hashlib

import msgspec
from libc.stdint cimport int64_t, uint32_t

from exchange import config as vocabulary
from exchange import invariants, views
from exchange.trading.blocks import Blocks
from exchange.trading.buckets import Buckets
from exchange.trading.killswitch import KillSwitch
from exchange.liquidation.debts import Debts
from exchange.liquidation.stages import Liquidation
from exchange.market.order cimport Order, OrderDetail
from exchange.risk.bands import LEAST_ACCOUNTS
from exchange.risk.exposure cimport ScenarioBook
from exchange.risk.exposure_reads import ExposureReads
from exchange.risk.margin_plan import MarginPlan
from exchange.risk.shifted_rows import ShiftedRows
from exchange.settlement import Settlement
from exchange.trading.offers import Offers
from exchange.trading.overrides import Overrides
from exchange.trading.transfers import Transfers
from exchange.trading.uncross import Uncross

cdef int64_t DAY_NS = 86_400_000_000_000
cdef int64_t EIGHT_HOURS_NS = 28_800_000_000_000


cdef class State:
    """All rooms of the venue; what changes them stands in the rooms and in the commands above."""

    def __init__(self):
        self.events = EventBuffer()
        self.band_accounts = LEAST_ACCOUNTS

    def build(self, config):
        """Make the rooms of a checked configuration."""
        self.config = config
        self.day_end_ns = self.next_day_end()
        self.currency_names = [currency.name for currency in config.currencies]
        self.underlying_names = [underlying.name for underlying in config.underlyings]
        limits = config.limits
        self.accounts = Accounts(limits.max_accounts)
        self.listing = Instruments(limits.max_instruments)
        self.orders_room = Orders(limits.max_open_orders)
        self.books = Books(self.orders_room, limits.max_instruments)
        self.ledger_room = Ledger(len(config.currencies), limits.max_instruments, limits.max_balance_minor)
        self.positions_room = Positions(self.listing, self.ledger_room)
        self.rows = ShiftedRows(self.listing, config)
        self.protection = Protection(self.listing, self.rows, self.events, config)
        self.exposure = ExposureReads(self.accounts, self.ledger_room, self.listing, self.orders_room,
                                 self.positions_room, self.rows, self.protection, config)
        self.market_size = MarketSize(self.listing, self.books, self.rows, config)
        self.exposure.market = self.market_size
        self.stages = MarkStages(self.events, config)
        self.jumps = MarkJumps(self.events, config)
        self.marks = Marks(self.listing, self.books, self.positions_room, self.rows, self.stages, self.jumps, config)
        self.switches = Switches(self.accounts, len(config.underlyings))
        self.collateral = Collateral(self.accounts, self.ledger_room, self.exposure, self.events, config)
        self.pretrade = Pretrade(self.accounts, self.listing, self.orders_room, self.positions_room, self.exposure,
                                 self.switches, self.stages, self.collateral, config)
        bands = Bands(self.exposure, config, self.band_accounts)
        self.margin_plan = MarginPlan(self.rows, self.exposure.formulas, bands, self.events, config)
        self.monitor = Monitor(self.accounts, self.exposure, bands, self.events, config)
        self.combos = Combos(self.listing, self.orders_room, self.books, self.positions_room, self.exposure,
                             self.monitor, self.events)
        self.trading = Trading(self.accounts, self.listing, self.orders_room, self.books, self.positions_room,
                               self.exposure, self.pretrade, self.protection, self.monitor, self.combos, self.events)
        self.quotes = Quotes(self.accounts, self.listing, self.orders_room, self.exposure, self.pretrade,
                             self.protection, self.trading, self.events, config)
        self.triggers = Triggers(self.listing, self.rows, self.pretrade, self.trading, self.events, config)
        self.advanced = AdvancedOrders(self.orders_room, self.pretrade, self.trading)
        self.links = Links(self.listing, self.orders_room, self.trading, self.triggers, self.events)
        self.trading.links = self.links
        self.buckets = Buckets(self.accounts, self.listing, self.orders_room, self.positions_room, self.exposure,
                               self.collateral, self.monitor, self.triggers, self.switches, self.events, config)
        self.settlement = Settlement(self.accounts, self.listing, self.orders_room, self.books, self.positions_room,
                                     self.exposure, self.marks, self.monitor, self.trading, self.triggers,
                                     self.buckets, self.events)
        self.uncross = Uncross(self.accounts, self.listing, self.books, self.orders_room, self.switches, self.stages,
                               self.trading, self.events)
        self.overrides = Overrides(self.stages, self.jumps, self.rows, self.uncross, self.set_index, self.events,
                                   config)
        self.blocks = Blocks(self.listing, self.positions_room, self.exposure, self.pretrade, self.monitor,
                             self.trading, self.events)
        self.transfers = Transfers(self.accounts, self.ledger_room, self.monitor, self.events, config)
        self.kill_switch = KillSwitch(self.accounts, self.listing, self.orders_room, self.switches, self.trading,
                                      self.triggers, self.events, self.underlying_names, config)
        self.desk = Desk(self.accounts, self.ledger_room, self.listing, self.positions_room, self.exposure,
                         self.marks, self.switches, self.monitor, self.events, self.collateral, self.cancel_orders,
                         config)
        self.liquidation = Liquidation(self.desk, config.liquidation)
        self.debts = Debts(self.desk, config.currencies)
        self.offers = Offers(self.desk, self.blocks)

    cdef int rebuild_books(self, uint32_t account_id) except -1:
        """An account's scenario books anew: its numeraire has changed."""
        cdef int k
        cdef ScenarioBook* book
        self.ledger_room.touch(account_id)
        for k in range(self.rows.chain_count):
            book = self.exposure.book(account_id, k)
            if book != NULL:
                self.exposure.rebuild(account_id, k)
                book.orders_revision = 0
                self.exposure.refresh_orders(account_id, k)
        return 0

    cdef int64_t next_day_end(self) noexcept:
        """The 08:00 UTC that follows the current time."""
        return self.time_ns + DAY_NS - (self.time_ns - EIGHT_HOURS_NS) % DAY_NS

    def cancel_orders(self, uint32_t account_id, int reason):
        """Cancel every open order of an account, ascending id (liquidation)."""
        cdef uint32_t slot = self.orders_room.account_head[account_id]
        cdef uint32_t following
        count = 0
        for trigger in self.triggers.of_account(account_id):
            self.triggers.withdraw(trigger.order_id, reason)
            count += 1
        while slot:
            following = self.orders_room.at[slot].account_next
            self.trading.withdraw(slot, reason, True)
            slot = following
            count += 1
        return count

    # ------------------------------------------------------------------ output

    def take_events(self):
        """Events since the last call, as bytes of 64-byte slots."""
        return self.events.take()

    def event_chain(self):
        """(SHA-256 of the events since the last checkpoint, chained to it; events in all)."""
        return self.events.chain()

    @property
    def revision(self):
        """Increases with every command."""
        return self.seq

    @property
    def listing_revision(self):
        """Increases when an instrument is listed or archived."""
        return self.listing.revision

    def export(self):
        """Canonical state as nested lists of integers and strings."""
        slots = self.listing.slots()
        return [
            self.seq, self.time_ns, self.checkpoints, self.orders_placed,
            self.trading.next_order_id, self.trading.next_trade_id,
            self.accounts.export(),
            self.ledger_room.export(self.accounts.high, slots),
            self.positions_room.export(self.accounts.high),
            self.listing.export(),
            self.rows.export(),
            self.marks.export(),
            [[slot, self.books.at[<uint32_t>slot].change_id, self.books.queue(slot, 0), self.books.queue(slot, 1)]
             for slot in slots],
            [vocabulary.encode(self.listing.spec(slot)) for slot in slots],
            [self._order_export(self.orders_room.find(order_id))
             for slot in slots for side in range(2) for order_id in self.books.queue(slot, side)],
            self.monitor.export(),
            self.triggers.export(),
            self.links.export(),
            self.protection.export(),
            self.advanced.export(),
            self.day_end_ns,
            self.switches.export(),
            self.kill_switch.export(),
            self.blocks.export(),
            self.liquidation.export(),
            self.stages.export(),
            self.jumps.export(),
            *self.debts.export(),
            *self.market_size.export(),
            *self.margin_plan.export(),
            *self.overrides.export(),
            *self.transfers.export(),
            *self.offers.export(),
        ]

    cdef _order_export(self, uint32_t slot):
        cdef Order* order = &self.orders_room.at[slot]
        cdef OrderDetail* detail = &self.orders_room.detail[slot]
        return [
            order.order_id, order.account_id, order.instrument, order.owner_id, order.side, order.order_type,
            order.time_in_force, order.flags, detail.key_id, order.price_units, order.remaining_lots,
            detail.quantity_lots, detail.filled_cost_minor, detail.created_ns, detail.updated_ns,
            detail.label[:detail.label_bytes], order.protection_group, detail.display_lots, detail.hidden_lots,
            detail.linked_order_id, detail.advanced, detail.advanced_value_e8,
        ]

    def state_digest(self):
        """SHA-256 of the canonical state."""
        return hashlib.sha256(msgspec.msgpack.encode([vocabulary.encode(self.config), self.export()])).digest()

    def audit(self):
        """Every invariant in full; [] when sound, else what is wrong."""
        return invariants.audit(self)

    def counters(self):
        return views.Counters(
            commands=self.seq, orders=self.orders_placed, trades=self.trading.next_trade_id - 1,
            events=self.events.count, accounts=self.accounts.high - 1, open_orders=self.orders_room.live,
            instruments=self.listing.live, below_maintenance=self.monitor.below_maintenance,
            auctions_open=len(self.liquidation.auctions), auctions_closed=self.liquidation.auctions_closed,
            liquidations=self.liquidation.liquidations,
        )

    def currency_index(self, str name):
        """Index of a currency, -1 when unknown."""
        return self.currency_names.index(name) if name in self.currency_names else -1

    def underlying_index(self, str name):
        """Index of an underlying, -1 when unknown."""
        return self.underlying_names.index(name) if name in self.underlying_names else -1
