"""An engine on a test bench: commands stamped, applied and answered as lists of events."""

from dataclasses import dataclass
from typing import Any

from exchange import commands, config, events
from exchange.commands import CommandKind
from exchange.engine import Engine
from exchange.events import EventKind
from exchange.reasons import Reason
from tests.oracles import world
from tests.oracles.compare import plain

BUY, SELL = 0, 1


@dataclass(frozen=True)
class Event:
    """An event with its fields as plain integers."""

    kind: EventKind
    account_id: int
    fields: dict[str, int]

    def __getattr__(self, name: str) -> int:
        try:
            return self.fields[name]
        except KeyError:
            raise AttributeError(name) from None


class Bench:
    """Methods send one command each and return its events."""

    def __init__(self, configuration: config.Config, time_ns: int = world.START_NS) -> None:
        self.engine = Engine()
        self.time_ns = time_ns
        self.records: list[bytes] = []
        self.send(commands.cold(CommandKind.GENESIS, configuration))

    def send(self, record: bytearray) -> list[Event]:
        record[8:16] = (self.engine.seq + 1).to_bytes(8, "little")
        record[16:24] = self.time_ns.to_bytes(8, "little")
        self.records.append(bytes(record))
        self.engine.apply(self.records[-1])
        happened = events.records(self.engine.take_events())
        return [Event(kind, int(fields["account_id"]), plain(fields)) for kind, fields, _ in happened]

    def slot(self, name: str) -> int:
        return self.engine.instrument_slot(name)

    def account(self, name: str, model: config.MarginModel = "segregated_pm", owner_id: int = 0, **cash: int) -> int:
        """A new account with deposits in minor units by currency; its id."""
        payload = config.CreateAccount(name=name, owner_id=owner_id, margin_model=model)
        number = self.send(commands.cold(CommandKind.CREATE_ACCOUNT, payload))[0].account_id
        for currency, amount in cash.items():
            self.transfer(CommandKind.DEPOSIT, number, currency, amount)
        return number

    def transfer(self, kind: CommandKind, account_id: int, currency: str, amount: int) -> list[Event]:
        payload = config.Transfer(currency=currency, amount_minor=amount)
        return self.send(commands.cold(kind, payload, account_id))

    def marks(
        self, index: float, forwards: dict[int, float] | None = None, vols: dict[int, float] | None = None,
        underlying: int = 0,
    ) -> list[Event]:  # fmt: skip
        """Index and forwards in USD, vols as fractions by instrument slot."""
        return self.send(
            commands.update_marks(
                underlying,
                round(index * 1e8),
                self.time_ns,
                [(expiry, round(price * 1e8)) for expiry, price in (forwards or {}).items()],
                [(slot, round(vol * 1e6)) for slot, vol in (vols or {}).items()],
            )
        )

    def place(self, account_id: int, slot: int, side: int, price: int, lots: int, **fields: Any) -> list[Event]:
        label = fields.pop("label", b"")
        return self.send(
            commands.record(
                CommandKind.PLACE_ORDER, account_id, label, instrument=slot, side=side, price_units=price,
                quantity_lots=lots, label_bytes=len(label), **fields,
            )
        )  # fmt: skip

    def edit(self, account_id: int, order_id: int, price: int, lots: int, flags: int = 0) -> list[Event]:
        return self.send(
            commands.record(
                CommandKind.EDIT_ORDER,
                account_id,
                order_id=order_id,
                price_units=price,
                quantity_lots=lots,
                flags=flags,
            )
        )

    def cancel(self, account_id: int, order_id: int) -> list[Event]:
        return self.send(
            commands.record(CommandKind.CANCEL_ORDER, account_id, order_id=order_id, reason=Reason.USER_REQUEST)
        )

    def state(self, slot: int, state: str) -> list[Event]:
        payload = config.InstrumentState(name=self.engine.instrument(slot).name, state=state)
        return self.send(commands.cold(CommandKind.SET_INSTRUMENT_STATE, payload))

    def tick(self, seconds: float = 0.0) -> list[Event]:
        self.time_ns += round(seconds * 1e9)
        return self.send(commands.record(CommandKind.TICK))

    def margins(self, account_id: int, entity: int = 0, with_orders: bool = True) -> tuple[int, int, int]:
        """Equity, initial and maintenance margin."""
        return self.engine.exposure.margins(account_id, entity, with_orders)


def reasons(happened: list[Event]) -> list[Reason]:
    """Reasons of those events that have one."""
    return [Reason(e.fields["reason"]) for e in happened if e.fields.get("reason")]


def only(happened: list[Event], kind: EventKind) -> list[Event]:
    return [e for e in happened if e.kind == kind]
