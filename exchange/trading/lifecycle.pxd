from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t, uint64_t

from exchange.trading.dry_run cimport DryRun, signed_of
from exchange.liquidation.monitor cimport Monitor
from exchange.market.instrument cimport Instrument
from exchange.market.order cimport Order
from exchange.records cimport CancelAll, CancelOrder, EditOrder, OrderTerms, PlaceOrder
from exchange.risk.protection cimport Group

cdef enum:
    BOTH_COUNT = 1 << 16     # beside the flags of a new linked order: see OrderDetail.both_count
    ANNOUNCED = 1 << 17      # its id has been told: a refusal names it

cdef enum LinkNote:
    LINK_FILLED = 0
    LINK_ENDED = 1           # with lots unfilled, or refused when it fired
    LINK_BECAME = 2          # a waiting order fired
    LINK_EDITED = 3


cdef class Trading(DryRun):
    cdef int _drawn(self, Order* order, uint32_t slot, int reason) except -1
    cdef int cancel_matching(self, uint32_t account_id, const CancelAll* command, const char* label) except -1
    cdef Monitor monitor
    cdef public uint64_t next_order_id
    cdef public uint64_t next_trade_id
    # What became of linked orders since links last looked, by order id as [(place, order id, what, number)]: filled
    # lots, nothing, the id of the order in its place, the new quantity.
    cdef dict noted
    cdef dict became                     # id of an order that fired since then -> id of the order that waited
    cdef uint64_t note_count             # places notes, and is no part of state: none outlives its command
    cdef public uint64_t day_orders      # good-til-day orders placed since the day began
    cdef readonly list advanced          # [underlying] {order id: None}: live advanced orders, ascending id
    cdef int64_t advanced_end_ns         # no advanced order ends before this
    cdef int note(self, uint64_t order_id, int what, int64_t number) except -1
    cdef list take_notes(self)
    cdef bint links_first(self, uint32_t slot) except -1
    cdef int place(self, const PlaceOrder* command, const OrderTerms* terms, const char* label) except -1
    cdef int enter(self, const PlaceOrder* command, const OrderTerms* terms, const char* label, int special) except -1
    cdef uint32_t prepare(self, const PlaceOrder* command, const OrderTerms* terms, const char* label, int special,
                          uint64_t order_id) except? 0
    cdef int unprepare(self, uint32_t slot) except -1
    cdef int begin(self, uint32_t slot, const char* label, int label_bytes) except -1
    cdef int _shaped(self, const PlaceOrder* command, const OrderTerms* terms, const char* label, int64_t* price,
                     int64_t* lots, int* flags) except -1
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
    cdef int shrink(self, uint32_t slot, int64_t remaining, bint resting) except -1
    cdef int cut_reducing(self) except -1
    cdef int _cut_account(self, uint32_t account_id) except -1
    cdef int _opened(self, Order* order) except -1
    cdef int _closed(self, Order* order) except -1
    cdef int _reject(self, const PlaceOrder* command, int reason, uint64_t order_id) except -1
    cdef int _reject_edit(self, const EditOrder* command, uint32_t slot, int reason) except -1
    cdef int withdraw(self, uint32_t slot, int reason, bint resting) except -1
    cdef void _show_tranche(self, uint32_t slot) noexcept
    cdef int _replenish(self, uint32_t slot) except -1
    cdef int _after(self, uint32_t slot, int64_t lots) noexcept
    cdef int _conclude(self, uint32_t slot, int after) except -1
    cdef int accept(self, uint32_t slot, const char* label, int label_bytes) except -1
    cdef int _apply_edit(self, uint32_t slot, int64_t price, int64_t remaining, int flags, bint kept) except -1
    cdef int settle(self, uint32_t slot) except -1
    cdef int execute(self, uint32_t slot) except -1
    cdef int _fill(self, uint32_t taker_slot, uint32_t maker_slot, int64_t lots, int64_t price, int64_t taker_ppm,
                   bint uncrossing) except -1
    cdef bint _fill_combo(self, uint32_t taker_slot, uint32_t maker_slot, int64_t lots) except -1
    cdef bint _filled_stands(self, Order* order, int64_t lots, int64_t price) except -1
    cdef void _take_off(self, uint32_t slot, int64_t lots, int64_t cost, bint rests, int after) noexcept
