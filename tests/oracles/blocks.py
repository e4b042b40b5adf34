"""Naive block trades. Rules: docs/orders.md."""

from dataclasses import replace

from exchange import payloads
from exchange.commands import TradeFlag
from exchange.config import COMBO_KINDS
from exchange.events import EventKind
from exchange.reasons import Reason
from tests.oracles.account import Account
from tests.oracles.book import BUY
from tests.oracles.pretrade import ROW_BUDGET, require, sign
from tests.oracles.state import change_holding, copy_of
from tests.oracles.trading import Trading

MOST_LEGS = 20
MOST_NONCE = 64
LATEST_NS = 300 * 10**9
Fees = dict[str, int]


class Blocks:
    """Trades that two accounts agreed outside the book."""

    def __init__(self, trading: Trading) -> None:
        self.trading = trading
        self.state = trading.state
        self.used: set[tuple[int, int, str]] = set()
        self.next_block_id = 1
        self.detail = 0

    def trade(self, payload: payloads.BlockTrade) -> int:
        """Book all legs, or Refused (`detail`: the leg or account at fault); the block's id."""
        s = self.state
        self.detail = 0
        self.check(payload)
        maker, taker = s.accounts[payload.maker_account_id], s.accounts[payload.taker_account_id]
        for account, is_maker in ((maker, True), (taker, False)):
            self.detail = account.account_id
            self.check_margin(account, payload, is_maker)
        self.used |= self.uses(payload)
        block_id, self.next_block_id = self.next_block_id, self.next_block_id + 1
        s.emit(
            EventKind.BLOCK_TRADE_EXECUTED, taker.account_id, block_id=block_id, maker_account_id=maker.account_id,
            trade_count=len(payload.trades), timestamp_ms=payload.timestamp_ms,
        )  # fmt: skip
        for leg in payload.trades:
            self.book(leg, maker, taker)
        s.check_level(maker)
        s.check_level(taker)
        return block_id

    @staticmethod
    def uses(payload: payloads.BlockTrade) -> set[tuple[int, int, str]]:
        """The nonce as either account uses it."""
        pair = (payload.maker_account_id, payload.taker_account_id)
        return {(number, payload.timestamp_ms, payload.nonce) for number in pair}

    # ------------------------------------------------------------------ checks

    def check(self, payload: payloads.BlockTrade) -> None:
        s = self.state
        both = (payload.maker_account_id, payload.taker_account_id)
        for number in both:
            require(number in s.accounts and not s.accounts[number].holder, Reason.UNKNOWN_ACCOUNT)
        require(both[0] != both[1], Reason.BLOCK_SAME_ACCOUNT)
        slots = [leg.instrument for leg in payload.trades]
        require(0 < len(slots) <= MOST_LEGS and len(set(slots)) == len(slots), Reason.BLOCK_LEGS)
        require(0 < len(payload.nonce) <= MOST_NONCE, Reason.BAD_PAYLOAD)
        require(abs(payload.timestamp_ms * 10**6 - s.time_ns) <= LATEST_NS, Reason.BLOCK_TIMED_OUT)
        require(not self.uses(payload) & self.used, Reason.BLOCK_NONCE_USED)
        for self.detail, leg in enumerate(payload.trades):
            self.check_leg(leg, both)

    def check_leg(self, leg: payloads.BlockLeg, both: tuple[int, int]) -> None:
        """One trade: `leg.side` is the maker's."""
        t, s = self.trading, self.state
        require(leg.side in (0, 1), Reason.BLOCK_LEGS)
        require(leg.instrument in s.contracts, Reason.UNKNOWN_INSTRUMENT)
        require(abs(leg.price_units) < 2**62, Reason.PRICE_TOO_HIGH)
        require(abs(leg.quantity_lots) < 2**62, Reason.QUANTITY_TOO_LARGE)
        spec = s.contracts[leg.instrument].spec
        require(s.stages[s.contracts[leg.instrument].underlying] == 0, Reason.MARK_STALE)
        for number, side in zip(both, (leg.side, 1 - leg.side), strict=True):
            t.check_static(number, leg.instrument, side, leg.price_units, leg.quantity_lots, False)
        require(spec.kind not in COMBO_KINDS, Reason.BLOCK_LEGS)
        require(s.contracts[leg.instrument].state == "open", Reason.INSTRUMENT_NOT_OPEN)
        require(leg.quantity_lots >= spec.block_min_lots, Reason.BLOCK_TOO_SMALL)
        for number, side in zip(both, (leg.side, 1 - leg.side), strict=True):
            t.check_limits(s.accounts[number], leg.instrument, side, leg.quantity_lots, False)

    def check_margin(self, account: Account, payload: payloads.BlockTrade, is_maker: bool) -> None:
        """Initial margin with all legs booked, or none of its parts worse than before."""
        s = self.state
        for chain in {s.contracts[leg.instrument].chain for leg in payload.trades}:
            added = [leg for leg in payload.trades if s.contracts[leg.instrument].chain == chain]
            more = sum(leg.quantity_lots * s.contracts[leg.instrument].row_cap for leg in added)
            fits = self.trading.gross_rows(account, chain) + more <= ROW_BUDGET
            require(fits or len(added) == 1, Reason.ROW_LIMIT)
        if s.ample:
            return
        tried = replace(copy_of(account), orders=account.orders)
        for leg in payload.trades:
            side = leg.side if is_maker else 1 - leg.side
            c = s.contracts[leg.instrument]
            cost = c.trade_cost(leg.price_units, leg.quantity_lots)
            rate = c.spec.fees.maker_ppm if is_maker else c.spec.fees.taker_ppm
            fee = c.fee(cost, leg.quantity_lots, rate, s.index_e8[c.underlying])
            funding, cash, _ = change_holding(tried, c, sign(side) * leg.quantity_lots, sign(side) * cost)
            tried.cash[c.currency] += funding + cash - fee
        for entity in s.entities(account):
            before, after = s.model.margin(account, entity, True), s.model.margin(tried, entity, True)
            eases = after.initial <= before.initial
            eases = eases and after.equity - after.initial >= before.equity - before.initial
            require(after.equity >= after.initial or eases, Reason.NOT_ENOUGH_FUNDS)

    # ------------------------------------------------------------------ booking

    def book(self, leg: payloads.BlockLeg, maker: Account, taker: Account) -> None:
        s = self.state
        c = s.contracts[leg.instrument]
        index = s.index_e8[c.underlying]
        cost = c.trade_cost(leg.price_units, leg.quantity_lots)
        rates = {"maker": c.spec.fees.maker_ppm, "taker": c.spec.fees.taker_ppm}
        fees: Fees = {role: c.fee(cost, leg.quantity_lots, rate, index) for role, rate in rates.items()}
        way = 1 if leg.side == BUY else -1
        realised = {
            role: s.book_fill(account, c, ways * leg.quantity_lots, ways * cost, fees[role])
            for role, account, ways in (("maker", maker, way), ("taker", taker, -way))
        }
        c.trade_seq += 1
        s.emit(
            EventKind.TRADE_EXECUTED, taker.account_id, trade_id=s.next_trade_id, instrument=c.slot,
            maker_account_id=maker.account_id, price_units=leg.price_units, quantity_lots=leg.quantity_lots,
            taker_fee_minor=fees["taker"], maker_fee_minor=fees["maker"], taker_realised_minor=realised["taker"],
            maker_realised_minor=realised["maker"], mark_price_e8=c.mark_price_e8, index_price_e8=index,
            trade_seq=c.trade_seq, side=1 - leg.side, tick_direction=c.tick_direction, taker_flags=TradeFlag.BLOCK,
        )  # fmt: skip
        s.next_trade_id += 1
