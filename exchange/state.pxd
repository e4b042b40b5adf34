from libc.stdint cimport int64_t, uint32_t, uint64_t

from exchange.trading.advanced cimport AdvancedOrders
from exchange.clearing.account cimport Accounts
from exchange.clearing.ledger cimport Ledger
from exchange.clearing.position cimport Positions
from exchange.trading.combos cimport Combos
from exchange.event_buffer cimport EventBuffer
from exchange.trading.links cimport Links
from exchange.liquidation.desk cimport Desk
from exchange.liquidation.monitor cimport Monitor
from exchange.market.book cimport Books
from exchange.market.instrument cimport Instruments
from exchange.market.order cimport Orders
from exchange.trading.quotes cimport Quotes
from exchange.risk.bands cimport Bands
from exchange.risk.collateral cimport Collateral
from exchange.risk.exposure cimport Exposure
from exchange.risk.mark_jumps cimport MarkJumps
from exchange.risk.mark_stages cimport MarkStages
from exchange.risk.market_size cimport MarketSize
from exchange.risk.marks cimport Marks
from exchange.risk.pretrade cimport Pretrade
from exchange.risk.protection cimport Protection
from exchange.risk.risk_rows cimport RiskRows
from exchange.risk.switches cimport Switches
from exchange.trading.lifecycle cimport Trading
from exchange.trading.triggers cimport Triggers


cdef class State:
    cdef readonly uint64_t seq
    cdef readonly int64_t time_ns
    cdef readonly object config
    cdef readonly str broken
    cdef readonly uint64_t checkpoints
    cdef readonly uint64_t orders_placed
    cdef readonly Accounts accounts
    cdef readonly Ledger ledger_room
    cdef readonly Instruments listing
    cdef readonly Orders orders_room
    cdef readonly Books books
    cdef readonly Positions positions_room
    cdef readonly RiskRows rows
    cdef readonly Protection protection
    cdef readonly Exposure exposure
    cdef readonly Marks marks
    cdef readonly MarketSize market_size
    cdef readonly MarkStages stages
    cdef readonly MarkJumps jumps
    cdef readonly Monitor monitor
    cdef readonly Combos combos
    cdef readonly Trading trading
    cdef readonly Quotes quotes
    cdef readonly Triggers triggers
    cdef readonly AdvancedOrders advanced
    cdef readonly Links links
    cdef int64_t day_end_ns
    cdef readonly Desk desk
    cdef readonly object liquidation
    cdef readonly object debts
    cdef readonly object settlement
    cdef public int64_t band_accounts    # safe bands from this many accounts on; before genesis, and no part of state
    cdef readonly object uncross
    cdef readonly object blocks
    cdef readonly object transfers
    cdef readonly object offers
    cdef readonly object kill_switch
    cdef EventBuffer events
    cdef Pretrade pretrade
    cdef readonly Switches switches
    cdef readonly Collateral collateral
    cdef readonly object buckets
    cdef readonly object margin_plan
    cdef readonly object overrides
    cdef list currency_names
    cdef list underlying_names
    cdef int64_t next_day_end(self) noexcept
    cdef int rebuild_books(self, uint32_t account_id) except -1
    cdef _order_export(self, uint32_t slot)
