"""One-cancels-other in the naive venue: what happened to one, and what that leaves the other. Rules: docs/orders.md."""

from exchange.commands import OrderFlag
from exchange.reasons import Reason
from tests.oracles.linking import FIRST_HIT, INCREMENTAL, PAIR, Group, Linking
from tests.oracles.state import WaitingOrder, relink


class Excluding(Linking):
    """Learns what became of linked orders, and lets one give way to the other."""

    # ------------------------------------------------------------------ what happened

    def take_in(self) -> None:
        """Learn what became of linked orders."""
        notes, self.state.notes = self.state.notes, []
        self.learn(notes)

    def learn(self, notes: list[tuple[int, str, int]]) -> None:
        touched, became = set(), []
        for order_id, what, number in notes:
            group = next((g for g in self.groups.values() if order_id in g.ids), None)
            if group is None:
                continue
            i = group.ids.index(order_id)
            touched.add(group.number)
            if what == "filled":
                group.filled[i] += number
                group.hit = i if group.hit < 0 else group.hit
            elif what == "ended":
                group.ended[i] = "cancelled"
            elif what == "sized":
                group.quantity[i] = number
            else:
                group.ids[i] = number
                became.append((number, group))
        for number in touched:
            group = self.groups[number]
            for i, order_id in enumerate(group.ids):
                if not group.ended[i] and not self.live(order_id):
                    group.ended[i], group.quantity[i] = "filled", group.filled[i]
        self.due |= touched
        for order_id, group in sorted(became, key=lambda pair: pair[0]):
            if self.live(order_id):
                for other in group.ids if group.link_type != PAIR else ():
                    if other != order_id:
                        relink(self.live(other), order_id)
                self.say_linked(group)

    def withdraw(self, order_id: int, reason: Reason) -> None:
        self.left -= 1
        order = self.live(order_id)
        if isinstance(order, WaitingOrder):
            self.waiting.withdraw(order, reason)
        else:
            self.trading.withdraw(order, reason)

    def dissolve(self, group: Group) -> None:
        """What is still open goes on by itself."""
        del self.groups[group.number]
        for order_id in group.ids:
            order = self.live(order_id)
            relink(order, 0)
            if order:
                order.flags &= ~OrderFlag.LINKED

    def exclude(self, group: Group) -> bool:
        """What follows for a one-cancels-other; always within the bound."""
        if group.number not in self.groups:
            return True
        for i in range(2):
            if group.ended[i] or (group.hit == i and group.condition == FIRST_HIT):
                if not group.ended[1 - i]:
                    self.withdraw(group.ids[1 - i], Reason.OTHER_CLOSED)
                self.dissolve(group)
                return True
        if group.condition == INCREMENTAL and group.hit >= 0:
            for i in range(2):
                if group.number in self.groups:
                    self.bound(group, i)
        return True

    def bound(self, group: Group, i: int) -> None:
        """Leave an order no more than the share that the other has not filled."""
        s, order = self.state, self.live(group.ids[i])
        whole, filled = group.quantity[1 - i], group.filled[1 - i]
        most = max(0, group.quantity[i] * (whole - filled) // whole - group.filled[i])
        waits = isinstance(order, WaitingOrder)
        remaining = order.quantity_lots if waits else order.remaining_lots
        if remaining <= most:
            return
        if most < s.contracts[order.instrument].spec.min_quantity_lots:
            self.withdraw(order.order_id, Reason.OTHER_CLOSED)
            self.dissolve(group)
            return
        self.left -= 1
        order.quantity_lots -= remaining - most
        if waits:
            self.waiting.say_edited(order)
        else:
            order.remaining_lots = most
            self.trading.say_edited(order, True)

    # ------------------------------------------------------------------ between two fills

    def pair_of(self, order_id: int) -> Group | None:
        """The one-cancels-other that a live order is one of, once it has learnt what this command did to it so far."""
        notes = self.state.notes
        known = next((was for was, what, new in notes if what == "became" and new == order_id), order_id)
        group = next((g for g in self.groups.values() if known in g.ids and g.link_type == PAIR), None)
        if group is None:
            return None
        ids = {*group.ids, *(new for was, what, new in notes if what == "became" and was in group.ids)}
        mine = [note for note in notes if note[0] in ids]
        self.state.notes = [note for note in notes if note[0] not in ids]
        self.learn(mine)
        self.heard = self.heard or bool(mine)
        return group

    def before(self, order_id: int, other_id: int) -> bool:
        """The order is about to trade or to fire: whether what its other did first has cancelled or shrunk it."""
        if all(one != other_id for one, _, _ in self.state.notes):
            return False
        lots = self.lots_of(order_id)
        group = self.pair_of(order_id)
        if group:
            self.exclude(group)
        return self.lots_of(order_id) != lots

    def would_leave(self, order_id: int, traded: dict[int, int]) -> int:
        """Lots that the order could still trade after the fills of a dry run."""
        left = self.lots_of(order_id) - traded.get(order_id, 0)
        found = self.pair_of(order_id)
        if found is None:
            return left
        i = found.ids.index(order_id)
        other_id = found.ids[1 - i]
        filled = [lots + traded.get(one, 0) for lots, one in zip(found.filled, found.ids, strict=False)]
        if found.ended[1 - i] or self.lots_of(other_id) == traded.get(other_id, 0):
            return 0
        if found.condition == FIRST_HIT:
            return 0 if filled[1 - i] and (found.hit == 1 - i or (found.hit < 0 and not filled[i])) else left
        if found.condition == INCREMENTAL:
            whole = found.quantity[1 - i]
            most = max(0, found.quantity[i] * (whole - filled[1 - i]) // whole - filled[i])
            least = self.state.contracts[self.live(order_id).instrument].spec.min_quantity_lots
            if most < left:
                return most if most >= least else 0
        return left

    def lots_of(self, order_id: int) -> int:
        """Open lots of an order, 0 where it has ended."""
        order = self.live(order_id)
        if order is None:
            return 0
        return order.quantity_lots if isinstance(order, WaitingOrder) else order.remaining_lots
