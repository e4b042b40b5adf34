from libc.stdint cimport int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t

from exchange.clearing.account cimport Accounts
from exchange.clearing.ledger cimport Ledger
from exchange.clearing.position cimport Position, Positions
from exchange.market.instrument cimport Instrument, Instruments
from exchange.market.order cimport Order, Orders
from exchange.risk.formulas cimport Formulas
from exchange.risk.quote_caps cimport SPAN_COLUMNS, QuoteBook, QuoteCaps
from exchange.risk.risk_rows cimport MAX_EXPIRIES, MAX_SCENARIOS, RiskRows

cdef enum OrderScope:        # which open orders count towards a requirement
    NO_ORDERS = -2           # positions alone
    ALL_ORDERS = -1          # else: a chain number, see Requirements._counts

ctypedef struct OrderSums:           # a book's open orders; blocks of a pool hold S scenarios
    int64_t delta_up[MAX_EXPIRIES]       # what filled orders could add, 1e-10 coin
    int64_t delta_down[MAX_EXPIRIES]
    double pnl[MAX_SCENARIOS]            # what they can take away at most, <= 0
    int64_t room[SPAN_COLUMNS]           # behind the S scenarios, see order_beyond

ctypedef struct ScenarioBook:        # one account's risk in one (underlying, settlement) chain
    double* position_pnl     # [S] sum of lots x row
    OrderSums* orders        # the shared zeros while no order is open, or where another book was given the block
    int64_t delta[MAX_EXPIRIES]          # 1e-10 coin
    int64_t value_minor      # unrealised P&L, accrued funding and option value at the marks
    int64_t held_lots        # sum of |lots|
    int64_t open_lots
    int64_t gross_row        # sum of (|lots| + open lots) x row cap, below 2**52
    int64_t order_cost_minor  # sum over orders of max(0, adverse price + fee)
    uint64_t marks_revision  # marks revision that the position figures belong to
    uint64_t orders_revision  # the same of the order figures
    uint32_t open_orders
    uint32_t account_id
    uint32_t seat            # of a book with a block for order figures: its place among those
    uint16_t chain
    bint lately              # the order figures were asked for since their block was last up for another book
    int64_t option_minor     # of `span16` alone: option value at the marks
    int64_t option_up_minor  # what filled orders could add to it
    int64_t short_e10[2]     # size of short calls and puts, 1e-10 coin
    int64_t short_open_e10[2]  # the same with every open sell filled
    QuoteBook* quotes        # quotes of groups that bound them, apart from the order figures; NULL: none


cdef inline void open_delta(int64_t* up, int64_t* down, int bucket, int64_t delta, int sign) noexcept:
    if delta > 0:
        up[bucket] += delta * sign
    else:
        down[bucket] -= delta * sign


cdef inline int64_t* order_beyond(OrderSums* orders, int scenario_count) noexcept:
    """[SPAN_COLUMNS] of `span16` with credits: what orders can add to twice the loss beyond price risk, >= 0."""
    return <int64_t*>(orders.pnl + scenario_count)


ctypedef struct FreeBlock:
    FreeBlock* following


cdef class BlockPool:        # zeroed blocks of one size, aligned to cache lines
    cdef size_t block_bytes
    cdef readonly size_t bytes           # that its blocks take, in use or not
    cdef readonly size_t used            # blocks
    cdef FreeBlock* free_blocks
    cdef void** chunks
    cdef uint32_t chunk_count
    cdef void* take(self) except NULL
    cdef void give_back(self, void* block) noexcept


cdef class ScenarioBooks:
    cdef BlockPool book_pool             # books and their position_pnl
    cdef BlockPool order_pool
    cdef OrderSums no_orders
    cdef ScenarioBook** seated           # books with a block of order_pool
    cdef uint32_t seated_count
    cdef uint32_t seated_room
    cdef readonly uint64_t given_up      # times that a book lost its block to another
    cdef public uint32_t seated_least    # books that may have a block however few there are
    cdef uint32_t kept_account           # whose blocks stay, 0: nobody's: orders in them are in no pool
    cdef uint32_t seat_hand              # the seat that is looked at next when a block is wanted
    cdef Accounts accounts
    cdef Ledger ledger
    cdef Instruments instruments
    cdef Orders orders
    cdef Positions positions
    cdef RiskRows rows
    cdef Formulas formulas
    cdef QuoteCaps caps
    cdef int currencies
    cdef int max_chains
    cdef int* currency_underlying    # -1: worth one USD
    cdef int64_t* minor_per_unit     # minor units per row unit: 1 for coins, 10**(e-4) for USD currencies
    cdef int64_t* haircut_ppm
    cdef int64_t* debt_ppm
    cdef ScenarioBook** books        # [account][chain]
    cdef uint32_t book_accounts
    cdef int32_t* gather_row
    cdef double* gather_lots
    cdef uint32_t gather_capacity
    cdef double bounded_pnl[64]
    cdef OrderSums pair[2]
    cdef int64_t bounded_beyond[SPAN_COLUMNS]
    cdef bint credited               # there are credits between underlyings of `span16`
    cdef int failed
    cdef bint charged                # some parameter set has charges beside the grid
    cdef uint64_t changes            # grows with every change of lots held or open
    cdef int grow(self, uint32_t account_id) except -1
    cdef ScenarioBook* book(self, uint32_t account_id, int chain) noexcept
    cdef ScenarioBook* ensure_book(self, uint32_t account_id, int chain) except NULL
    cdef double* rows_for(self, uint32_t account_id, int currency) noexcept
    cdef double* row_of(self, uint32_t account_id, uint32_t instrument) noexcept
    cdef int64_t fill_loss(self, Order* order, int64_t lots) noexcept
    cdef int64_t order_cost(self, Order* order, int64_t lots) noexcept
    cdef void _order_deltas(self, int64_t* up, int64_t* down, Order* order, int64_t lots, int sign) noexcept
    cdef bint _by_span(self, Instrument* row) noexcept
    cdef int64_t _option_minor(self, Instrument* row, int64_t lots) noexcept
    cdef void _shorts(self, ScenarioBook* book, uint32_t instrument, int64_t held, int64_t sells, int sign) noexcept
    cdef void _order_shorts(self, ScenarioBook* book, Order* order, int sign) noexcept
    cdef bint holds(self, uint32_t account_id, int chain) noexcept
    cdef bint _gather(self, uint32_t count) noexcept
    cdef void rebuild(self, uint32_t account_id, int chain) noexcept
    cdef int _seat(self, ScenarioBook* book) except -1
    cdef void _unseat(self, ScenarioBook* book) noexcept
    cdef ScenarioBook* _least_wanted(self, uint32_t account_id) noexcept
    cdef int refresh_orders(self, uint32_t account_id, int chain) except -1
    cdef void _order_terms(self, ScenarioBook* book, Order* order, int64_t lots, int sign) noexcept
    cdef Order* _rival(self, Order* order) noexcept
    cdef void _worse_terms(self, ScenarioBook* book, Order* first, Order* second) noexcept
    cdef int order_added(self, Order* order) except -1
    cdef void order_reduced(self, Order* order, int64_t lots, bint ends) noexcept
    cdef void _shift(self, uint32_t account_id, uint32_t instrument, int64_t held, int64_t lots,
                     int64_t value) noexcept
    cdef int shift(self, uint32_t account_id, uint32_t instrument, int64_t held, int64_t lots, int64_t value) except -1
    cdef int64_t trade(self, uint32_t account_id, uint32_t instrument, int64_t lots, int64_t cost,
                       int64_t fee) except? -1
    cdef double* _orders_pnl(self, ScenarioBook* book) noexcept
    cdef int64_t* _orders_beyond(self, ScenarioBook* book) noexcept
    cdef int _bring_up(self, uint32_t account_id, int chain, ScenarioBook* book, int scope) except -1
