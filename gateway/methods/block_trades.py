"""Block trades: two accounts sign what they agreed, the second signature executes it."""

from typing import Any, Literal

from exchange import commands
from exchange.commands import CommandKind, Side
from exchange.payloads import BlockLeg, BlockTrade
from exchange.reasons import Reason
from gateway import block_signatures, render_orders
from gateway.auth import Principal
from gateway.block_signatures import Agreement
from gateway.credentials import CredentialError
from gateway.errors import ApiError, engine_refusal, invalid_param
from gateway.methods.filters import check_count, currency_name
from gateway.methods.order_terms import Quantity, price_units, quantity_lots
from gateway.protocol import Params
from gateway.registry import method
from gateway.units import ms

READ, WRITE = "block_trade:read", "block_trade:read_write"
MAX_TRADES = 20
MAX_NONCE = 64
MAX_ID = (1 << 63) - 1
Role = Literal["maker", "taker"]
OTHER: dict[str, Role] = {"maker": "taker", "taker": "maker"}


class Trade(Params, kw_only=True):
    """One trade, its direction as the maker has it."""

    instrument_name: str
    direction: Literal["buy", "sell"]
    price: float
    amount: float


class Simulate(Params, kw_only=True):
    trades: list[Trade]
    role: Role | None = None


class Verify(Params, kw_only=True):
    trades: list[Trade]
    timestamp: int
    nonce: str
    role: Role


class Execute(Verify, kw_only=True):
    counterparty_signature: str


def _legs(gateway, trades: list[Trade]) -> tuple[tuple[int, BlockLeg], ...]:
    """(instrument_id, trade in the engine's units) of each."""
    if not 1 <= len(trades) <= MAX_TRADES:
        raise invalid_param("trades", f"must be 1 to {MAX_TRADES}")
    found = []
    for trade in trades:
        listing = gateway.listing(trade.instrument_name)
        lots = quantity_lots(listing, Quantity(amount=trade.amount))
        side = Side.BUY if trade.direction == "buy" else Side.SELL
        units = price_units(listing, trade.price)
        found.append((listing.view.instrument_id, BlockLeg(listing.slot, int(side), units, lots or 0)))
    return tuple(found)


def _agreement(gateway, params: Verify) -> Agreement:
    if not 1 <= len(params.nonce) <= MAX_NONCE:
        raise invalid_param("nonce", f"must be 1 to {MAX_NONCE} characters long")
    if not 0 <= params.timestamp < 1 << 43:
        raise invalid_param("timestamp", "must be a timestamp in milliseconds")
    return Agreement(params.timestamp, params.nonce, _legs(gateway, params.trades))


def _now_ms(gateway) -> int:
    """Venue time: what the engine will judge by."""
    return ms(max(gateway.sequencer.clock(), gateway.engine.time_ns))


def _stands(gateway, account_id: int, legs: tuple[tuple[int, BlockLeg], ...], role: str) -> int:
    """The reason number why the account cannot trade so now, 0 where it can."""
    reason, _ = gateway.engine.blocks.simulate(account_id, tuple(leg for _, leg in legs), role == "maker")
    return int(reason)


@method("private/simulate_block_trade", params=Simulate, scope=READ, kind="matching")
def simulate_block_trade(gateway, session, principal: Principal, params: Simulate) -> bool:
    """Whether the account could trade so now, in the role (absent: in either)."""
    legs = _legs(gateway, params.trades)
    roles = ("maker", "taker") if params.role is None else (params.role,)
    return any(not _stands(gateway, principal.account_id, legs, role) for role in roles)


@method("private/verify_block_trade", params=Verify, scope=WRITE, kind="matching")
def verify_block_trade(gateway, session, principal: Principal, params: Verify) -> dict[str, Any]:
    """Sign a block trade for the other account to execute within five minutes."""
    agreement, now_ms = _agreement(gateway, params), _now_ms(gateway)
    if abs(params.timestamp - now_ms) > block_signatures.VALID_MS:
        raise engine_refusal(int(Reason.BLOCK_TIMED_OUT))
    reason = _stands(gateway, principal.account_id, agreement.trades, params.role)
    if reason:
        raise engine_refusal(reason)
    store = gateway.credentials
    signature, expires_ms = block_signatures.sign(store, agreement, principal.account_id, params.role, now_ms)
    return {"signature": signature, "expires_at": expires_ms}


@method("private/execute_block_trade", params=Execute, scope=WRITE, kind="matching")
def execute_block_trade(gateway, session, principal: Principal, params: Execute) -> dict[str, Any]:
    """Execute what the other account has signed: same timestamp, nonce and trades, the other role."""
    agreement = _agreement(gateway, params)
    other = block_signatures.signer(
        gateway.credentials, params.counterparty_signature, agreement, OTHER[params.role], _now_ms(gateway)
    )
    maker, taker = principal.account_id, other
    if params.role == "taker":
        maker, taker = taker, maker
    trades = tuple(leg for _, leg in agreement.trades)
    payload = BlockTrade(maker, taker, params.timestamp, params.nonce, trades)
    news = gateway.submit(commands.cold(CommandKind.BLOCK_TRADE, payload, principal.account_id), session)
    if news.rejected:
        raise engine_refusal(news.rejected)
    return _block(gateway, principal.account_id, news.block_id)


class Invalidate(Params, kw_only=True):
    signature: str


@method("private/invalidate_block_trade_signature", params=Invalidate, scope=WRITE, kind="matching")
def invalidate_block_trade_signature(gateway, session, principal: Principal, params: Invalidate) -> str:
    """Take back a signature of the account's own."""
    expires_ms, account_id, _ = block_signatures.read(params.signature)
    if account_id != principal.account_id:
        raise ApiError(13021, {"reason": "not_the_signer"})
    now_ms = _now_ms(gateway)
    if now_ms <= expires_ms <= now_ms + block_signatures.VALID_MS:
        try:
            gateway.credentials.withdraw_signature(block_signatures.digest(params.signature), expires_ms, now_ms)
        except CredentialError:
            raise ApiError(10028, {"wait": 1}) from None
    return "ok"


def _block(gateway, account_id: int, block_id: int) -> dict[str, Any]:
    """A block as one of its accounts sees it; 13020 where it is not the account's."""
    own = gateway.archive.block(account_id, block_id)
    if not own:
        raise ApiError(13020)
    return {
        "id": render_orders.block_name(block_id),
        "timestamp": ms(own[0][0].event.time_ns),
        "trades": [render_orders.user_trade(record, as_maker) for record, as_maker in own],
    }


def _number(text: str, name: str) -> int:
    """The engine's number of a block's id."""
    digits = text.removeprefix("BLOCK-")
    if not (digits.isascii() and digits.isdecimal() and len(digits) <= 18):
        raise invalid_param(name, "wrong format")
    return int(digits)


class One(Params, kw_only=True):
    id: str


@method("private/get_block_trade", params=One, scope=READ)
def get_block_trade(gateway, session, principal: Principal, params: One) -> dict[str, Any]:
    """One of the account's block trades."""
    return _block(gateway, principal.account_id, _number(params.id, "id"))


class Several(Params, kw_only=True):
    currency: str | None = None
    count: int | None = None
    start_id: str | None = None
    end_id: str | None = None


@method("private/get_block_trades", "private/get_last_block_trades_by_currency", params=Several, scope=READ)
def get_block_trades(gateway, session, principal: Principal, params: Several) -> list[dict[str, Any]]:
    """The account's block trades, newest first."""
    currency = currency_name(params.currency)
    first = 0 if params.start_id is None else _number(params.start_id, "start_id")
    final = MAX_ID if params.end_id is None else _number(params.end_id, "end_id")
    found = gateway.archive.blocks(
        principal.account_id, "" if currency == "ANY" else currency, first, final, check_count(params.count, 20)
    )
    return [_block(gateway, principal.account_id, block_id) for block_id in found]
