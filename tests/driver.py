"""Drives a bare engine in tests: the real sequencer, a journal that keeps nothing, a clock that tests move."""

from types import SimpleNamespace

import msgspec

from exchange import commands, config, events
from exchange.commands import CommandKind
from exchange.engine import Engine
from exchange.events import EventKind
from exchange.sequencer import Sequencer

SECOND = 1_000_000_000
DAY = 86_400 * SECOND
START_NS = 1_770_000_000 * SECOND
COIN = 10**10
USDC = 10**6


class MemoryJournal:
    """Everything is durable at once; keeps the records so that a test can replay them."""

    def __init__(self):
        self.records = []
        self.durable_seq = 0

    def append(self, record):
        self.records.append(bytes(record))
        self.durable_seq += 1

    def kick(self):
        pass


def perpetual(name="BTC-PERPETUAL", **changes):
    base = {
        "name": name,
        "kind": "perpetual",
        "underlying": "BTC",
        "settlement": "BTC",
        "inverse": True,
        "price_unit_e8": 50_000_000,
        "lot_size_e8": 10 * 10**8,
    }
    return config.Instrument(**{**base, **changes})


def linear_perpetual(name="BTC_USDC-PERPETUAL", **changes):
    return perpetual(name, settlement="USDC", inverse=False, price_unit_e8=10_000_000, lot_size_e8=100_000, **changes)


def option(strike, option_type, expiry_ns, settlement="BTC", **changes):
    inverse = settlement == "BTC"
    base = {
        "name": f"{settlement}-{expiry_ns // DAY}-{strike}-{option_type[0].upper()}",
        "kind": "option",
        "underlying": "BTC",
        "settlement": settlement,
        "inverse": inverse,
        "price_unit_e8": 10_000 if inverse else 5 * 10**8,
        "lot_size_e8": 10_000_000,
        "expiry_ns": expiry_ns,
        "strike_e8": strike * 10**8,
        "option_type": option_type,
        "max_price_units": 100_000,
        "fees": config.Fees(maker_ppm=300, taker_ppm=300),
    }
    return config.Instrument(**{**base, **changes})


def future(expiry_ns, **changes):
    return perpetual(f"BTC-{expiry_ns // DAY}", **{"kind": "future", "expiry_ns": expiry_ns, **changes})


def make_config(**changes):
    base = {
        "currencies": (config.Currency("BTC", 10, underlying="BTC"), config.Currency("USDC", 6)),
        "underlyings": (config.Underlying("BTC", "btc_usd"),),
    }
    return config.Config(**{**base, **changes})


def patient(configuration=None):
    """The same venue with marks that never grow old, for tests in which time passes without any."""
    configuration = configuration or make_config()
    forever = {"mark_stale_ns": 1000 * DAY, "mark_halt_ns": 1000 * DAY}
    underlyings = tuple(msgspec.structs.replace(one, **forever) for one in configuration.underlyings)
    return msgspec.structs.replace(configuration, underlyings=underlyings)


class Driver:
    """A venue of one engine. Times in ns, prices of marks in USD."""

    def __init__(self, instruments=(), configuration=None):
        self.now = START_NS
        self.journal = MemoryJournal()
        self.engine = Engine()
        self.sequencer = Sequencer(self.engine, self.journal, lambda: self.now)
        self.submit(commands.cold(CommandKind.GENESIS, configuration or make_config()))
        if instruments:
            self.cold(CommandKind.LIST_INSTRUMENTS, config.ListInstruments(tuple(instruments)))

    def submit(self, record):
        """Events of one record as namespaces with `kind` and the fields."""
        out = []
        for kind, fields, _ in events.records(self.sequencer.submit(record)):
            values = {name: fields[name].item() for name in fields.dtype.names if "reserved" not in name}
            values["kind"] = kind
            out.append(SimpleNamespace(**values))
        return out

    def cold(self, kind, payload, account_id=0):
        return self.submit(commands.cold(kind, payload, account_id))

    def account(self, name, btc=0.0, usdc=0.0, model="segregated_pm", owner=0):
        """A funded account; returns its id."""
        created = self.cold(CommandKind.CREATE_ACCOUNT, config.CreateAccount(name, owner, model))
        account_id = created[0].account_id
        for currency, amount in (("BTC", round(btc * COIN)), ("USDC", round(usdc * USDC))):
            if amount:
                self.cold(CommandKind.DEPOSIT, config.Transfer(currency, amount), account_id)
        return account_id

    def marks(self, index, vol=0.6, forward=None):
        """A whole surface at one vol, every listed expiry at the same forward (default: the index)."""
        forward_e8 = round((forward or index) * 1e8)
        slots = [self.engine.instrument(slot) for slot in self.engine.instruments()]
        expiries = sorted({view.expiry_ns for view in slots if view.expiry_ns})
        vols = [(slot, round(vol * 1e6)) for slot, _, _ in self.engine.pairs(0)]
        return self.submit(
            commands.update_marks(0, round(index * 1e8), self.now, [(e, forward_e8) for e in expiries], vols)
        )

    def tick(self, after_ns=0):
        self.now += after_ns
        return self.submit(commands.record(CommandKind.TICK))

    def slot(self, name):
        slot = self.engine.instrument_slot(name)
        assert slot >= 0, name
        return slot

    def place(self, account_id, name, side, price_units, quantity_lots, **fields):
        return self.submit(
            commands.record(
                CommandKind.PLACE_ORDER,
                account_id,
                instrument=self.slot(name),
                side=0 if side == "buy" else 1,
                price_units=price_units,
                quantity_lots=quantity_lots,
                **fields,
            )
        )

    def trade(self, maker, taker, name, taker_side, price_units, quantity_lots):
        """A trade between two accounts at a price; asserts that it happened whole."""
        maker_side = "sell" if taker_side == "buy" else "buy"
        assert kinds(self.place(maker, name, maker_side, price_units, quantity_lots)) == [EventKind.ORDER_ACCEPTED]
        done = [e for e in self.place(taker, name, taker_side, price_units, quantity_lots) if hasattr(e, "trade_id")]
        assert sum(trade.quantity_lots for trade in done) == quantity_lots
        return done

    def cash(self, account_id, currency=0):
        return self.engine.account(account_id).currencies[currency].cash_minor

    def view(self, account_id, currency=0):
        return self.engine.account(account_id).currencies[currency]

    def sound(self):
        assert self.engine.audit() == []


def kinds(found):
    return [event.kind for event in found]


def only(found, kind):
    """The single event of a kind."""
    matching = [event for event in found if event.kind == kind]
    assert len(matching) == 1, f"{len(matching)} events of {kind.name} among {[e.kind.name for e in found]}"
    return matching[0]
