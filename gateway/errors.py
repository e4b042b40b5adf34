"""Error codes of the wire (the classic table of Deribit's API v2) and the engine's reasons in it."""

from typing import Any

from exchange.reasons import Reason

PARSE_ERROR = -32700
INVALID_REQUEST = -32600
METHOD_NOT_FOUND = -32601
INVALID_PARAMS = -32602
INTERNAL_ERROR = 11094

MESSAGES: dict[int, str] = {
    PARSE_ERROR: "Parse error",
    INVALID_REQUEST: "Invalid Request",
    METHOD_NOT_FOUND: "Method not found",
    INVALID_PARAMS: "Invalid params",
    10000: "authorization_required",
    10001: "error",
    10002: "qty_too_low",
    10004: "order_not_found",
    10005: "price_too_low",
    10007: "price_too_high",
    10009: "not_enough_funds",
    10010: "already_closed",
    10012: "book_closed",
    10013: "max_total_open_orders_exceeded",
    10014: "position_limit_exceeded",
    10018: "max_order_size_exceeded",
    10019: "locked_by_admin",
    10020: "invalid_or_unsupported_instrument",
    10021: "invalid_amount",
    10022: "invalid_quantity",
    10023: "invalid_price",
    10025: "invalid_order_id",
    10028: "too_many_requests",
    10029: "not_owner_of_order",
    10030: "must_be_websocket_request",
    10031: "invalid_args_for_instrument",
    10033: "not_implemented",
    10034: "trigger_price_too_high",
    10035: "trigger_price_too_low",
    10040: "retry",
    10043: "price_wrong_tick",
    10044: "trigger_price_wrong_tick",
    10047: "matching_engine_queue_full",
    10066: "too_many_concurrent_requests",
    11029: "invalid_arguments",
    11030: "other_reject",
    11035: "no_more_triggers",
    11036: "invalid_trigger_price",
    11037: "outdated_instrument_for_IV_order",
    11038: "no_adv_for_futures",
    11039: "no_adv_postonly",
    11041: "not_adv_order",
    11042: "permission_denied",
    11044: "not_open_order",
    11047: "unsupported_arg_combination",
    11050: "bad_request",
    11052: "subscribe_error_unsubscribed",
    11054: "post_only_reject",
    11055: "post_only_not_allowed",
    11094: "internal_server_error",
    11098: "account_locked",
    12100: "transfer_not_allowed",
    13004: "invalid_credentials",
    13009: "unauthorized",
    13019: "orderbook_closed",
    13020: "not_found",
    13021: "forbidden",
    13028: "temporarily_unavailable",
    13030: "mmp_trigger",
    13032: "non_unique_order_label",
    13035: "active_combo_limit_reached",
    13040: "mmp_required",
    13042: "cod_not_enabled",
    13043: "quotes_frozen",
    13778: "raw_subscriptions_not_available_for_unauthorized",
    13888: "timed_out",
}

REASON_CODES: dict[Reason, int] = {
    Reason.UNKNOWN_ACCOUNT: 13009,
    Reason.UNKNOWN_INSTRUMENT: 10020,
    Reason.UNKNOWN_ORDER: 10004,
    Reason.NOT_OWNER_OF_ORDER: 10029,
    Reason.ORDER_CLOSED: 11044,
    Reason.UNKNOWN_AUCTION: 13020,
    Reason.UNKNOWN_CURRENCY: INVALID_PARAMS,
    Reason.INSTRUMENT_NOT_OPEN: 10012,
    Reason.INSTRUMENT_EXPIRED: 13019,
    Reason.PRICE_OFF_TICK: 10043,
    Reason.PRICE_TOO_LOW: 10005,
    Reason.PRICE_TOO_HIGH: 10007,
    Reason.QUANTITY_TOO_SMALL: 10002,
    Reason.QUANTITY_TOO_LARGE: 10021,
    Reason.QUANTITY_NOT_POSITIVE: 10021,
    Reason.POST_ONLY_WOULD_CROSS: 11054,
    Reason.REDUCE_ONLY_WOULD_INCREASE: 11030,
    Reason.FILL_OR_KILL_UNFILLABLE: 11030,
    Reason.NOT_ENOUGH_FUNDS: 10009,
    Reason.OPEN_ORDER_LIMIT: 11030,
    Reason.POSITION_LIMIT: 10014,
    Reason.ROW_LIMIT: 10014,
    Reason.OWNER_ORDER_LIMIT: 10013,
    Reason.OWNER_POSITION_LIMIT: 10014,
    Reason.ORDER_NOTIONAL_LIMIT: 10018,
    Reason.ORDER_DELTA_LIMIT: 10018,
    Reason.ORDER_VEGA_LIMIT: 10018,
    Reason.DUPLICATE_LABEL: 13032,
    Reason.NO_MARK: 13028,
    Reason.BAD_ORDER_TYPE: INVALID_PARAMS,
    Reason.BAD_TIME_IN_FORCE: INVALID_PARAMS,
    Reason.POST_ONLY_NOT_ALLOWED: 11055,
    Reason.LABEL_TOO_LONG: INVALID_PARAMS,
    Reason.VALID_UNTIL_PASSED: 13888,
    Reason.BOOK_FULL: 10047,
    Reason.NO_LIQUIDITY: 11030,
    Reason.EDIT_BELOW_FILLED: 10021,
    Reason.TRIGGER_PRICE_TOO_LOW: 10035,
    Reason.TRIGGER_PRICE_TOO_HIGH: 10034,
    Reason.BAD_TRIGGER: 11036,
    Reason.TRIGGER_LIMIT: 11035,
    Reason.BAD_LINK: 11047,
    Reason.QUOTES_FROZEN: 13030,
    Reason.UNKNOWN_GROUP: 13040,
    Reason.QUOTE_NOT_EDITABLE: 10004,
    Reason.ACCOUNT_IN_LIQUIDATION: 11098,
    Reason.ACCOUNT_LOCKED: 11098,
    Reason.AMOUNT_NOT_POSITIVE: 10021,
    Reason.AMOUNT_TOO_LARGE: 10021,
    Reason.MARK_STALE: 13028,
    Reason.STALE_MARKS: 13028,
    Reason.TRADING_STOPPED: 10019,
    Reason.BLOCK_TIMED_OUT: 13888,
    Reason.BLOCK_TOO_SMALL: 10002,
    Reason.LIMIT_REACHED: 10047,
    Reason.COMBO_LIMIT: 13035,
    Reason.COMBO_LEGS: INVALID_PARAMS,
    Reason.BAD_TERMS: 11047,
    Reason.ISOLATED_POSITION: 11047,
    Reason.LEVERAGE_OUT_OF_RANGE: INVALID_PARAMS,
    Reason.UNKNOWN_SUBACCOUNT: 13020,
    Reason.BUCKET_ACCOUNT: 12100,
    Reason.SAME_ACCOUNT: 12100,
    Reason.NOT_MAIN_ACCOUNT: 13021,
    Reason.NONCE_USED: 12100,
    Reason.NONCE_LIMIT: 10028,
    Reason.UNKNOWN_OFFER: 13020,
    Reason.UNKNOWN_BID: 13020,
    Reason.OFFER_LIMIT: 11030,
}

CANCEL_REASONS: dict[Reason, str] = {
    Reason.USER_REQUEST: "user_request",
    Reason.REDUCE_ONLY_POSITION_GONE: "position_locked",
    Reason.MAINTENANCE_WOULD_BREACH: "risk_mitigation",
    Reason.AUTO_LIQUIDATION: "autoliquidation",
    Reason.INSTRUMENT_SETTLED: "settlement",
    Reason.CANCEL_ON_DISCONNECT: "cancel_on_disconnect",
    Reason.OTHER_CLOSED: "oco_other_closed",
    Reason.PRIMARY_CLOSED: "oto_primary_closed",
    Reason.PROTECTION_TRIGGERED: "mmp_trigger",
    Reason.PROTECTION_CHANGED: "mmp_config_curtailment",
}
"""Reasons that Deribit has a word for; strict clients refuse any other word."""


class ApiError(Exception):
    """A refusal as the client sees it: `code`, `message` and optional `data`.

    `fatal` ends a WebSocket session after the answer (overrun rate limits).
    """

    def __init__(self, code: int, data: dict[str, Any] | None = None, fatal: bool = False, message: str = ""):
        self.code = code
        self.message = message or MESSAGES[code]
        self.data = data
        self.fatal = fatal
        super().__init__(f"{code} {self.message}")


def invalid_param(param: str, reason: str) -> ApiError:
    """-32602 naming the parameter at fault."""
    return ApiError(INVALID_PARAMS, {"reason": reason, "param": param})


def engine_refusal(reason_number: int) -> ApiError:
    """The wire error for an engine refusal; `data.reason` always carries the engine's own word."""
    try:
        reason = Reason(reason_number)
    except ValueError:
        return ApiError(11030, {"reason": f"reason_{reason_number}"})
    word = reason.name.lower()
    code = REASON_CODES.get(reason, 11030)
    message = f"{MESSAGES[code]} {word}" if code == 11030 else ""
    return ApiError(code, {"reason": word}, message=message)
