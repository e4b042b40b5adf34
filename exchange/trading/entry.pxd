from libc.stdint cimport int64_t, uint16_t, uint32_t, uint64_t

from exchange.clearing.account cimport Accounts
from exchange.clearing.position cimport Positions
from exchange.event_buffer cimport EventBuffer
from exchange.liquidation.monitor cimport Monitor
from exchange.market.book cimport Books
from exchange.market.instrument cimport Instrument, Instruments
from exchange.market.order cimport Order, Orders
from exchange.records cimport (
    FLAG_ADVANCED, FLAG_ICEBERG, FLAG_LINKED, FLAG_PROTECTED, EditOrder, OrderTerms, PlaceOrder,
)
from exchange.risk.exposure cimport Exposure
from exchange.risk.pretrade cimport Pretrade
from exchange.risk.protection cimport Group, Protection

cdef enum:
    SPECIAL = FLAG_PROTECTED | FLAG_ADVANCED | FLAG_ICEBERG | FLAG_LINKED      # their events carry a slot of terms


cdef class Entry:
    cdef Accounts accounts
    cdef Instruments instruments
    cdef Orders orders
    cdef Books books
    cdef Positions positions
    cdef Exposure exposure
    cdef Pretrade pretrade
    cdef Protection protection
    cdef EventBuffer events
    cdef bint _label_in_use(self, uint32_t account_id, const char* label, int size) noexcept
    cdef int64_t _post_only_price(self, uint32_t instrument, int side, int64_t price_units) noexcept
    cdef int _form_reason(self, const PlaceOrder* command) noexcept
    cdef int _terms_reason(self, const PlaceOrder* command, const OrderTerms* terms) except -1
    cdef int _display_reason(self, uint32_t instrument, int64_t display, int64_t quantity) noexcept
    cdef int _kind_reason(self, uint32_t instrument, bint immediate, int flags) noexcept
    cdef int _group_reason(self, const PlaceOrder* command, const OrderTerms* terms) noexcept
    cdef int _entry_reason(self, const PlaceOrder* command, const OrderTerms* terms, bint market, int flags,
                           int64_t* price) except -1
    cdef int64_t _market_price(self, Instrument* row, uint32_t instrument, int side, int order_type) except? -1
    cdef int _fit(self, const PlaceOrder* command, int64_t* price, int64_t* lots, int* flags) noexcept
    cdef int _advanced_price(self, uint32_t account_id, uint32_t instrument, int side, int64_t lots,
                             const OrderTerms* terms, int64_t* price) except -1
    cdef void _take_terms(self, uint32_t slot, const OrderTerms* terms) noexcept
    cdef void _write_terms(self, uint32_t slot, OrderTerms* terms) noexcept
    cdef int _edit_terms_reason(self, const EditOrder* command, const OrderTerms* terms, uint32_t slot) except -1
