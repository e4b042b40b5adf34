"""Shared parameter checks: currencies, kinds, counts."""

from exchange.commands import OrderType
from gateway.errors import invalid_param
from gateway.listing import Listing
from gateway.waiting import STOPS, TAKES, WAITING_TYPES
from persistence.history_reads import MAX

KINDS = ("any", "future", "option", "spot", "future_combo", "option_combo", "combo")
"""Words of the `kind` parameter; our own `leg` (all that are no combos) is what an absent one means for listings."""
_TRAILING = frozenset({OrderType.TRAILING_STOP})
ORDER_TYPE_WORDS: dict[str, frozenset[OrderType]] = {
    "all": frozenset(OrderType),
    "limit": frozenset({OrderType.LIMIT, OrderType.MARKET_LIMIT}),
    "market": frozenset({OrderType.MARKET}),
    "trigger_all": WAITING_TYPES,
    "stop": STOPS,
    "stop_all": STOPS,
    "take": TAKES,
    "take_all": TAKES,
    "trailing_all": _TRAILING,
    "trailing_stop": _TRAILING,
    **{kind.name.lower(): frozenset({kind}) for kind in sorted(STOPS | TAKES)},
}
"""Words of the `type` parameter of filters."""
MAX_COUNT = 1000
MAX_OFFSET = 10_000


def check_kind(kind: str | None) -> str:
    """The kind, `any` where absent."""
    if kind is None:
        return "any"
    if kind not in KINDS:
        raise invalid_param("kind", "invalid value")
    return kind


def currency_name(currency: str | None) -> str:
    """The currency in upper case, `ANY` where absent; -32602 for what cannot be a currency."""
    if currency is None:
        return "ANY"
    if not currency.isalnum() or not 2 <= len(currency) <= 8 or not currency.isascii():
        raise invalid_param("currency", "invalid currency")
    return currency.upper()


def covers(listing: Listing, currency: str, kind: str) -> bool:
    """Whether an instrument is of that settlement currency and kind."""
    return currency in ("ANY", listing.currency) and listing.is_of(kind)


def check_count(count: int | None, default: int) -> int:
    """How many entries to return: 1 to 1000."""
    if count is None:
        return default
    if not 1 <= count <= MAX_COUNT:
        raise invalid_param("count", f"must be between 1 and {MAX_COUNT}")
    return count


def order_types(word: str | None) -> frozenset[OrderType]:
    """The order types that a filter means, all where absent."""
    found = ORDER_TYPE_WORDS.get(word or "all")
    if found is None:
        raise invalid_param("type", "invalid value")
    return found


def parse_order_id(text: str) -> int:
    """The engine's number of an order id (`17`, `SLMB-17`); unknown shapes are -32602."""
    digits = text.rpartition("-")[2]
    if not digits.isdecimal() or not digits.isascii() or len(digits) > 19:
        raise invalid_param("order_id", "wrong format")
    return int(digits)


def continuation(token: str | None) -> int:
    """Entries before this rank come next; the token is the rank of the last one shown."""
    if token in (None, "", "none"):
        return MAX
    if not (token.isascii() and token.isdecimal() and len(token) <= 19):
        raise invalid_param("continuation", "wrong format")
    return min(int(token), MAX)
