"""Why the engine refused, cancelled or stopped something. Values are journaled: never reuse a number."""

from enum import IntEnum


class Reason(IntEnum):
    NONE = 0
    # identity and lookup (1..19)
    UNKNOWN_ACCOUNT = 1
    UNKNOWN_INSTRUMENT = 2
    UNKNOWN_ORDER = 3
    NOT_OWNER_OF_ORDER = 4
    ORDER_CLOSED = 5
    UNKNOWN_CURRENCY = 6
    UNKNOWN_AUCTION = 7
    UNKNOWN_LEASE = 8
    DUPLICATE_NAME = 9
    UNKNOWN_UNDERLYING = 10
    ACCOUNT_EXISTS = 11
    # order entry (20..59)
    INSTRUMENT_NOT_OPEN = 20
    INSTRUMENT_EXPIRED = 21
    PRICE_OFF_TICK = 22
    PRICE_TOO_LOW = 23
    PRICE_TOO_HIGH = 24
    QUANTITY_TOO_SMALL = 25
    QUANTITY_TOO_LARGE = 26
    QUANTITY_NOT_POSITIVE = 27
    POST_ONLY_WOULD_CROSS = 28
    REDUCE_ONLY_WOULD_INCREASE = 29
    FILL_OR_KILL_UNFILLABLE = 30
    NOT_ENOUGH_FUNDS = 31
    OPEN_ORDER_LIMIT = 32
    POSITION_LIMIT = 33
    ROW_LIMIT = 34
    DUPLICATE_LABEL = 35
    NO_MARK = 36
    BAD_ORDER_TYPE = 37
    BAD_TIME_IN_FORCE = 38
    POST_ONLY_NOT_ALLOWED = 39
    LABEL_TOO_LONG = 40
    VALID_UNTIL_PASSED = 41
    BOOK_FULL = 42
    NO_LIQUIDITY = 43
    EDIT_BELOW_FILLED = 44
    TRIGGER_PRICE_TOO_LOW = 45
    TRIGGER_PRICE_TOO_HIGH = 46
    BAD_TRIGGER = 47
    TRIGGER_LIMIT = 48
    ORDER_NOTIONAL_LIMIT = 49
    ORDER_DELTA_LIMIT = 50
    ORDER_VEGA_LIMIT = 51
    OWNER_ORDER_LIMIT = 52
    OWNER_POSITION_LIMIT = 53
    TRADING_STOPPED = 54
    """The kill switch of the venue, the underlying, the owner or the account is on."""
    BAD_TERMS = 55
    """Display amount, advanced pricing or protection group that the order cannot have."""
    QUOTES_FROZEN = 56
    UNKNOWN_GROUP = 57
    """No market-maker protection group of that number for the instrument's underlying."""
    QUOTE_NOT_EDITABLE = 58
    AUCTION_ONLY = 59
    """The instrument is in an auction: resting limit orders only."""
    # why a live order ended (60..79)
    USER_REQUEST = 60
    IMMEDIATE_OR_CANCEL = 61
    MARKET_REMAINDER = 62
    SELF_TRADE = 63
    REDUCE_ONLY_POSITION_GONE = 64
    MAINTENANCE_WOULD_BREACH = 65
    AUTO_LIQUIDATION = 66
    INSTRUMENT_SETTLED = 67
    CANCEL_ON_DISCONNECT = 68
    ADMIN_REQUEST = 69
    DAY_ENDED = 70
    OTHER_CLOSED = 71
    PRIMARY_CLOSED = 72
    PROTECTION_TRIGGERED = 73
    PROTECTION_CHANGED = 74
    KILL_SWITCH = 75
    COMBO_ENDED = 76
    BAND_PASSED = 77
    """The price of an advanced order can no longer be kept within its bounds, or no leg can take that of a combo."""
    # accounts and money (80..99)
    ACCOUNT_IN_LIQUIDATION = 80
    INSUFFICIENT_WITHDRAWABLE = 81
    AMOUNT_NOT_POSITIVE = 82
    AMOUNT_TOO_LARGE = 83
    ACCOUNT_LOCKED = 84
    # marks and time (100..119)
    MARK_STALE = 100
    MARK_JUMP = 101
    MARK_OUT_OF_RANGE = 102
    TIME_STEP_TOO_LARGE = 103
    # liquidation (120..149)
    WRONG_PHASE = 120
    BID_BELOW_PRICE = 121
    OWN_GROUP = 122
    BIDDER_MARGIN = 123
    SHARE_OUT_OF_RANGE = 124
    AUCTION_CLOSED = 125
    BATCH_FULL = 126
    RESTORED = 127
    CLOSED_OUT = 128
    FUND_EXHAUSTED = 129
    AWAITING_LEASE = 130
    AWAITING_BIDS = 131
    STALE_MARKS = 132
    DELEVERAGED = 133
    # configuration (150..169)
    BAD_PAYLOAD = 150
    BAD_CONFIGURATION = 151
    LIMIT_REACHED = 152
    ALREADY_STARTED = 153
    NOT_STARTED = 154
    # block trades and combos (160..179)
    BLOCK_TOO_SMALL = 160
    BLOCK_NONCE_USED = 161
    BLOCK_TIMED_OUT = 162
    BLOCK_LEGS = 163
    BLOCK_SAME_ACCOUNT = 164
    COMBO_LEGS = 165
    COMBO_LIMIT = 166
    BAD_LINK = 167
    # isolated positions (168..177)
    ISOLATED_POSITION = 168
    """The account's instrument, or a leg of it, is isolated: quotes, combos, block trades and bids cannot have it."""
    NOT_ISOLATED = 169
    MODE_IN_USE = 170
    """An open order or a position keeps the margin mode as it is."""
    LEVERAGE_OUT_OF_RANGE = 171
    TORN_UP = 172
    """An isolated position was closed whole against opposite buckets of its owner."""
    # the waterfall of a default (217..226)
    EVENT_CAP_REACHED = 217
    """One default may draw no more of the fund (`fund_event_cap_ppm`)."""
    # governance of marks and margin (220..229)
    ANNOUNCED_MARGIN = 220
    """Money may not leave: the account would not meet its initial margin as announced for later."""
    STRESSED_MARGIN = 221
    """Money may not leave: the account would not meet its initial margin at stressed rates."""
    MARK_OVERRIDDEN = 222
    """An index set by hand is in force: what feeds say is not taken."""
    UNKNOWN_PROPOSAL = 223
    OWN_PROPOSAL = 224
    """Whoever proposes an override cannot approve it."""
    NOTHING_TO_OVERRIDE = 225
    """What the override is about is not there (any more): no held jump, another one, no pause."""
    OVERRIDE_IN_FORCE = 226
    """Another override of the underlying must end first."""
    NOTICE_TOO_SHORT = 227
    """Rates that rise are announced `margin_notice_ns` before they bind."""
    UNKNOWN_OPERATOR = 228
    # transfers between the accounts of an owner (250..259)
    UNKNOWN_SUBACCOUNT = 250
    """A side of a transfer is no account, or none of the owner's."""
    BUCKET_ACCOUNT = 251
    """A side of a transfer is the bucket of an isolated position: collateral moves with MOVE_COLLATERAL."""
    SAME_ACCOUNT = 252
    NOT_MAIN_ACCOUNT = 253
    """Only the owner's main account moves money of another account than its own."""
    NONCE_USED = 254
    """The account has used the nonce for a transfer of other terms."""
    NONCE_LIMIT = 255
    """As many transfers with a nonce as are remembered for a day."""
    # portfolios offered for sale (256..259)
    UNKNOWN_OFFER = 256
    UNKNOWN_BID = 257
    OFFER_LIMIT = 258
    """The account has an offer already, or the venue as many as it keeps."""
