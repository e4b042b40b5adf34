"""Whatever a client sends, the engine answers: random and extreme field values never stop it.

Clients' commands carry arbitrary integers in every field; marks, ticks and the fund go on beside them so that books
fill, accounts break and auctions run. After each run the audit is clean and a replay gives the same state.
"""

import random
import struct
from collections.abc import Iterator

import pytest

from exchange import commands, config, governance, payloads
from exchange.commands import CommandKind
from exchange.engine import Engine
from tests.driver import DAY, SECOND, START_NS, future, linear_perpetual, option, perpetual

COIN_INDEX = {0: 100_000, 1: 4_000}
EXTREMES = (0, 1, -1, 2, 63, 64, 10**7, 1 << 31, (1 << 32) - 1, 1 << 53, (1 << 62) + 1, (1 << 63) - 1, -(1 << 63))
PLACE = struct.Struct("<HHIQqIBBBBqqIHHq")
CANCEL = struct.Struct("<HHIQqQIH26x")
CANCEL_ALL = struct.Struct("<HHIQqIHBBIHH24x")
EDIT = struct.Struct("<HHIQqQqqB3xI8x")
BID = struct.Struct("<HHIQqQB3xIqI12x")
TICK = struct.Struct("<HHIQq40x")
GRANT = struct.Struct("<HHIQqQqHB21x")
SETTLE = struct.Struct("<HHIQqQqH22x")
MASK64 = (1 << 64) - 1


def eth(instrument: config.Instrument) -> config.Instrument:
    name = "ETH" + instrument.name.removeprefix("BTC")
    settlement = "ETH" if instrument.inverse else "USDC"
    return config.Instrument(
        **{
            **{field: getattr(instrument, field) for field in instrument.__struct_fields__},
            "name": name,
            "underlying": "ETH",
            "settlement": settlement,
        }
    )


def listing() -> list[config.Instrument]:
    soon, later = START_NS + 3 * 3600 * SECOND, START_NS + 40 * DAY
    out = [perpetual(), linear_perpetual(), future(later), eth(perpetual()), eth(linear_perpetual())]
    for strike in (80_000, 100_000, 130_000):
        for kind in ("call", "put"):
            out += [option(strike, kind, soon), option(strike, kind, later), option(strike, kind, later, "USDC")]
    return out


def settings(haircuts: bool) -> config.Config:
    cut, debt = (50_000, 1_100_000) if haircuts else (0, 1_000_000)
    return config.Config(
        currencies=(
            config.Currency("BTC", 10, cut, debt, underlying="BTC"),
            config.Currency("ETH", 10, cut, debt, underlying="ETH"),
            config.Currency("USDC", 6, 0, debt),
        ),
        underlyings=(config.Underlying("BTC", "btc_usd"), config.Underlying("ETH", "eth_usd")),
        instruments=tuple(listing()),
        limits=config.Limits(max_open_orders=3_000, max_open_orders_per_account=200),
        governance=governance.Governance(stress_ppm=1_300_000, margin_notice_ns=SECOND),
    )


class Fuzz:
    """Stamped records for an engine that has applied everything before."""

    def __init__(self, seed: int) -> None:
        self.draw = random.Random(seed)
        self.engine = Engine()
        self.now = START_NS
        self.index = {0: 100_000.0, 1: 4_000.0}
        self.records: list[bytes] = []
        self.submit(commands.cold(CommandKind.GENESIS, settings(bool(seed & 1))))
        for number in range(1, 25):
            model = "cross_pm" if number % 3 == 0 else "segregated_pm"
            account = config.CreateAccount(f"a{number}", number // 2 + 1 if number < 7 else 0, model)
            self.submit(commands.cold(CommandKind.CREATE_ACCOUNT, account))
            scale = self.draw.choice((1, 10, 1_000, 100_000))
            for currency, amount in (("BTC", 10**8), ("ETH", 10**9), ("USDC", 10**7)):
                if self.draw.random() < 0.8:
                    transfer = config.Transfer(currency, amount * scale)
                    self.submit(commands.cold(CommandKind.DEPOSIT, transfer, number))
        for currency in ("BTC", "ETH", "USDC"):
            self.submit(commands.cold(CommandKind.ENDOW_FUND, config.Transfer(currency, 10**11)))
        self.marks()

    def submit(self, record: bytes | bytearray) -> None:
        """Stamp and apply."""
        stamped = bytearray(record)
        stamped[8:24] = struct.pack("<Qq", int(self.engine.seq) + 1, self.now)
        done = bytes(stamped)
        self.records.append(done)
        self.engine.apply(done)
        self.engine.take_events()

    def marks(self) -> None:
        engine, draw = self.engine, self.draw
        live = {engine.instrument(slot).expiry_ns for slot in engine.instruments()} - {0}
        for underlying in (0, 1):
            index = self.index[underlying] * draw.uniform(0.97, 1.03) * draw.choice((*[1.0] * 30, 1.17))
            self.index[underlying] = index = min(max(index, COIN_INDEX[underlying] / 3), COIN_INDEX[underlying] * 3)
            price = round(index * 1e8)
            vols = [(slot, draw.randrange(200_000, 1_500_000)) for slot, _, _ in engine.pairs(underlying)]
            self.submit(commands.update_marks(underlying, price, self.now, [(e, price) for e in sorted(live)], vols))

    # ------------------------------------------------------------------ fields

    def extreme(self) -> int:
        """Any signed 64-bit number, the edges more often."""
        return self.draw.choice(EXTREMES) if self.draw.random() < 0.7 else self.draw.getrandbits(64) - (1 << 63)

    def account(self) -> int:
        return self.draw.randrange(1, 25) if self.draw.random() < 0.99 else self.extreme() & 0xFFFFFFFF

    def price(self, slot: int) -> int:
        draw = self.draw
        if draw.random() < 0.03 or slot not in self.marks_units:
            return self.extreme()
        mark, lowest, highest = self.marks_units[slot]
        if draw.random() < 0.1:
            return draw.choice((1, lowest, highest, highest + 1, lowest - 1))
        return round(mark * draw.uniform(0.98, 1.02)) if draw.random() < 0.8 else draw.randint(lowest, highest)

    def lots(self) -> int:
        return self.extreme() if self.draw.random() < 0.03 else int(10 ** self.draw.uniform(0, 6))

    def order_id(self) -> int:
        if self.draw.random() < 0.02:
            return self.extreme() & MASK64
        return max(0, int(self.engine.trading.next_order_id) - self.draw.randrange(1, 400))

    # ------------------------------------------------------------------ commands

    def place(self) -> bytes:
        draw = self.draw
        slot = draw.choice(self.slots) if draw.random() < 0.99 else self.extreme() & 0xFFFFFFFF
        wild = draw.random() < 0.02
        label = bytes(draw.getrandbits(8) for _ in range(draw.randrange(0, 90))) if draw.random() < 0.1 else b""
        tail = label + bytes(-len(label) % 64)
        said = len(label) if draw.random() < 0.98 else draw.getrandbits(16)
        return PLACE.pack(
            CommandKind.PLACE_ORDER, 1 + len(tail) // 64, self.account(), 0, 0, slot,
            draw.getrandbits(8) if wild else draw.getrandbits(1), draw.getrandbits(8) if wild else draw.random() < 0.1,
            draw.getrandbits(8) if wild else draw.choice((0, 0, 0, 1, 2)),
            draw.getrandbits(8) if draw.random() < 0.3 else 0,
            self.price(slot), self.lots(), 7, said, 0, self.extreme() if draw.random() < 0.02 else 0,
        ) + tail  # fmt: skip

    def edit(self) -> bytes:
        order = self.engine.order(self.order_id())
        number = order.order_id if order else self.order_id()
        account = order.account_id if order and self.draw.random() < 0.97 else self.account()
        lots = order.quantity_lots if order and self.draw.random() < 0.4 else self.lots()
        price = self.price(order.instrument if order else 0)
        if order and self.draw.random() < 0.3:
            price = order.price_units
        flags = self.draw.getrandbits(8) if self.draw.random() < 0.3 else 0
        return EDIT.pack(CommandKind.EDIT_ORDER, 1, account, 0, 0, number, price, lots, flags, 0)

    def cancel(self) -> bytes:
        order = self.engine.order(self.order_id())
        account = order.account_id if order and self.draw.random() < 0.97 else self.account()
        number = order.order_id if order else self.order_id()
        return CANCEL.pack(CommandKind.CANCEL_ORDER, 1, account, 0, 0, number, 0, self.draw.getrandbits(16))

    def cancel_all(self) -> bytes:
        pick = self.draw.choice
        return CANCEL_ALL.pack(
            CommandKind.CANCEL_ALL, 1, self.account(), 0, 0, pick((0xFFFFFFFF, 0, 3, 1 << 31)),
            pick((0xFFFF, 0, 2, 99)), pick((0xFF, 0, 1, 2, 9)), pick((0xFF, 0, 1)), 0, 60, 0,
        )  # fmt: skip

    def bid(self) -> bytes:
        draw = self.draw
        auctions = self.engine.liquidation.auctions
        number, phase = self.extreme() & MASK64, draw.getrandbits(8)
        if auctions and draw.random() < 0.97:
            number = draw.choice(sorted(auctions))
            phase = auctions[number].phase if draw.random() < 0.95 else phase
        share = draw.choice((1, 1_000_000, 500_000, draw.randrange(1, 1_000_001), self.extreme() & 0xFFFFFFFF))
        limit = self.extreme() if draw.random() < 0.5 else draw.randrange(-(10**13), 10**13)
        return BID.pack(CommandKind.PLACE_BID, 1, self.account(), 0, 0, number, phase, share, limit, 0)

    def offers(self) -> bytes:
        """An account offers what it holds, or anything; somebody bids; the owner takes a bid or none."""
        draw = self.draw
        standing = self.engine.offers.views()
        one = draw.choice(standing) if standing and draw.random() < 0.9 else None
        number = one.offer_id if one else draw.randrange(3)
        what = draw.random()
        if what < 0.4 or one is None:
            account = self.account()
            held = self.engine.desk.holdings(account) if self.engine.desk.exists(account) else {}
            legs = [(slot, lots if draw.random() < 0.8 else self.extreme()) for slot, lots in sorted(held.items())]
            if draw.random() < 0.1:
                legs.append((draw.choice((-1, 0, 2**40)), self.extreme()))
            until_ns = self.engine.time_ns + 60 * 10**9 if draw.random() < 0.9 else self.extreme()
            payload = payloads.OfferPortfolio(tuple(payloads.OfferLeg(*leg) for leg in legs), until_ns)
            return bytes(commands.cold(CommandKind.OFFER_PORTFOLIO, payload, account))
        if what < 0.75:
            given = []
            for leg in one.legs if draw.random() < 0.9 else ():
                unit = self.engine.instrument(leg.instrument).price_unit_e8
                mark = self.engine.market(leg.instrument).mark_price_e8 // unit
                given.append(mark if draw.random() < 0.95 else self.extreme())
            return bytes(
                commands.cold(CommandKind.BID_PORTFOLIO, payloads.BidPortfolio(number, tuple(given)), self.account())
            )
        bid = draw.choice([0, *(bid.bid_id for bid in one.bids)])
        owner = one.account_id if draw.random() < 0.9 else self.account()
        payload = payloads.ClosePortfolioOffer(number, bid)
        return bytes(commands.cold(CommandKind.CLOSE_PORTFOLIO_OFFER, payload, owner))

    def world(self) -> Iterator[bytes]:
        """What the venue itself sends: a Tick, answers for leases, now and then a deposit or a withdrawal."""
        draw = self.draw
        yield TICK.pack(CommandKind.TICK, 1, 0, 0, 0)
        for lease in self.engine.leases():
            if lease.state == "settling":
                yield SETTLE.pack(CommandKind.SETTLE_FUND_LEASE, 1, 0, 0, 0, lease.lease_id, lease.used_minor, 0)
            elif lease.state == "requested" and draw.random() < 0.5:
                cut = draw.choice((1.0, 1.0, 0.3))
                amount = max(lease.granted_minor, int(lease.requested_minor * cut))
                yield GRANT.pack(CommandKind.GRANT_FUND_LEASE, 1, 0, 0, 0, lease.lease_id, amount, 0, cut < 1)
        if draw.random() < 0.3:
            kind = draw.choice((CommandKind.DEPOSIT, CommandKind.WITHDRAW))
            transfer = config.Transfer(draw.choice(("BTC", "ETH", "USDC")), draw.choice((1, 10**7, 10**9, 10**11)))
            yield bytes(commands.cold(kind, transfer, self.account()))
        if draw.random() < 0.2:
            sides = (self.account(), draw.choice((0, self.account(), self.extreme())))
            nonce = draw.choice(("", f"nonce-{draw.randrange(9):03}", "n" * draw.randrange(200)))
            amount = draw.choice((1, 10**7, 10**9, self.extreme()))
            moved = payloads.SubmitTransfer(draw.choice(("BTC", "ETH", "USDC")), amount, *sides, nonce)
            yield bytes(commands.cold(CommandKind.SUBMIT_TRANSFER, moved, self.account()))
        while draw.random() < 0.4:
            yield self.offers()
        while draw.random() < 0.5:
            yield self.operators()
        if draw.random() < 0.03:
            yield bytes(commands.cold(CommandKind.SWEEP_DUST, config.Transfer(draw.choice(("BTC", "ETH", "USDC")))))
        if draw.random() < 0.1:
            model = config.ChangeMarginModel(draw.choice(config.MARGIN_MODELS))
            yield bytes(commands.cold(CommandKind.CHANGE_MARGIN_MODEL, model, self.account()))

    def operators(self) -> bytes:
        """What operators may send: proposals, decisions and announcements, sensible or not."""
        pick = self.draw.choice
        name, operator = pick(("BTC", "BTC", "ETH", "XRP")), pick((0, 1, 2, 3, 2, 3, 0xFFFFFFFF))
        if self.draw.random() < 0.25:
            at = pick((0, 1, self.now, self.now + 20 * SECOND, 1 << 62))
            scale = pick((100_000, 900_000, 1_000_000, 1_000_000, 1_200_000, 4_000_000))
            payload = governance.AnnounceMargin(underlying=name, scale_ppm=scale, effective_ns=at, operator=operator)
            return bytes(commands.cold(CommandKind.ANNOUNCE_MARGIN, payload))
        if self.draw.random() < 0.5:
            decision, proposal = pick(("approve", "approve", "reject", "revoke")), self.draw.randrange(60)
            waiting, in_force = self.engine.mark_overrides()
            known = [one.proposal for one in (in_force if decision == "revoke" else waiting)]
            decided = governance.DecideOverride(
                operator=operator, proposal=pick([proposal, *known * 3]), decision=decision
            )
            return bytes(commands.cold(CommandKind.DECIDE_OVERRIDE, decided))
        held = self.engine.mark_state(0).held_jump
        index = self.engine.index_price(0)
        value = pick((0, 1, 2, 10**17, held[0] if held else 5, index, index * 11 // 10, index * 4, index // 4 + 1))
        sensible = [("lift_stage", 0), ("lift_stage", 1), ("set_index", index * 11 // 10), ("set_index", index)]
        if self.draw.random() < 0.6:
            action, value = pick(sensible)
            made = governance.ProposeOverride(
                operator=1, action=action, underlying="BTC", value=value, duration_ns=20 * SECOND
            )
            return bytes(commands.cold(CommandKind.PROPOSE_OVERRIDE, made))
        proposed = governance.ProposeOverride(
            operator=operator, action=pick(governance.ACTIONS), underlying=name, value=min(value, 10**17),
            duration_ns=pick((0, 1, 20 * SECOND, 3_600 * SECOND, 1 << 61)),
        )  # fmt: skip
        return bytes(commands.cold(CommandKind.PROPOSE_OVERRIDE, proposed))

    def look(self) -> None:
        """Where prices stand."""
        self.slots = self.engine.instruments()
        self.marks_units = {}
        for slot in self.slots:
            market, unit = self.engine.market(slot), self.engine.instrument(slot).price_unit_e8
            self.marks_units[slot] = (
                max(1, market.mark_price_e8 // unit), market.min_price_units,
                max(market.min_price_units, market.max_price_units),
            )  # fmt: skip

    def run(self, length: int) -> None:
        """Apply `length` clients' commands."""
        makers = [self.place] * 80 + [self.edit] * 8 + [self.cancel] * 6 + [self.cancel_all] + [self.bid] * 5
        for number in range(length):
            if number % 60 == 0:
                self.now += self.draw.choice((10**6, SECOND // 4, SECOND, SECOND * 3, SECOND * 20))
                if self.draw.random() < 0.7:
                    self.marks()
                for record in self.world():
                    self.submit(record)
                self.look()
            self.submit(self.draw.choice(makers)())


def hammer(seed: int, length: int, audits: int = 4) -> Engine:
    """Run, audit on the way, replay; the engine at the end."""
    fuzz = Fuzz(seed)
    for _ in range(audits):
        fuzz.run(length // audits)
        assert fuzz.engine.audit() == []
    again = Engine()
    again.apply_many(b"".join(fuzz.records))
    assert again.event_chain() == fuzz.engine.event_chain()
    assert again.state_digest() == fuzz.engine.state_digest()
    return fuzz.engine


@pytest.mark.parametrize("seed", [1, 2])
def test_no_client_command_stops_the_engine(seed: int) -> None:
    engine = hammer(seed, 24_000)
    counters = engine.counters()
    assert engine.overrides.next_number > 30
    assert counters.trades > 1_000
    assert counters.liquidations > 0


@pytest.mark.full
@pytest.mark.parametrize("seed", range(100, 104))
def test_no_long_run_of_client_commands_stops_the_engine(seed: int) -> None:
    counters = hammer(seed, 300_000, audits=20).counters()
    assert counters.trades > 10_000
    assert counters.auctions_closed > 0
