"""Linked orders: one cancels other, one triggers other, one triggers one cancels other. Rules: docs/orders.md.

Trading and triggers note what became of orders that carry the flag LINKED; after the command, links take the notes
in, group by group in ascending number, and place or cancel what follows, a bounded number at once. Only that one order
of a one-cancels-other gives way to the other does not wait for that: it comes before each fill.
"""

import heapq

from exchange.payloads import PlaceLinked
from exchange.reasons import Reason
from exchange.records cimport (
    EV_ORDERS_LINKED, FLAG_LINKED, FLAG_UNIQUE_LABEL, R_BAD_LINK, R_BAD_TERMS, R_DUPLICATE_LABEL, R_NONE,
    R_OTHER_CLOSED, R_PRIMARY_CLOSED, TIF_GTC, TIF_GTD, TYPE_LIMIT, TYPE_MARKET_LIMIT, TYPE_STOP_LIMIT,
    TYPE_TRAILING_STOP, OrdersLinked,
)
from exchange.trading.lifecycle cimport ANNOUNCED, BOTH_COUNT, LINK_BECAME, LINK_EDITED, LINK_ENDED, LINK_FILLED
from exchange.trading.triggers cimport LINKED, LINKED_BOTH_COUNT, SECONDARY

cdef enum:
    AT_ONCE = 64             # orders placed or cancelled in one command
    ONE_CANCELS_OTHER = 1
    ONE_TRIGGERS_OTHER = 2
    ONE_TRIGGERS_ONE_CANCELS_OTHER = 3
    FIRST_HIT = 0
    COMPLETE_FILL = 1
    INCREMENTAL = 2
    OPEN = 0                 # what became of an order of a group
    FILLED = 1
    CANCELLED = 2

# numbers that fit the fields of PLACE_ORDER and ORDER_TERMS
_ROOM = {
    "instrument": (0, 2**32 - 1), "side": (0, 255), "order_type": (0, 255), "time_in_force": (0, 255),
    "flags": (0, 255), "trigger_source": (0, 255), "quantity_lots": (-(2**63), 2**63 - 1),
    "price_units": (-(2**63), 2**63 - 1), "trigger_price_e8": (-(2**63), 2**63 - 1),
    "trigger_offset_e8": (-(2**63), 2**63 - 1),
}
_LABEL_ROOM = 65_535


def representable(payload):
    """Whether every number of a PlaceLinked fits the record of an order."""
    if not (0 <= payload.key_id < 2**32 and -(2**63) <= payload.valid_until_ns < 2**63):
        return False
    for order in payload.orders:
        if len(order.label.encode()) > _LABEL_ROOM:
            return False
        for name, (low, high) in _ROOM.items():
            if not low <= getattr(order, name) <= high:
                return False
    return True


class Group:
    """Orders of one account that hang together; orders[0] is the primary.

    quantity and filled are lots of each order, status what became of it; hit is the first that was filled in part
    (-1: none). A secondary order's `filled` is not used: its trigger knows what was placed.
    """

    __slots__ = ("number", "link_type", "condition", "account_id", "orders", "quantity", "filled", "status", "hit")

    def __init__(self, number, link_type, condition, account_id, orders, quantity):
        self.number = number
        self.link_type = link_type
        self.condition = condition
        self.account_id = account_id
        self.orders = orders
        self.quantity = quantity
        self.filled = [0] * len(orders)
        self.status = [OPEN] * len(orders)
        self.hit = -1

    def export(self):
        return [getattr(self, name) for name in self.__slots__]


cdef class Links:
    """All groups of linked orders of the venue."""

    def __init__(self, Instruments instruments, Orders orders, Trading trading, Triggers triggers, EventBuffer events):
        self.instruments = instruments
        self.orders = orders
        self.trading = trading
        self.triggers = triggers
        self.events = events
        self.groups = {}
        self.by_order = {}
        self.dirty = {}
        self.queue = []

    # ------------------------------------------------------------------ place

    def place(self, uint32_t account_id, bytes body, decode):
        """PLACE_LINKED: (reason, number of orders placed); 0 placed where one was refused and said so."""
        cdef Wanted wanted
        cdef uint64_t first_id = self.trading.next_order_id
        cdef int i, reason
        payload = decode(body, type=PlaceLinked)
        orders = payload.orders
        if (payload.link_type not in (1, 2, 3) or payload.fill_condition not in (0, 1, 2)
                or len(orders) != (3 if payload.link_type == ONE_TRIGGERS_ONE_CANCELS_OTHER else 2)):
            return Reason.BAD_LINK, 0
        if not representable(payload):
            return Reason.BAD_PAYLOAD, 0
        wanted_orders = [self._wanted(account_id, order, payload) for order in orders]
        exclusive = {ONE_CANCELS_OTHER: wanted_orders, ONE_TRIGGERS_OTHER: []}.get(payload.link_type, wanted_orders[1:])
        for wanted in exclusive:
            if not _may_exclude(&wanted.command):
                self._refuse(wanted, R_BAD_LINK, 0)
                return Reason.NONE, 0
        if payload.link_type == ONE_CANCELS_OTHER:
            if self._prepare(wanted_orders, first_id, payload.fill_condition, 0) >= 0:
                return Reason.NONE, 0
            self.trading.next_order_id += 2
            self._pair(wanted_orders, first_id, payload.fill_condition)
            return Reason.NONE, 2
        if self._prepare(wanted_orders[:1], first_id, payload.fill_condition, 0) >= 0:
            return Reason.NONE, 0
        wanted = wanted_orders[0]
        waiting = 0 if wanted.slot else 1
        for i in range(1, len(orders)):
            wanted = wanted_orders[i]
            reason = self.triggers.secondary_reason(&wanted.command, &wanted.terms, waiting + i - 1)
            if reason:
                self._refuse(wanted, reason, 0)
                wanted = wanted_orders[0]
                if wanted.slot:
                    self.trading.unprepare(wanted.slot)
                return Reason.NONE, 0
        self.trading.next_order_id += len(orders)
        for i in range(len(orders)):
            wanted = wanted_orders[i]
            if i == 0:
                self._accept(wanted, first_id, payload.fill_condition)
            else:
                self.triggers.wait(&wanted.command, &wanted.terms, wanted.label, first_id + i, SECONDARY, first_id)
        self._found(payload.link_type, payload.fill_condition, account_id, first_id, len(orders))
        wanted = wanted_orders[0]
        if wanted.slot:
            self.trading.settle(wanted.slot)
        return Reason.NONE, len(orders)

    cdef Wanted _wanted(self, uint32_t account_id, order, payload):
        """The command that a client would give for the order alone."""
        cdef Wanted wanted = Wanted()
        wanted.label = order.label.encode()
        wanted.command.header.account_id = account_id
        wanted.command.instrument = order.instrument
        wanted.command.side = order.side
        wanted.command.order_type = order.order_type
        wanted.command.time_in_force = order.time_in_force
        wanted.command.flags = order.flags
        wanted.command.price_units = order.price_units
        wanted.command.quantity_lots = order.quantity_lots
        wanted.command.key_id = payload.key_id
        wanted.command.label_bytes = len(wanted.label)
        wanted.command.valid_until_ns = payload.valid_until_ns
        wanted.terms.trigger_price_e8 = order.trigger_price_e8
        wanted.terms.trigger_offset_e8 = order.trigger_offset_e8
        wanted.terms.trigger_source = order.trigger_source
        return wanted

    cdef int _refuse(self, Wanted wanted, int reason, uint64_t order_id) except -1:
        return self.triggers.refuse(
            wanted.command.header.account_id, wanted.command.instrument, reason, wanted.command.side,
            wanted.command.flags, wanted.command.price_units, wanted.command.quantity_lots, order_id)

    cdef int _prepare(self, list both, uint64_t first_id, int condition, int flags) except -2:
        """Check one order, or two that cancel each other, and count them as open; which was refused, -1 where none."""
        cdef Wanted wanted, before
        cdef int i, reason, waiting = 0
        if condition == COMPLETE_FILL:
            flags |= BOTH_COUNT
        for i in range(len(both)):
            wanted = both[i]
            wanted.slot = 0
            if len(both) == 2:
                wanted.terms.linked_order_id = first_id + 1 - i
            before = both[0]
            reason = R_NONE
            if (i and wanted.command.flags & FLAG_UNIQUE_LABEL and wanted.label and wanted.label == before.label
                    and (before.command.flags & FLAG_UNIQUE_LABEL or (before.slot and not _waits(&wanted.command)))):
                reason = R_DUPLICATE_LABEL
            elif self._is_combo(wanted.command.instrument):
                reason = R_BAD_TERMS
            elif _waits(&wanted.command):
                reason = self.triggers.reason(&wanted.command, &wanted.terms, waiting)
                waiting += 1
            if reason:
                self._refuse(wanted, reason, first_id + i if flags & ANNOUNCED else 0)
            elif not _waits(&wanted.command):
                wanted.slot = self.trading.prepare(&wanted.command, &wanted.terms, wanted.label,
                                                   FLAG_LINKED | flags,
                                                   first_id + i)
                reason = R_NONE if wanted.slot else R_BAD_LINK
            if reason:
                if i and before.slot:
                    self.trading.unprepare(before.slot)
                return i
        return -1

    cdef bint _is_combo(self, uint32_t instrument) noexcept:
        return self.instruments.is_live(instrument) and self.instruments.at[instrument].leg_count != 0

    cdef int _accept(self, Wanted wanted, uint64_t order_id, int condition) except -1:
        """Accept what was prepared; it does not trade yet."""
        if wanted.slot:
            return self.trading.accept(wanted.slot, wanted.label, wanted.command.label_bytes)
        return self.triggers.wait(&wanted.command, &wanted.terms, wanted.label, order_id,
                                  LINKED_BOTH_COUNT if condition == COMPLETE_FILL else LINKED,
                                  wanted.terms.linked_order_id)

    def _found(self, link_type, condition, account_id, first_id, count):
        """A new group of orders that were just accepted, with consecutive ids."""
        ids = [first_id + i for i in range(count)]
        group = Group(first_id, link_type, condition, account_id, ids, [self._quantity(one) for one in ids])
        self.groups[group.number] = group
        for order_id in ids:
            self.by_order[order_id] = group
        self._say_linked(group)
        return group

    def _quantity(self, uint64_t order_id):
        cdef uint32_t slot = self.orders.find(order_id)
        return self.orders.detail[slot].quantity_lots if slot else self.triggers.by_id[order_id].quantity_lots

    cdef int _say_linked(self, group) except -1:
        cdef OrdersLinked* event = <OrdersLinked*>self.events.emit(EV_ORDERS_LINKED, 1, group.account_id)
        event.primary_order_id = group.orders[0]
        event.first_order_id = group.orders[1]
        event.second_order_id = group.orders[2] if len(group.orders) > 2 else 0
        event.link_type = group.link_type
        event.fill_condition = group.condition
        return 0

    cdef int _pair(self, list both, uint64_t first_id, int condition) except -1:
        """Place two prepared orders that cancel each other: the second trades only as far as the first left it."""
        cdef Wanted first = both[0]
        cdef Wanted second = both[1]
        self._accept(first, first_id, condition)
        self._accept(second, first_id + 1, condition)
        group = self._found(ONE_CANCELS_OTHER, condition, first.command.header.account_id, first_id, 2)
        if first.slot:
            self.trading.settle(first.slot)
            self._absorb()
        if second.slot:
            self._one_cancels_other(group, False)
            if self._alive(first_id + 1):
                self.trading.settle(second.slot)
        return 0

    # ------------------------------------------------------------------ what happened

    cdef bint _alive(self, uint64_t order_id) except -1:
        return self.orders.find(order_id) != 0 or order_id in self.triggers.by_id

    cdef int _touch(self, group) except -1:
        if group.number not in self.dirty:
            self.dirty[group.number] = True
            heapq.heappush(self.queue, group.number)
        return 0

    cdef int _absorb(self) except -1:
        """Take in what became of linked orders."""
        return self._take_in(self.trading.take_notes()) if self.trading.noted else 0

    cdef int _take_in(self, list notes) except -1:
        cdef int i
        touched = {}
        moved = {}
        for _, order_id, what, number in notes:
            group = self.by_order.get(order_id)
            if group is None:
                continue
            i = group.orders.index(order_id)
            touched[group.number] = group
            if what == LINK_FILLED:
                group.filled[i] += number
                if group.hit < 0:
                    group.hit = i
            elif what == LINK_ENDED:
                group.status[i] = CANCELLED
            elif what == LINK_EDITED:
                group.quantity[i] = number
            elif what == LINK_BECAME:
                del self.by_order[order_id]
                self.by_order[number] = group
                group.orders[i] = number
                moved[number] = group
        for group in touched.values():
            for i in range(len(group.orders)):
                if group.status[i] == OPEN and not self._alive(group.orders[i]):
                    group.status[i] = FILLED
                    group.quantity[i] = group.filled[i]
            self._touch(group)
        for order_id, group in sorted(moved.items()):
            if self._alive(order_id):
                group.quantity[group.orders.index(order_id)] = self._quantity(order_id)
                for other in group.orders:
                    if group.link_type != ONE_CANCELS_OTHER and other != order_id:
                        self.triggers.relink(other, order_id)
                self._say_linked(group)
        return 0

    # ------------------------------------------------------------------ between two fills

    cdef _exclusive(self, uint64_t order_id):
        """The one-cancels-other that an order is one of, with what became of it in this command so far; or None."""
        cdef list own = []
        group = self.by_order.get(self.trading.became.get(order_id, order_id))
        if group is None or group.link_type != ONE_CANCELS_OTHER:
            return None
        ids = list(group.orders)
        for one in ids:                  # grows by what they became
            notes = self.trading.noted.pop(one, [])
            ids += [number for _, _, what, number in notes if what == LINK_BECAME]
            own += notes
        for one in ids:
            self.trading.became.pop(one, None)
        if own:
            self._take_in(sorted(own))
            self.heard = True
        return group

    def before_fill(self, uint64_t order_id):
        """An order in a book may trade next, or one that waits is about to fire: what its other order traded in this
        command counts first. Whether that has cancelled or shrunk it."""
        group = self._exclusive(order_id)
        if group is None:
            return False
        before = self._open_lots(order_id)
        self._one_cancels_other(group, True)
        return self._open_lots(order_id) != before

    def may_fill(self, uint64_t order_id, dict traded):
        """Lots that an order in a book may still trade, were `traded` {order id: lots} done already (a dry run)."""
        cdef int i, other
        remaining = self._open_lots(order_id)
        group = self._exclusive(order_id)
        if group is None:
            return remaining
        i = group.orders.index(order_id)
        other = 1 - i
        done = group.filled[other] + traded.get(group.orders[other], 0)
        own = group.filled[i] + traded.get(order_id, 0)
        remaining -= traded.get(order_id, 0)
        if group.status[other] != OPEN or self._open_lots(group.orders[other]) == traded.get(group.orders[other], 0):
            return 0
        if group.condition == FIRST_HIT and done and (group.hit == other or (group.hit < 0 and own == 0)):
            return 0
        if group.condition == INCREMENTAL:
            bound = max(0, group.quantity[i] * (group.quantity[other] - done) // group.quantity[other] - own)
            if bound < remaining:
                return bound if bound >= self._least(order_id) else 0
        return remaining

    def _open_lots(self, uint64_t order_id):
        """Lots of a live order that are not filled, 0 where it has ended."""
        cdef uint32_t slot = self.orders.find(order_id)
        if slot:
            return self.orders.at[slot].remaining_lots
        trigger = self.triggers.by_id.get(order_id)
        return 0 if trigger is None else trigger.quantity_lots

    def _least(self, uint64_t order_id):
        """The smallest order of a live order's instrument."""
        cdef uint32_t slot = self.orders.find(order_id)
        return self.instruments.at[<uint32_t>(self.orders.at[slot].instrument if slot else
                                              self.triggers.by_id[order_id].instrument)].min_quantity_lots

    # ------------------------------------------------------------------ what follows

    cdef void begin(self) noexcept:
        """A new command: so much may be placed or cancelled for links in it."""
        self.left = AT_ONCE
        self.heard = False

    cdef bint work(self) except -1:
        """Place and cancel what follows from what happened; whether anything was."""
        cdef int before = self.left
        self._absorb()
        while self.queue and self.left > 0:
            number = self.queue[0]
            group = self.groups.get(number)
            del self.dirty[number]
            heapq.heappop(self.queue)
            if group is None:
                continue
            if not self._act(group):         # no room for it in this command
                self._touch(group)
                self._absorb()
                break
            self._absorb()
        return self.left < before

    cdef bint _act(self, group) except -1:
        """What follows for one group; False where it needs more room than is left."""
        if group.link_type == ONE_CANCELS_OTHER:
            return self._one_cancels_other(group, True)
        return self._triggers_other(group)

    cdef int _withdraw(self, uint64_t order_id, int reason, bint rests) except -1:
        """Cancel an order of a group; `rests`: it stands in its book, if it is not one that waits."""
        cdef uint32_t slot = self.orders.find(order_id)
        self.left -= 1
        if slot:
            return self.trading.withdraw(slot, reason, rests)
        return self.triggers.withdraw(order_id, reason)

    cdef int _dissolve(self, group) except -1:
        """Let go of the orders of a group; what is still open goes on by itself."""
        cdef uint32_t slot
        del self.groups[group.number]
        for order_id in group.orders:
            self.by_order.pop(order_id, None)
            self.triggers.relink(order_id, 0)
            slot = self.orders.find(order_id)
            if slot:
                self.orders.at[slot].flags &= ~FLAG_LINKED
            elif order_id in self.triggers.by_id:
                self.triggers.by_id[order_id].flags &= ~FLAG_LINKED
        return 0

    cdef bint _one_cancels_other(self, group, bint rests) except -1:
        """`rests`: the second order stands in its book, if it is not one that waits."""
        cdef int i
        if group.number not in self.groups:
            return True
        for i in range(2):
            if group.status[i] != OPEN or (group.hit == i and group.condition == FIRST_HIT):
                if group.status[1 - i] == OPEN:
                    self._withdraw(group.orders[1 - i], R_OTHER_CLOSED, rests or i == 1)
                self._dissolve(group)
                return True
        if group.condition == INCREMENTAL and group.hit >= 0:
            for i in range(2):
                self._bound(group, i, rests or i == 0)
                if group.number not in self.groups:
                    break
        return True

    cdef int _bound(self, group, int i, bint rests) except -1:
        """Shrink an order of a one-cancels-other to what the fills of the other one leave it."""
        cdef uint64_t order_id = group.orders[i]
        cdef uint32_t slot = self.orders.find(order_id)
        cdef int64_t remaining, bound
        done, whole = group.filled[1 - i], group.quantity[1 - i]
        bound = max(0, group.quantity[i] * (whole - done) // whole - group.filled[i])
        remaining = self._open_lots(order_id)
        if remaining <= bound:
            return 0
        if bound < self._least(order_id):
            self._withdraw(order_id, R_OTHER_CLOSED, rests)
            return self._dissolve(group)
        self.left -= 1
        if slot:
            return self.trading.shrink(slot, bound, rests)
        return self.triggers.shrink(self.triggers.by_id[order_id], bound)

    # ------------------------------------------------------------------ one triggers other

    cdef bint _triggers_other(self, group) except -1:
        cdef int i
        alive = [i for i in range(1, len(group.orders)) if group.orders[i] in self.triggers.by_id]
        parts = [(i, self._part(group, i)) for i in alive]
        if parts and all([lots > 0 for _, lots in parts]):
            if len(parts) > self.left:
                return False
            self._place_due(group, parts)
            alive = [i for i in alive if group.orders[i] in self.triggers.by_id]
        if group.status[0] != OPEN:
            if len(alive) > self.left:
                return False
            for i in alive:
                self._withdraw(group.orders[i], R_PRIMARY_CLOSED, True)
            alive = []
        if not alive:
            self._dissolve(group)
        return True

    def _part(self, group, int i):
        """Lots of a secondary order that are to be placed now."""
        trigger = self.triggers.by_id[group.orders[i]]
        cdef int64_t rest = trigger.quantity_lots - trigger.placed_lots
        cdef int64_t lots = 0
        if group.condition == FIRST_HIT:
            lots = rest if group.filled[0] else 0
        elif group.status[0] == FILLED:
            lots = rest
        elif group.condition == INCREMENTAL:
            due = trigger.quantity_lots * group.filled[0] // group.quantity[0]
            lots = min(rest, max(0, due - trigger.placed_lots))
        if lots < self.instruments.at[<uint32_t>trigger.instrument].min_quantity_lots:
            return 0
        return lots

    cdef Wanted _due(self, trigger, int64_t lots):
        """The command that places a part of a secondary order."""
        cdef Wanted wanted = Wanted()
        self.triggers.command_of(trigger, &wanted.command)
        wanted.label = trigger.label
        wanted.command.order_type = trigger.order_type
        wanted.command.quantity_lots = lots
        if _waits(&wanted.command):
            wanted.terms.trigger_source = trigger.next_source
            wanted.terms.trigger_offset_e8 = trigger.offset_e8
            wanted.terms.trigger_price_e8 = trigger.price_e8
        return wanted

    cdef bint _place_due(self, group, list parts) except -1:
        """Place parts of one or two secondary orders; two are a one-cancels-other from then on."""
        cdef uint64_t first_id = self.trading.next_order_id
        cdef Wanted wanted
        cdef int k
        due = []
        for k, (i, lots) in enumerate(parts):
            order_id = group.orders[i]
            due.append(self._due(self.triggers.by_id[order_id], lots))
            self.triggers.release(order_id, first_id + k, lots)
        self.left -= len(due)
        self.trading.next_order_id += len(due)       # announced: nobody else gets them
        wanted = due[0]
        if len(due) == 2:
            refused = self._prepare(due, first_id, group.condition, ANNOUNCED)
            if refused < 0:
                self._pair(due, first_id, group.condition)
            else:
                self._refuse(due[1 - refused], R_OTHER_CLOSED, first_id + 1 - refused)
            return True
        if _waits(&wanted.command):
            reason = self.triggers.reason(&wanted.command, &wanted.terms, 0)
            if reason:
                self._refuse(wanted, reason, first_id)
            else:
                self.triggers.wait(&wanted.command, &wanted.terms, wanted.label, first_id, 0, 0)
            return True
        wanted.slot = self.trading.prepare(&wanted.command, NULL, wanted.label, ANNOUNCED, first_id)
        if wanted.slot:
            self.trading.begin(wanted.slot, wanted.label, wanted.command.label_bytes)
        return True

    # ------------------------------------------------------------------ reads

    def holds(self, order_id):
        """Whether a live order is one of a group."""
        return order_id in self.by_order

    def listed(self):
        """(link type, condition, order ids) of every group, ascending number."""
        return [(group.link_type, group.condition, tuple(group.orders)) for _, group in sorted(self.groups.items())]

    def check(self):
        """Faults of the groups, [] when they are sound."""
        cdef uint32_t slot
        found = []
        members = 0
        for number, group in sorted(self.groups.items()):
            waiting = number in self.dirty
            for i, order_id in enumerate(group.orders):
                if self.by_order.get(order_id) is not group and self._alive(order_id):
                    found.append(f"linked order {order_id} is not known as one of group {number}")
                secondary = i > 0 and group.link_type != ONE_CANCELS_OTHER
                if not waiting and not secondary and not self._alive(order_id):
                    found.append(f"group {number} outlives its order {order_id}")
                slot = self.orders.find(order_id)
                if slot and not self.orders.at[slot].flags & FLAG_LINKED:
                    found.append(f"order {order_id} of group {number} is not flagged as linked")
                if (slot and group.link_type == ONE_CANCELS_OTHER
                        and self.orders.detail[slot].linked_order_id != group.orders[1 - i]):
                    found.append(f"order {order_id} does not name the other of group {number}")
                members += 1
        if sorted(self.dirty) != sorted(self.queue):
            found.append("the queue of linked groups is not what it should be")
        return found

    def export(self):
        """Canonical state."""
        return [[group.export() for _, group in sorted(self.groups.items())], sorted(self.dirty)]


cdef bint _waits(const PlaceOrder* command) noexcept:
    return TYPE_STOP_LIMIT <= command.order_type <= TYPE_TRAILING_STOP


cdef bint _may_exclude(const PlaceOrder* command) noexcept:
    """Whether an order may be one of a one-cancels-other: it rests, or waits."""
    if _waits(command):
        return True
    return ((command.order_type == TYPE_LIMIT or command.order_type == TYPE_MARKET_LIMIT)
            and (command.time_in_force == TIF_GTC or command.time_in_force == TIF_GTD))
