"""C mirrors of the record layouts in commands.py and events.py (offsets compared by a test)."""

from libc.stdint cimport int8_t, int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t


cdef packed struct Header:
    uint16_t kind
    uint16_t slots
    uint32_t account_id
    uint64_t seq
    int64_t time_ns

cdef packed struct PlaceOrder:
    Header header
    uint32_t instrument
    uint8_t side
    uint8_t order_type
    uint8_t time_in_force
    uint8_t flags
    int64_t price_units
    int64_t quantity_lots
    uint32_t key_id
    uint16_t label_bytes
    uint8_t terms_slots
    uint8_t reserved
    int64_t valid_until_ns

cdef packed struct OrderTerms:
    int64_t trigger_price_e8
    int64_t trigger_offset_e8
    uint8_t trigger_source
    uint8_t advanced
    uint16_t protection_group
    uint8_t reserved_terms0[4]
    int64_t display_lots
    int64_t advanced_value_e8
    uint64_t linked_order_id
    uint8_t reserved_terms1[16]

cdef packed struct CancelOrder:
    Header header
    uint64_t order_id
    uint32_t key_id
    uint16_t reason
    uint8_t reserved[26]

cdef packed struct CancelAll:
    Header header
    uint32_t instrument
    uint16_t currency
    uint8_t instrument_kind
    uint8_t order_type
    uint32_t key_id
    uint16_t reason
    uint16_t label_bytes
    uint8_t reserved[24]

cdef packed struct EditOrder:
    Header header
    uint64_t order_id
    int64_t price_units
    int64_t quantity_lots
    uint8_t flags
    uint8_t terms_slots
    uint8_t reserved0[2]
    uint32_t key_id
    int64_t trigger_price_e8

cdef packed struct UpdateMarks:
    Header header
    uint16_t underlying
    uint16_t forward_count
    uint32_t vol_count
    int64_t index_price_e8
    int64_t source_time_ns
    uint32_t actor_id
    uint32_t sources
    uint8_t reserved[8]

cdef packed struct ForwardEntry:
    int64_t expiry_ns
    int64_t forward_e8

cdef packed struct VolEntry:
    uint32_t instrument
    uint32_t vol_e6

cdef packed struct PlaceBid:
    Header header
    uint64_t auction_id
    uint8_t phase
    uint8_t reserved0[3]
    uint32_t share_ppm
    int64_t limit_minor
    uint32_t key_id
    uint8_t reserved1[12]

cdef packed struct GrantFundLease:
    Header header
    uint64_t lease_id
    int64_t amount_minor
    uint16_t currency
    uint8_t exhausted
    uint8_t reserved0
    uint32_t actor_id
    uint8_t reserved[16]

cdef packed struct SettleFundLease:
    Header header
    uint64_t lease_id
    int64_t used_minor
    uint16_t currency
    uint16_t reserved0
    uint32_t actor_id
    uint8_t reserved[16]

cdef packed struct MassQuote:
    Header header
    uint32_t key_id
    uint16_t protection_group
    uint16_t quote_count
    int64_t valid_until_ns
    uint8_t quote_id[24]

cdef packed struct QuoteEntry:
    uint32_t instrument
    uint8_t sides
    uint8_t bid_flags
    uint8_t ask_flags
    uint8_t reserved
    int64_t bid_price_units
    int64_t bid_lots
    int64_t ask_price_units
    int64_t ask_lots
    uint8_t quote_set[24]

cdef packed struct CancelQuotes:
    Header header
    uint32_t instrument
    uint16_t currency
    uint8_t instrument_kind
    uint8_t freeze
    uint16_t protection_group
    uint16_t reason
    int32_t min_delta_e6
    int32_t max_delta_e6
    uint32_t key_id
    uint16_t set_bytes
    uint8_t reserved[14]

cdef packed struct Checkpoint:
    Header header
    uint8_t chain_sha256[32]
    uint64_t event_count

cdef packed struct Payload:
    Header header
    uint32_t payload_bytes
    uint32_t actor_id

cdef packed struct OrderAccepted:
    Header header
    uint64_t order_id
    uint32_t instrument
    uint8_t side
    uint8_t order_type
    uint8_t time_in_force
    uint8_t terms_slots
    int64_t price_units
    int64_t quantity_lots
    uint32_t key_id
    uint16_t label_bytes
    uint16_t flags

cdef packed struct OrderRejected:
    Header header
    uint32_t instrument
    uint16_t reason
    uint8_t side
    uint8_t flags
    int64_t price_units
    int64_t quantity_lots
    uint64_t order_id
    int64_t detail

cdef packed struct TradeExecuted:
    Header header
    uint64_t trade_id
    uint32_t instrument
    uint32_t maker_account_id
    uint64_t taker_order_id
    uint64_t maker_order_id
    int64_t price_units
    int64_t quantity_lots
    int64_t taker_fee_minor
    int64_t maker_fee_minor
    int64_t taker_realised_minor
    int64_t maker_realised_minor
    int64_t mark_price_e8
    int64_t index_price_e8
    uint32_t trade_seq
    uint8_t side
    uint8_t tick_direction
    uint8_t taker_flags
    uint8_t maker_flags

cdef packed struct OrderCancelled:
    Header header
    uint64_t order_id
    uint32_t instrument
    uint16_t reason
    uint8_t side
    uint8_t flags
    int64_t price_units
    int64_t remaining_lots
    int64_t quantity_lots

cdef packed struct TriggerPlaced:
    Header header
    uint64_t order_id
    uint32_t instrument
    uint8_t side
    uint8_t order_type
    uint8_t time_in_force
    uint8_t terms_slots
    int64_t price_units
    int64_t quantity_lots
    uint32_t key_id
    uint16_t label_bytes
    uint16_t flags
    int64_t trigger_price_e8
    int64_t trigger_offset_e8
    uint8_t trigger_source
    uint8_t advanced
    uint16_t protection_group
    uint8_t reserved_terms0[4]
    int64_t display_lots
    int64_t advanced_value_e8
    uint64_t linked_order_id
    uint8_t reserved_terms1[16]

cdef packed struct OrderTriggered:
    Header header
    uint64_t order_id
    uint64_t trigger_order_id
    uint32_t instrument
    uint8_t side
    uint8_t order_type
    uint8_t trigger_source
    uint8_t reserved0
    int64_t trigger_price_e8
    int64_t value_e8

cdef packed struct OrderEdited:
    Header header
    uint64_t order_id
    uint32_t instrument
    uint8_t side
    uint8_t flags
    uint8_t kept_priority
    uint8_t terms_slots
    int64_t price_units
    int64_t quantity_lots
    int64_t remaining_lots

cdef packed struct OrderReplenished:
    Header header
    uint64_t order_id
    uint32_t instrument
    uint8_t side
    uint8_t reserved0[3]
    int64_t price_units
    int64_t shown_lots
    int64_t remaining_lots

cdef packed struct OrdersLinked:
    Header header
    uint64_t primary_order_id
    uint64_t first_order_id
    uint64_t second_order_id
    uint8_t link_type
    uint8_t fill_condition
    uint8_t reserved[14]

cdef packed struct ProtectionEvent:
    Header header
    uint16_t underlying
    uint16_t protection_group
    uint16_t cause
    uint16_t cancelled
    int64_t frozen_until_ns
    int64_t quantity_e8
    int64_t delta_e8
    int64_t vega_e8

cdef packed struct TradingStopped:
    Header header
    uint8_t scope
    uint8_t on
    uint8_t reserved0[2]
    uint32_t target
    uint32_t cancelled
    uint8_t reserved[28]

cdef packed struct AuctionUncrossed:
    Header header
    uint32_t instrument
    uint32_t reserved0
    int64_t price_units
    int64_t quantity_lots
    int64_t surplus_lots
    uint8_t reserved[8]

cdef packed struct BlockTradeExecuted:
    Header header
    uint64_t block_id
    uint32_t maker_account_id
    uint16_t trade_count
    uint16_t reserved0
    int64_t timestamp_ms
    uint8_t reserved[16]

cdef packed struct MarksEvent:
    Header header
    uint16_t underlying
    uint16_t reason
    uint32_t repriced
    int64_t index_price_e8
    uint64_t revision
    int64_t detail
    uint8_t reserved[8]

cdef packed struct MarkStageChanged:
    Header header
    uint16_t underlying
    uint8_t stage
    uint8_t previous_stage
    uint16_t reason
    uint8_t reserved0[2]
    int64_t marked_ns
    uint8_t reserved[24]

cdef packed struct MarkJump:
    Header header
    uint16_t underlying
    uint8_t outcome
    uint8_t reserved0
    uint32_t sources
    int64_t index_price_e8
    int64_t previous_index_e8
    int64_t held_ns
    uint8_t reserved[8]

cdef packed struct OverrideChanged:
    Header header
    uint32_t proposal
    uint16_t underlying
    uint8_t action
    uint8_t state
    uint32_t proposer
    uint32_t operator_id
    int64_t value
    int64_t until_ns
    uint8_t reserved[8]

cdef packed struct MarginAnnounced:
    Header header
    uint16_t underlying
    uint8_t state
    uint8_t reserved0
    uint32_t scale_ppm
    uint32_t previous_scale_ppm
    uint32_t operator_id
    int64_t effective_ns
    uint8_t reserved[16]

cdef packed struct BreakerTripped:
    Header header
    uint16_t underlying
    uint8_t reserved0[6]
    int64_t index_price_e8
    int64_t reference_e8
    int64_t until_ns
    uint8_t reserved[8]

cdef packed struct CommandEvent:
    Header header
    uint16_t command_kind
    uint16_t reason
    uint32_t count
    uint64_t order_id
    int64_t detail
    uint8_t reserved[16]

cdef packed struct AccountCreated:
    Header header
    uint32_t owner_id
    uint8_t margin_model
    uint8_t reserved[35]

cdef packed struct BalanceChanged:
    Header header
    uint16_t currency
    uint16_t cause
    uint32_t instrument
    int64_t amount_minor
    int64_t balance_minor
    uint64_t reference
    uint8_t reserved[8]

cdef packed struct InstrumentEvent:
    Header header
    uint32_t instrument
    uint8_t state
    uint8_t previous_state
    uint16_t reason
    uint64_t instrument_id
    int64_t settlement_price_e8
    uint8_t reserved[16]

cdef packed struct PositionSettled:
    Header header
    uint32_t instrument
    uint32_t reserved0
    int64_t quantity_lots
    int64_t payout_minor
    int64_t realised_minor
    int64_t settlement_price_e8

cdef packed struct LevelChanged:
    Header header
    uint8_t level
    uint8_t previous_level
    uint16_t currency
    uint32_t warning_ppm
    int64_t equity_minor
    int64_t requirement_minor
    uint32_t previous_warning_ppm
    uint8_t reserved[12]

cdef packed struct AuctionEvent:
    Header header
    uint64_t auction_id
    uint8_t phase
    uint8_t reserved0
    uint16_t reason
    uint16_t currency
    uint16_t reserved1
    int64_t value_minor
    int64_t requirement_minor
    int64_t price_minor

cdef packed struct BidEvent:
    Header header
    uint64_t auction_id
    uint64_t bid_id
    int64_t limit_minor
    uint32_t share_ppm
    uint16_t reason
    uint8_t phase
    uint8_t reserved0
    uint8_t reserved[8]

cdef packed struct AuctionLotSold:
    Header header
    uint64_t auction_id
    uint64_t bid_id
    uint32_t buyer_account_id
    uint32_t share_ppm
    int64_t price_minor
    int64_t fee_minor
    int64_t compensation_minor
    uint16_t currency
    uint8_t phase
    uint8_t reserved[53]

cdef packed struct PositionTransferred:
    Header header
    uint32_t instrument
    uint32_t to_account_id
    int64_t quantity_lots
    int64_t cost_minor
    uint64_t auction_id
    uint8_t reserved[8]

cdef packed struct PositionDeleveraged:
    Header header
    uint64_t auction_id
    uint32_t instrument
    uint32_t from_account_id
    int64_t quantity_lots
    int64_t cost_minor
    int64_t loss_minor
    uint32_t rank
    uint32_t leverage_ppm
    int64_t added_requirement_usd_e4
    int64_t mark_price_e8
    uint8_t reserved[40]

cdef packed struct MarginModeChanged:
    Header header
    uint32_t instrument
    uint32_t bucket_account_id
    uint32_t leverage_e2
    uint8_t isolated
    uint8_t reserved[27]

cdef packed struct FundsTransferred:
    Header header
    uint64_t transfer_id
    uint32_t to_account_id
    uint16_t currency
    uint16_t nonce_bytes
    int64_t amount_minor
    uint32_t submitted_by
    uint8_t reserved[12]

cdef packed struct PortfolioOffer:
    Header header
    uint64_t offer_id
    uint64_t bid_id
    int64_t expires_ns
    uint32_t other_account_id
    uint16_t leg_count
    uint8_t outcome
    uint8_t reserved0
    uint8_t reserved[8]

cdef packed struct AuctionTermsChanged:
    Header header
    uint16_t underlying
    uint16_t reserved0
    uint32_t version
    uint32_t buffer_ppm
    uint32_t discount_start_ppm
    uint32_t discount_cutoff_ppm
    uint32_t compensation_cap_ppm
    uint32_t fee_ppm
    uint32_t reserved1
    int64_t fast_ns
    int64_t slow_ns
    int64_t insolvent_ns
    int64_t batch_ns
    uint8_t reserved[40]

cdef packed struct FundEvent:
    Header header
    uint64_t lease_id
    int64_t amount_minor
    uint16_t currency
    uint16_t reason
    uint32_t reserved0
    uint64_t auction_id
    int64_t remaining_minor

cdef packed struct DefaultCovered:
    Header header
    uint64_t auction_id
    uint16_t currency
    uint16_t reason
    uint32_t reserved0
    int64_t equity_minor
    int64_t capital_minor
    int64_t fund_minor
    int64_t deleveraged_minor
    uint8_t reserved[56]

cdef enum:
    SLOT_BYTES = 64

# the numbers of exchange/events.py EventKind and exchange/commands.py CommandKind
cdef enum EventCode:
    EV_ORDER_ACCEPTED = 1
    EV_ORDER_REJECTED = 2
    EV_TRADE_EXECUTED = 3
    EV_ORDER_CANCELLED = 4
    EV_ORDER_EDITED = 5
    EV_MARKS_UPDATED = 6
    EV_MARKS_REJECTED = 7
    EV_COMMAND_REJECTED = 8
    EV_COMMAND_DONE = 9
    EV_ACCOUNT_CREATED = 10
    EV_BALANCE_CHANGED = 11
    EV_INSTRUMENT_LISTED = 12
    EV_INSTRUMENT_STATE_CHANGED = 13
    EV_INSTRUMENT_SETTLED = 14
    EV_POSITION_SETTLED = 15
    EV_LEVEL_CHANGED = 16
    EV_ORDER_TRIGGERED = 17
    EV_TRIGGER_PLACED = 18
    EV_ORDER_REPLENISHED = 19
    EV_ORDERS_LINKED = 33
    EV_PROTECTION_CHANGED = 34
    EV_PROTECTION_TRIGGERED = 35
    EV_TRADING_STOPPED = 36
    EV_AUCTION_UNCROSSED = 37
    EV_BLOCK_TRADE_EXECUTED = 38
    EV_LEG_TRADE_EXECUTED = 39
    EV_MARGIN_MODE_CHANGED = 41
    EV_MARK_STAGE_CHANGED = 61
    EV_MARK_JUMP = 62
    EV_BREAKER_TRIPPED = 63
    EV_OVERRIDE_CHANGED = 70
    EV_MARGIN_ANNOUNCED = 71
    EV_FUNDS_TRANSFERRED = 86

cdef enum CommandCode:
    CMD_PLACE_ORDER = 1
    CMD_CANCEL_ORDER = 2
    CMD_CANCEL_ALL = 3
    CMD_EDIT_ORDER = 4
    CMD_UPDATE_MARKS = 5
    CMD_TICK = 6
    CMD_PLACE_BID = 7
    CMD_GRANT_FUND_LEASE = 8
    CMD_SETTLE_FUND_LEASE = 9
    CMD_CHECKPOINT = 10
    CMD_MASS_QUOTE = 11
    CMD_CANCEL_QUOTES = 12
    CMD_FIRST_COLD = 32

cdef enum FlagBit:
    FLAG_POST_ONLY = 1
    FLAG_REJECT_POST_ONLY = 2
    FLAG_REDUCE_ONLY = 4
    FLAG_UNIQUE_LABEL = 8
    FLAG_PRICE_ADJUSTED = 16
    FLAG_RISK_REDUCING = 32
    FLAG_LINKED = 256
    FLAG_QUOTE = 512
    FLAG_PROTECTED = 1024
    FLAG_ADVANCED = 2048
    FLAG_ICEBERG = 4096

# of trades, beside the orders' own flags; TRADE_UNCROSSED stands with the maker's
cdef enum TradeFlagBit:
    TRADE_BLOCK = 64
    TRADE_COMBO_LEG = 128
    TRADE_UNCROSSED = 64

cdef enum TimeInForceCode:
    TIF_GTC = 0
    TIF_IOC = 1
    TIF_FOK = 2
    TIF_GTD = 3

cdef enum OrderTypeCode:
    TYPE_LIMIT = 0
    TYPE_MARKET = 1
    TYPE_MARKET_LIMIT = 2
    TYPE_STOP_LIMIT = 3
    TYPE_STOP_MARKET = 4
    TYPE_TAKE_LIMIT = 5
    TYPE_TAKE_MARKET = 6
    TYPE_TRAILING_STOP = 7

# the numbers of exchange/reasons.py that compiled code uses
cdef enum ReasonCode:
    R_NONE = 0
    R_UNKNOWN_ACCOUNT = 1
    R_UNKNOWN_INSTRUMENT = 2
    R_UNKNOWN_ORDER = 3
    R_NOT_OWNER_OF_ORDER = 4
    R_ORDER_CLOSED = 5
    R_UNKNOWN_CURRENCY = 6
    R_UNKNOWN_UNDERLYING = 10
    R_INSTRUMENT_NOT_OPEN = 20
    R_INSTRUMENT_EXPIRED = 21
    R_PRICE_OFF_TICK = 22
    R_PRICE_TOO_LOW = 23
    R_PRICE_TOO_HIGH = 24
    R_QUANTITY_TOO_SMALL = 25
    R_QUANTITY_TOO_LARGE = 26
    R_QUANTITY_NOT_POSITIVE = 27
    R_POST_ONLY_WOULD_CROSS = 28
    R_REDUCE_ONLY_WOULD_INCREASE = 29
    R_FILL_OR_KILL_UNFILLABLE = 30
    R_NOT_ENOUGH_FUNDS = 31
    R_OPEN_ORDER_LIMIT = 32
    R_POSITION_LIMIT = 33
    R_ROW_LIMIT = 34
    R_DUPLICATE_LABEL = 35
    R_NO_MARK = 36
    R_BAD_ORDER_TYPE = 37
    R_BAD_TIME_IN_FORCE = 38
    R_POST_ONLY_NOT_ALLOWED = 39
    R_LABEL_TOO_LONG = 40
    R_VALID_UNTIL_PASSED = 41
    R_BOOK_FULL = 42
    R_NO_LIQUIDITY = 43
    R_EDIT_BELOW_FILLED = 44
    R_TRIGGER_PRICE_TOO_LOW = 45
    R_TRIGGER_PRICE_TOO_HIGH = 46
    R_BAD_TRIGGER = 47
    R_TRIGGER_LIMIT = 48
    R_ORDER_NOTIONAL_LIMIT = 49
    R_ORDER_DELTA_LIMIT = 50
    R_ORDER_VEGA_LIMIT = 51
    R_OWNER_ORDER_LIMIT = 52
    R_OWNER_POSITION_LIMIT = 53
    R_TRADING_STOPPED = 54
    R_BAD_TERMS = 55
    R_QUOTES_FROZEN = 56
    R_UNKNOWN_GROUP = 57
    R_QUOTE_NOT_EDITABLE = 58
    R_AUCTION_ONLY = 59
    R_USER_REQUEST = 60
    R_IMMEDIATE_OR_CANCEL = 61
    R_MARKET_REMAINDER = 62
    R_SELF_TRADE = 63
    R_REDUCE_ONLY_POSITION_GONE = 64
    R_MAINTENANCE_WOULD_BREACH = 65
    R_AUTO_LIQUIDATION = 66
    R_INSTRUMENT_SETTLED = 67
    R_DAY_ENDED = 70
    R_OTHER_CLOSED = 71
    R_PRIMARY_CLOSED = 72
    R_PROTECTION_TRIGGERED = 73
    R_PROTECTION_CHANGED = 74
    R_KILL_SWITCH = 75
    R_COMBO_ENDED = 76
    R_BAND_PASSED = 77
    R_ACCOUNT_IN_LIQUIDATION = 80
    R_MARK_STALE = 100
    R_MARK_JUMP = 101
    R_MARK_OUT_OF_RANGE = 102
    R_MARK_OVERRIDDEN = 222
    R_BAD_PAYLOAD = 150
    R_LIMIT_REACHED = 152
    R_BLOCK_TOO_SMALL = 160
    R_BLOCK_NONCE_USED = 161
    R_BLOCK_TIMED_OUT = 162
    R_BLOCK_LEGS = 163
    R_BLOCK_SAME_ACCOUNT = 164
    R_COMBO_LEGS = 165
    R_COMBO_LIMIT = 166
    R_BAD_LINK = 167
    R_ISOLATED_POSITION = 168
    R_NOT_ISOLATED = 169
    R_MODE_IN_USE = 170
    R_LEVERAGE_OUT_OF_RANGE = 171
