from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t, uint64_t

from exchange.clearing.account cimport Accounts
from exchange.clearing.position cimport Positions
from exchange.combos cimport Combos
from exchange.entry cimport Entry
from exchange.event_buffer cimport EventBuffer
from exchange.liquidation.monitor cimport Monitor
from exchange.market.book cimport Books
from exchange.market.instrument cimport Instrument, Instruments
from exchange.market.order cimport Order, Orders
from exchange.records cimport CancelAll, CancelOrder, EditOrder, OrderTerms, PlaceOrder
from exchange.risk.exposure cimport Exposure
from exchange.risk.pretrade cimport Pretrade
from exchange.risk.protection cimport Group, Protection


cdef class Trading(Entry):
    cdef Monitor monitor
    cdef Combos combos
    cdef public uint64_t next_order_id
    cdef public uint64_t next_trade_id
    cdef public uint64_t day_orders      # good-til-day orders placed since the day began
    cdef readonly list advanced          # [underlying] {order id: None}: live advanced orders, ascending id
    cdef int64_t advanced_end_ns         # no advanced order ends before this
    cdef int failed
    cdef int place(self, const PlaceOrder* command, const OrderTerms* terms, const char* label) except -1
    cdef int enter(self, const PlaceOrder* command, const OrderTerms* terms, const char* label, int special) except -1
    cdef bint _protect(self, uint32_t account_id, int number, uint32_t instrument, int64_t signed,
                       uint32_t taker_slot) except -1
    cdef int _trigger_group(self, uint32_t account_id, Group* group, int cause, uint32_t taker_slot) except -1
    cdef bint in_group(self, uint32_t slot, Group* group) noexcept
    cdef uint32_t count_group(self, uint32_t account_id, Group* group, uint32_t but) noexcept
    cdef int cancel_group(self, uint32_t account_id, Group* group, int reason, uint32_t but) except -1
    cdef int change(self, uint32_t slot, int64_t wanted_units, int64_t remaining, int64_t sized_lots,
                    int wanted_flags, const char* label, int label_bytes) except -1
    cdef int cancel(self, const CancelOrder* command) except -1
    cdef int cancel_all(self, const CancelAll* command, const char* label, uint32_t count) except -1
    cdef int edit(self, const EditOrder* command, const OrderTerms* terms) except -1
    cdef int reprice(self, uint32_t slot) except -1
    cdef int _say_edited(self, uint32_t slot, bint kept, bint labelled) except -1
    cdef int _opened(self, Order* order) except -1
    cdef int _closed(self, Order* order) except -1
    cdef int _reject(self, const PlaceOrder* command, int reason, uint64_t order_id) except -1
    cdef int _reject_edit(self, const EditOrder* command, uint32_t slot, int reason) except -1
    cdef int withdraw(self, uint32_t slot, int reason, bint resting) except -1
    cdef bint _maker_stands(self, Order* maker, int64_t held, int64_t lots, int64_t cost, int64_t fee) except -1
    cdef bint _fillable(self, Order* taker) except -1
    cdef void _show_tranche(self, uint32_t slot) noexcept
    cdef int _replenish(self, uint32_t slot) except -1
    cdef uint32_t _next_maker(self, uint32_t* slot, object again, int64_t* shown, int64_t* hidden) except? 0
    cdef int _after(self, uint32_t slot, int64_t lots) noexcept
    cdef int _conclude(self, uint32_t slot, int after) except -1
    cdef int _accept(self, uint32_t slot, const char* label, int label_bytes) except -1
    cdef int _apply_edit(self, uint32_t slot, int64_t price, int64_t remaining, int flags, bint kept) except -1
    cdef int _settle(self, uint32_t slot) except -1
    cdef bint _same_trader(self, Order* maker, Order* taker) noexcept
    cdef int execute(self, uint32_t slot) except -1
    cdef int _fill(self, uint32_t taker_slot, uint32_t maker_slot, int64_t lots, int64_t price, int64_t taker_ppm,
                   bint uncrossing) except -1
    cdef bint _fill_combo(self, uint32_t taker_slot, uint32_t maker_slot, int64_t lots) except -1
    cdef int64_t _dry_fill(self, Order* maker, int64_t lots, list applied, dict moved) except -1
    cdef int64_t _maker_lots(self, Order* maker, int64_t wanted) noexcept
    cdef bint _filled_stands(self, Order* order, int64_t lots, int64_t price) except -1
    cdef void _take_off(self, uint32_t slot, int64_t lots, int64_t cost, bint rests, int after) noexcept
    cdef bint _crosses(self, Order* order) noexcept
