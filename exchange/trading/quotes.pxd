from libc.stdint cimport int64_t, uint16_t, uint32_t, uint64_t

from exchange.clearing.account cimport Accounts
from exchange.event_buffer cimport EventBuffer
from exchange.market.instrument cimport Instruments
from exchange.market.order cimport Order, Orders
from exchange.records cimport CancelQuotes, Header, MassQuote, QuoteEntry
from exchange.risk.exposure cimport Exposure
from exchange.risk.pretrade cimport Pretrade
from exchange.risk.protection cimport Group, Protection
from exchange.trading.lifecycle cimport Trading


cdef class Quotes:
    cdef Accounts accounts
    cdef Instruments instruments
    cdef Orders orders
    cdef Exposure exposure
    cdef Pretrade pretrade
    cdef Protection protection
    cdef Trading trading
    cdef EventBuffer events
    cdef int max_quotes
    cdef dict ids                # _key() -> order id of the last quote; one that is closed is no quote
    cdef list underlying_names
    cdef int mass_quote(self, const MassQuote* command, Py_ssize_t tail) except -1
    cdef int cancel_quotes(self, const CancelQuotes* command, const char* quote_set, Py_ssize_t tail) except -1
    cdef object _key(self, uint32_t account_id, uint32_t instrument, int side, int number)
    cdef uint32_t _standing(self, uint32_t account_id, uint32_t instrument, int side, int number) except? 0
    cdef int _command_reason(self, const MassQuote* command, const QuoteEntry* entries, Py_ssize_t tail) except -1
    cdef int _underlying(self, const QuoteEntry* entries, int count) noexcept
    cdef int _entry(self, const MassQuote* command, const QuoteEntry* entry) except -1
    cdef int _side(self, const MassQuote* command, const QuoteEntry* entry, int side) except -1
    cdef int _side_reason(self, uint32_t account_id, uint32_t instrument, int number, int64_t lots) except -1
    cdef int _replace(self, const MassQuote* command, const QuoteEntry* entry, int side, uint32_t slot, int64_t price,
                      int64_t lots, int flags) except -1
    cdef int _place(self, const MassQuote* command, const QuoteEntry* entry, int side, int64_t price, int64_t lots,
                    int flags) except -1
    cdef int _label(self, const MassQuote* command, const QuoteEntry* entry, char* label) noexcept
    cdef int _refuse(self, uint32_t account_id, uint32_t instrument, int side, int reason, int flags, int64_t price,
                     int64_t lots, uint64_t order_id) except -1
    cdef int _reject(self, const Header* header, int reason) except -1
    cdef int _done(self, const Header* header, uint32_t count) except -1
    cdef bint _wanted(self, Order* order, uint32_t slot, const CancelQuotes* command, const char* quote_set) noexcept
    cdef bint _in_delta(self, uint32_t instrument, const CancelQuotes* command) noexcept
    cdef bint _too_large(self, uint32_t slot, Group* group, int64_t largest_e8) noexcept
