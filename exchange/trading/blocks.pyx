"""Block trades: agreed by two accounts outside the book, booked here whole or not at all.

Everything is checked first; both sides are then tried on the scenario books, re-margined and undone, so that a refusal
leaves nothing behind.
"""

import heapq

from libc.stdint cimport int64_t, uint32_t, uint64_t

from exchange.clearing.fees cimport trade_fee
from exchange.clearing.position cimport Position, Positions
from exchange.event_buffer cimport EventBuffer
from exchange.liquidation.monitor cimport Monitor
from exchange.market.instrument cimport STATE_OPEN, Instrument, Instruments
from exchange.reasons import Reason
from exchange.records cimport (
    EV_BLOCK_TRADE_EXECUTED, EV_TRADE_EXECUTED, TRADE_BLOCK, BlockTradeExecuted, TradeExecuted,
)
from exchange.risk.exposure cimport Exposure
from exchange.risk.pretrade cimport Pretrade
from exchange.trading.lifecycle cimport Trading
from exchange.wide cimport wide_add, wide_mul

MAX_TRADES = 20
MAX_NONCE = 64
MAX_NONCES = 131_072            # two of each block
VALID_NS = 300_000_000_000
LARGEST = (1 << 62) - 1
ROW_BUDGET = 1 << 52


cdef class Blocks:
    """Books blocks; keeps the nonces of the last minutes."""

    cdef Instruments instruments
    cdef Positions positions
    cdef Exposure exposure
    cdef Pretrade pretrade
    cdef Monitor monitor
    cdef Trading trading
    cdef EventBuffer events
    cdef readonly uint64_t next_block_id
    cdef set nonces                      # (timestamp_ms, account, nonce), of both accounts of a block
    cdef list oldest                     # the same as a heap

    def __init__(self, Instruments instruments, Positions positions, Exposure exposure, Pretrade pretrade,
                 Monitor monitor, Trading trading, EventBuffer events):
        self.instruments = instruments
        self.positions = positions
        self.exposure = exposure
        self.pretrade = pretrade
        self.monitor = monitor
        self.trading = trading
        self.events = events
        self.next_block_id = 1
        self.nonces = set()
        self.oldest = []

    def execute(self, block):
        """(reason, detail) of BLOCK_TRADE. detail: the block's id, the leg (from 0) or the account that is refused."""
        reason, detail = self._agreement_reason(block)
        if reason:
            return reason, detail
        for i, leg in enumerate(block.trades):
            reason = self._leg_reason(leg, ((block.maker_account_id, leg.side), (block.taker_account_id, leg.side ^ 1)))
            if reason:
                return reason, i
        for account_id, maker in ((block.maker_account_id, True), (block.taker_account_id, False)):
            reason = self._margin_reason(account_id, block.trades, maker)
            if reason:
                return reason, account_id
        for used in self._uses(block):
            self.nonces.add(used)
            heapq.heappush(self.oldest, used)
        return Reason.NONE, self._book(block)

    def simulate(self, account_id, trades, maker):
        """(reason, detail) for one side of a block as it is now, whoever the other may be; changes nothing."""
        reason = self._trades_reason(trades)
        if reason:
            return reason, 0
        for i, leg in enumerate(trades):
            reason = self._leg_reason(leg, ((account_id, leg.side if maker else leg.side ^ 1),))
            if reason:
                return reason, i
        return self._margin_reason(account_id, trades, maker), account_id

    # ------------------------------------------------------------------ checks

    def _uses(self, block):
        """The nonce as either account uses it."""
        return [(block.timestamp_ms, a, block.nonce) for a in (block.maker_account_id, block.taker_account_id)]

    def _trades_reason(self, trades):
        """Between 1 and 20 trades, no instrument twice."""
        slots = {leg.instrument for leg in trades}
        if not 1 <= len(trades) <= MAX_TRADES or len(slots) != len(trades):
            return Reason.BLOCK_LEGS
        return Reason.NONE

    def _agreement_reason(self, block):
        """(reason, detail): accounts, number of trades, time and nonce."""
        now = int(self.events.time_ns)
        for account_id in (block.maker_account_id, block.taker_account_id):
            if not 0 < account_id < self.pretrade.accounts.high or self.pretrade.accounts.is_bucket(account_id):
                return Reason.UNKNOWN_ACCOUNT, 0
        if block.maker_account_id == block.taker_account_id:
            return Reason.BLOCK_SAME_ACCOUNT, 0
        reason = self._trades_reason(block.trades)
        if reason:
            return reason, 0
        if not 1 <= len(block.nonce) <= MAX_NONCE:
            return Reason.BAD_PAYLOAD, 0
        if abs(block.timestamp_ms * 1_000_000 - now) > VALID_NS:
            return Reason.BLOCK_TIMED_OUT, 0
        while self.oldest and self.oldest[0][0] * 1_000_000 < now - VALID_NS:
            self.nonces.discard(heapq.heappop(self.oldest))
        if any([used in self.nonces for used in self._uses(block)]):
            return Reason.BLOCK_NONCE_USED, 0
        if len(self.nonces) >= MAX_NONCES:
            return Reason.LIMIT_REACHED, 0
        return Reason.NONE, 0

    def _leg_reason(self, leg, sides):
        """What is wrong with one trade for the accounts with their (account, side)."""
        if leg.side not in (0, 1) or not 0 <= leg.instrument < self.instruments.capacity:
            return Reason.UNKNOWN_INSTRUMENT if leg.side in (0, 1) else Reason.BLOCK_LEGS
        if not -LARGEST <= leg.price_units <= LARGEST:
            return Reason.PRICE_TOO_HIGH
        if not -LARGEST <= leg.quantity_lots <= LARGEST:
            return Reason.QUANTITY_TOO_LARGE
        if self.instruments.is_live(leg.instrument) and not self.pretrade.live(leg.instrument):
            return Reason.MARK_STALE
        for account_id, side in sides:
            reason = self.pretrade.static_reason(account_id, leg.instrument, side, leg.price_units,
                                                 leg.quantity_lots, False, self.events.time_ns)
            if reason:
                return reason
        # both sides' bounds, also where only one of the accounts is known
        if leg.price_units > self.pretrade.bands.highest(&self.instruments.at[<uint32_t>leg.instrument]):
            return Reason.PRICE_TOO_HIGH
        if leg.price_units < self.pretrade.bands.lowest(&self.instruments.at[<uint32_t>leg.instrument]):
            return Reason.PRICE_TOO_LOW
        spec = self.instruments.spec(leg.instrument)
        if spec.legs:
            return Reason.BLOCK_LEGS
        if self.instruments.at[<uint32_t>leg.instrument].state != STATE_OPEN:
            return Reason.INSTRUMENT_NOT_OPEN
        if leg.quantity_lots < spec.block_min_lots:
            return Reason.BLOCK_TOO_SMALL
        for account_id, side in sides:
            reason = self.pretrade.limit_reason(account_id, leg.instrument, side, leg.quantity_lots, False)
            if reason:
                return reason
        return Reason.NONE

    def _margin_reason(self, uint32_t account_id, trades, maker):
        """Row budget over all trades together, then initial margin with all of them booked."""
        cdef int bad = 0
        cdef uint32_t slot
        cdef int64_t lots, cost, fee
        cdef Instrument* row
        gross = {}
        counts = {}
        shifts = []
        for leg in trades:
            slot = leg.instrument
            row = &self.instruments.at[slot]
            chain = row.chain
            if chain not in gross:
                gross[chain] = int(self.exposure.ensure_book(account_id, chain).gross_row)
            gross[chain] += leg.quantity_lots * int(self.exposure.rows.row_cap[slot])
            counts[chain] = counts.get(chain, 0) + 1
            cost = self.instruments.trade_cost(row, leg.price_units, leg.quantity_lots, &bad)
            fee = trade_fee(row, cost, leg.quantity_lots, row.maker_ppm if maker else row.taker_ppm,
                            self.exposure.rows.index_e8[row.underlying], &bad)
            lots = leg.quantity_lots
            if (leg.side == 0) != maker:
                lots = -lots
                cost = -cost
            shifts.append((slot, lots, wide_add(wide_add(wide_mul(lots, row.mark_minor, &bad), -cost, &bad), -fee,
                                                &bad)))
        if bad:
            return Reason.QUANTITY_TOO_LARGE
        # one trade of a chain alone has passed the limits already, which let through what takes off a position
        if any([gross[chain] > ROW_BUDGET and counts[chain] > 1 for chain in gross]):
            return Reason.ROW_LIMIT
        return Reason.NONE if self._stands(account_id, shifts) else Reason.NOT_ENOUGH_FUNDS

    cdef bint _stands(self, uint32_t account_id, list shifts) except -1:
        """Whether the account, with the shifts made, meets its initial margin everywhere, or needs no more than before
        and has no less left. Nothing has changed when this returns."""
        cdef uint32_t slot
        cdef int64_t lots, value, held
        cdef Position* position
        entities = [0]
        if not self.exposure.is_cross(account_id):
            entities = sorted({self.instruments.at[<uint32_t>i].currency for i, _, _ in shifts})
        before = [self.exposure.margins(account_id, entity) for entity in entities]
        made = []
        for slot, lots, value in shifts:
            position = self.positions.find(account_id, slot)
            held = 0 if position == NULL else position.quantity_lots
            self.exposure.shift(account_id, slot, held, lots, value)
            made.append((slot, held + lots, -lots, -value))
        after = [self.exposure.margins(account_id, entity) for entity in entities]
        for slot, held, lots, value in reversed(made):
            self.exposure.shift(account_id, slot, held, lots, value)
        for (equity0, initial0, _), (equity, initial, _) in zip(before, after):
            if equity < initial and (initial > initial0 or equity - initial < equity0 - initial0):
                return False
        return True

    # ------------------------------------------------------------------ booking

    def _book(self, block):
        """Say that the block was made and book its trades; returns its id."""
        cdef BlockTradeExecuted* event
        block_id = self.next_block_id
        self.next_block_id += 1
        event = <BlockTradeExecuted*>self.events.emit(EV_BLOCK_TRADE_EXECUTED, 1, block.taker_account_id)
        event.block_id = block_id
        event.maker_account_id = block.maker_account_id
        event.trade_count = len(block.trades)
        event.timestamp_ms = block.timestamp_ms
        for leg in block.trades:
            self._trade(block.maker_account_id, block.taker_account_id, leg.instrument, leg.side, leg.price_units,
                        leg.quantity_lots)
        self.monitor.check(block.maker_account_id)
        self.monitor.check(block.taker_account_id)
        return block_id

    cdef int _trade(self, uint32_t maker, uint32_t taker, uint32_t slot, int maker_side, int64_t price,
                    int64_t lots) except -1:
        """One trade without orders; it counts as volume and moves neither last price nor tick direction."""
        cdef Instrument* row = &self.instruments.at[slot]
        cdef int64_t cost = self.instruments.trade_cost(row, price, lots, &self.exposure.failed)
        cdef int64_t index = self.exposure.rows.index_e8[row.underlying]
        cdef int64_t taker_fee = trade_fee(row, cost, lots, row.taker_ppm, index, &self.exposure.failed)
        cdef int64_t maker_fee = trade_fee(row, cost, lots, row.maker_ppm, index, &self.exposure.failed)
        cdef int sign = 1 if maker_side == 0 else -1
        cdef int64_t maker_realised = self.exposure.trade(maker, slot, sign * lots, sign * cost, maker_fee)
        cdef int64_t taker_realised = self.exposure.trade(taker, slot, -sign * lots, -sign * cost, taker_fee)
        cdef TradeExecuted* event
        row.volume_lots += lots
        row.turnover_minor += cost if cost > 0 else -cost
        row.trade_seq += 1
        event = <TradeExecuted*>self.events.emit(EV_TRADE_EXECUTED, 2, taker)
        event.trade_id = self.trading.next_trade_id
        event.instrument = slot
        event.maker_account_id = maker
        event.price_units = price
        event.quantity_lots = lots
        event.taker_fee_minor = taker_fee
        event.maker_fee_minor = maker_fee
        event.taker_realised_minor = taker_realised
        event.maker_realised_minor = maker_realised
        event.mark_price_e8 = row.mark_price_e8
        event.index_price_e8 = index
        event.trade_seq = row.trade_seq
        event.side = maker_side ^ 1
        event.tick_direction = row.tick_direction
        event.taker_flags = TRADE_BLOCK
        self.trading.next_trade_id += 1
        return 0

    def export(self):
        """Canonical state."""
        return [self.next_block_id, [list(nonce) for nonce in sorted(self.nonces)]]
