"""The engine beside the naive venue: differences in words, [] where there are none."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from exchange.commands import ORDER_TERMS
from exchange.control_events import nonce
from exchange.engine import Engine
from exchange.events import EventKind, label
from tests.oracles.account import Account
from tests.oracles.margin import Margin
from tests.oracles.state import Predicted, State

HEADER_FIELDS = {"kind", "slots", "account_id", "seq", "time_ns"}
Happened = list[tuple[EventKind, Any, memoryview]]


def plain(fields: Any) -> dict[str, int]:
    """An event's own fields as integers."""
    named = zip(fields.dtype.names, fields.item(), strict=True)
    return {n: v for n, v in named if n not in HEADER_FIELDS and not n.startswith("reserved")}


def event_faults(happened: Happened, predicted: list[Predicted]) -> list[str]:
    """Every field of every event, in order."""
    faults = []
    if len(happened) != len(predicted):
        faults.append(f"{len(happened)} events, {len(predicted)} predicted")
    for (kind, fields, tail), wanted in zip(happened, predicted, strict=False):
        got = plain(fields)
        if got.get("terms_slots"):
            got |= plain(np.frombuffer(tail, ORDER_TERMS, 1)[0])
        want = {name: int(wanted.fields.get(name, 0)) for name in got} | {
            name: int(value) for name, value in wanted.fields.items()
        }
        named = label(fields, tail) if "label_bytes" in got else nonce(fields, tail) if "nonce_bytes" in got else b""
        if (kind, int(fields["account_id"])) != (wanted.kind, wanted.account_id):
            faults.append(f"{kind.name} of {fields['account_id']}, predicted {wanted.kind.name} {wanted}")
        elif got != want:
            parts = {name: (got.get(name), want[name]) for name in want if got.get(name) != want[name]}
            faults.append(f"{kind.name}: (got, predicted) {parts}")
        elif named != wanted.label:
            faults.append(f"{kind.name}: label {named!r}, predicted {wanted.label!r}")
    return faults


def row_faults(engine: Engine, state: State) -> Iterator[str]:
    """Marks and risk rows of every contract."""
    for slot, contract in state.contracts.items():
        market = engine.market(slot)
        got = (market.mark_price_e8, market.mark_vol_e6, market.index_price_e8)
        want = (contract.mark_price_e8, contract.vol_e6, state.index_e8[contract.underlying])
        if got != want:
            yield f"{contract.spec.name}: mark, vol, index {got}, naive {want}"
        if not contract.marked:
            continue
        for usd, row in ((True, contract.rows_usd), (False, contract.rows_coin)):
            if engine.rows.row(slot, usd) != row:
                yield f"{contract.spec.name}: row in {'USD' if usd else 'coin'} differs"
        for usd, row in ((True, contract.shifts_usd), (False, contract.shifts_coin)):
            if not contract.legs and engine.rows.shifts(slot, usd) not in ([], row):
                yield f"{contract.spec.name}: shifted row in {'USD' if usd else 'coin'} differs"


def margin_faults(engine: Engine, state: State, account: Account) -> Iterator[str]:
    """Equity, initial and maintenance margin of an account, with its open orders and without."""
    for entity in state.entities(account):
        for with_orders in (True, False):
            got = Margin(*engine.exposure.margins(account.account_id, entity, with_orders))
            want = state.model.margin(account, entity, with_orders)
            if got != want:
                orders = "with" if with_orders else "without"
                yield f"account {account.account_id} entity {entity} {orders} orders: {got}, naive {want}"


def account_faults(engine: Engine, state: State, account: Account) -> Iterator[str]:
    """Cash, positions and open orders."""
    number = account.account_id
    cash = [engine.ledger_room.cash_of(number, c) for c in range(len(account.cash))]
    if cash != account.cash:
        yield f"account {number}: cash {cash}, naive {account.cash}"
    held = engine.positions_room.held(number)
    want = [(slot, h.lots, h.cost) for slot, h in sorted(account.holdings.items())]
    if held != want:
        yield f"account {number}: positions {held}, naive {want}"
    live = [(o.order_id, o.price_units, o.remaining_lots, o.flags) for o in engine.open_orders(number)]
    naive = [(o.order_id, o.price_units, o.remaining_lots, o.flags) for _, o in sorted(account.orders.items())]
    if live != naive:
        yield f"account {number}: orders {live}, naive {naive}"
    waits = [
        (w.order_id, w.price_units, w.quantity_lots, w.flags, w.trigger_price_e8) for w in engine.trigger_orders(number)
    ]
    waiting = [w for w in state.waiting.values() if w.account_id == number]
    wanted = [(w.order_id, w.price_units, w.quantity_lots, w.flags, w.price_e8) for w in waiting]
    if waits != wanted:
        yield f"account {number}: waiting {waits}, naive {wanted}"
    setting = (account.reject_taker, not account.own_account_only)
    if (engine.self_trade(number)[0] == "reject_taker", engine.self_trade(number)[1]) != setting:
        yield f"account {number}: self-trade setting {engine.self_trade(number)}, naive {setting}"
    if account.holder:
        drawn = {b.bucket_account_id: b.drawn_minor for b in engine.buckets(account.holder)}.get(number, 0)
        got = (engine.holder(number), engine.accounts.leverage_e2(number), drawn)
        if got != (account.holder, account.leverage_e2, account.drawn):
            yield f"bucket {number}: {got}, naive {account.holder, account.leverage_e2, account.drawn}"
    if engine.account(number).level != account.level:
        yield f"account {number}: level {engine.account(number).level}, naive {account.level}"


NAMES = ("outside", "fees", "funding", "rounding", "fund", "capital")


def ledger_faults(engine: Engine, state: State) -> Iterator[str]:
    """Each account of the ledger."""
    for c, currency in enumerate(state.config.currencies):
        got = engine.ledger(currency.name)
        want = {name: state.ledger.get((name, c), 0) for name in NAMES}
        want["clearing"] = sum(
            amount for (name, owned), amount in state.ledger.items() if owned == c and name.startswith("clearing")
        )
        want["accounts"] = sum(a.cash[c] for a in state.accounts.values())
        if got != want:
            yield f"ledger of {currency.name}: {got}, naive {want}"


def book_faults(engine: Engine, state: State) -> Iterator[str]:
    """Price levels of every book."""
    for slot, book in state.books.items():
        got = tuple(engine.depth(slot, 1_000))
        if got != book.depth(1_000):
            yield f"book {slot}: {got}, naive {book.depth(1_000)}"


def state_faults(engine: Engine, state: State) -> list[str]:
    """Everything that the two hold."""
    faults = [*row_faults(engine, state), *ledger_faults(engine, state), *book_faults(engine, state)]
    for account in state.accounts.values():
        faults += account_faults(engine, state, account)
        faults += margin_faults(engine, state, account)
    return faults
