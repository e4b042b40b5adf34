"""The full audit: everything that must hold between two commands, recomputed from the state."""

from typing import Any

from exchange.commands import OrderFlag

BOOK_FIGURES = (
    "position P&L", "order P&L", "delta", "value", "order cost", "held lots", "open lots", "gross row", "quotes",
    "options",
)  # fmt: skip


def audit(engine: Any) -> list[str]:
    """Faults of an exchange.engine.Engine, [] when it is sound."""
    if engine.config is None:
        return []
    found = _ledger(engine) + _debtors(engine)
    slots = engine.instruments()
    for slot in slots:
        may_cross = engine.market(slot).state in ("auction", "halted")
        found += [f"{engine.listing.name(slot)}: {fault}" for fault in engine.books.check(slot, may_cross)]
    found += _positions(engine, slots)
    found += _combos(engine)
    found += _orders(engine)
    for account_id in engine.account_ids():
        for chain in range(engine.rows.chain_count):
            found += _exposure(engine.exposure, account_id, chain)
    found += _leases(engine)
    found += engine.links.check()
    found += _groups(engine)
    found += engine.switches.check()
    found += engine.stages.check()
    found += engine.margin_plan.check()
    found += _advanced(engine)
    return found


def _exposure(exposure: Any, account_id: int, chain: int) -> list[str]:
    """Faults between a scenario book and its recomputation; [] when the two are equal to the last unit."""
    before = exposure.scenario_totals(account_id, chain, True)
    if before is None:
        return []
    exposure.remake(account_id, chain)
    after = exposure.scenario_totals(account_id, chain, True)
    return [
        f"account {account_id} chain {chain}: incremental {name} {a} != recomputed {b}"
        for name, a, b in zip(BOOK_FIGURES, before, after, strict=True)
        if a != b
    ]


def conserved(engine: Any) -> bool:
    """Whether every currency's ledger sums to zero."""
    return not _ledger(engine)


def _ledger(engine: Any) -> list[str]:
    found = []
    for currency in engine.config.currencies:
        balances = engine.ledger(currency.name)
        total = sum(balances.values())
        if total:
            found.append(f"{currency.name}: the ledger sums to {total}")
        if balances["rounding"] < 0:
            found.append(f"{currency.name}: rounding dust is negative ({balances['rounding']})")
        if balances["fund"] < 0:
            found.append(f"{currency.name}: the claim on the fund is negative ({balances['fund']})")
        if balances["capital"] < 0:
            found.append(f"{currency.name}: the venue's capital is negative ({balances['capital']})")
    return found


def _debtors(engine: Any) -> list[str]:
    """The accounts in debt that the ledger keeps are those that its balances show."""
    room, currencies = engine.ledger_room, range(len(engine.config.currencies))
    owing = [a for a in engine.account_ids() if any(room.cash_of(a, c) < 0 for c in currencies)]
    return [] if owing == room.debtors() else [f"accounts in debt: {owing}, the ledger keeps {room.debtors()}"]


def _positions(engine: Any, slots: list[int]) -> list[str]:
    found = []
    lots: dict[int, int] = dict.fromkeys(slots, 0)
    cost: dict[int, int] = dict.fromkeys(slots, 0)
    long_lots: dict[int, int] = dict.fromkeys(slots, 0)
    for account_id in engine.account_ids():
        for position in engine.positions(account_id):
            lots[position.instrument] += position.quantity_lots
            cost[position.instrument] += position.cost_minor
            long_lots[position.instrument] += max(0, position.quantity_lots)
    for slot in slots:
        name = engine.listing.name(slot)
        if lots[slot]:
            found.append(f"{name}: positions net to {lots[slot]} lots")
        clearing = engine.ledger_room.clearing_of(slot)
        if engine.instrument(slot).kind == "option":
            if clearing:
                found.append(f"{name}: clearing of an option holds {clearing}")
        elif cost[slot] + clearing:
            found.append(f"{name}: costs {cost[slot]} and clearing {clearing} do not cancel")
        if engine.market(slot).open_interest_lots != long_lots[slot]:
            found.append(f"{name}: open interest is not the sum of longs")
    return found


def _combos(engine: Any) -> list[str]:
    """Nobody holds a combo; its row is the sum of its legs'; legs count what combos' orders may do to them."""
    found = []
    open_lots: dict[tuple[int, int, int], int] = {}
    for slot in engine.listing.combo_slots():
        if engine.market(slot).open_interest_lots:
            found.append(f"{engine.listing.name(slot)}: a position in a combo")
        legs = engine.listing.legs(slot)
        if not engine.listing.is_marked(slot):
            continue
        for usd in (False, True):
            rows = [[ratio * value for value in engine.rows.row(leg, usd)] for leg, ratio in legs]
            if [sum(column) for column in zip(*rows, strict=True)] != engine.rows.row(slot, usd):
                found.append(f"{engine.listing.name(slot)}: its risk row is not the sum of its legs'")
    for account_id in engine.account_ids():
        for order in engine.open_orders(account_id):
            for leg, ratio in engine.listing.legs(order.instrument):
                signed = ratio * order.remaining_lots * (1 if order.side == 0 else -1)
                key = (account_id, leg, int(signed < 0))
                open_lots[key] = open_lots.get(key, 0) + abs(signed)
        for position in engine.positions(account_id):
            for side, lots in ((0, position.combo_buy_lots), (1, position.combo_sell_lots)):
                if open_lots.pop((account_id, position.instrument, side), 0) != lots:
                    found.append(f"account {account_id}: open combo lots of leg {position.instrument} are wrong")
    return found + [f"account {account_id}: no entry for leg {leg}" for account_id, leg, _ in open_lots]


def _reducible(engine: Any, account_id: int, order: Any) -> int:
    """Lots that an order could take off its account's position."""
    held: int = engine.positions_room.lots(account_id, order.instrument)
    return max(0, held if order.side == 1 else -held)


def _orders(engine: Any) -> list[str]:
    found = []
    resting: set[int] = set()
    for slot in engine.instruments():
        for side in (0, 1):
            resting.update(engine.books.queue(slot, side))
    live: set[int] = set()
    for account_id in engine.account_ids():
        open_lots: dict[tuple[int, int], int] = {}
        for order in engine.open_orders(account_id):
            live.add(order.order_id)
            if order.flags & OrderFlag.LINKED and not engine.links.holds(order.order_id):
                found.append(f"linked order {order.order_id} is of no group")
            if order.flags & OrderFlag.REDUCE_ONLY and order.remaining_lots > _reducible(engine, account_id, order):
                found.append(f"reduce-only order {order.order_id} is larger than what it could take off")
            hidden = order.remaining_lots - order.shown_lots
            if order.shown_lots <= 0 or hidden < 0 or (hidden > 0 and order.display_lots <= 0):
                found.append(f"order {order.order_id} shows {order.shown_lots} of {order.remaining_lots} lots")
            key = (order.instrument, order.side)
            open_lots[key] = open_lots.get(key, 0) + order.remaining_lots
        for position in engine.positions(account_id):
            for side, lots in ((0, position.open_buy_lots), (1, position.open_sell_lots)):
                if open_lots.pop((position.instrument, side), 0) != lots:
                    found.append(f"account {account_id}: open lots of instrument {position.instrument} are wrong")
        if open_lots:
            found.append(f"account {account_id}: orders without a position entry")
    if live != resting:
        found.append(f"{len(live ^ resting)} orders are live but not resting, or the reverse")
    if len(live) != engine.counters().open_orders:
        found.append("the count of live orders is wrong")
    return found


def _leases(engine: Any) -> list[str]:
    return [
        f"lease {lease.lease_id}: used {lease.used_minor} of {lease.granted_minor}"
        for lease in engine.leases()
        if not 0 <= lease.used_minor <= lease.granted_minor
    ]


def _groups(engine: Any) -> list[str]:
    """Orders of protection groups: the group exists and is not frozen, and a quote is the one that its side knows."""
    found = []
    for account_id in engine.account_ids():
        for order in engine.open_orders(account_id):
            number = order.protection_group
            if bool(number) != bool(order.flags & OrderFlag.PROTECTED):
                found.append(f"order {order.order_id}: its flags and its protection group disagree")
            if not number:
                continue
            underlying = engine.underlying_index(engine.instrument(order.instrument).underlying)
            if engine.protection.settings(account_id, underlying, number) is None:
                found.append(f"order {order.order_id}: protection group {number} does not exist")
            elif engine.protection.refuses(account_id, underlying, number):
                found.append(f"order {order.order_id}: protection group {number} is frozen")
            standing = engine.quotes.standing(account_id, order.instrument, order.side, number)
            if order.flags & OrderFlag.QUOTE and standing != order.order_id:
                found.append(f"quote {order.order_id}: its side knows {standing}")
    return found


def _advanced(engine: Any) -> list[str]:
    """What is kept about advanced orders is exactly those that live."""
    live: list[list[int]] = [[] for _ in engine.config.underlyings]
    for account_id in engine.account_ids():
        for order in engine.open_orders(account_id):
            if order.advanced:
                underlying = engine.underlying_index(engine.instrument(order.instrument).underlying)
                live[underlying].append(order.order_id)
    if [sorted(ids) for ids in live] != engine.advanced.live():
        return ["the record of live advanced orders is wrong"]
    return []
