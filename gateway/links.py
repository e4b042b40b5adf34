"""Groups of linked orders as clients see them: one cancels other, one triggers other, or both."""

from typing import TYPE_CHECKING, Any

from exchange.commands import FillCondition, LinkType

if TYPE_CHECKING:
    from gateway.history import OrderRecord

LINK_TYPES = {member.name.lower(): member for member in LinkType}
FILL_CONDITIONS = {member.name.lower(): member for member in FillCondition}
_WORDS = {member: word for word, member in FILL_CONDITIONS.items()}


class Link:
    """One group; orders[0] is the primary. An order that fires hands its place to what it becomes."""

    __slots__ = ("condition", "link_type", "number", "orders")

    def __init__(self, link_type: int, condition: int, orders: "list[OrderRecord]"):
        self.link_type, self.condition, self.orders = LinkType(link_type), FillCondition(condition), orders
        self.number = orders[0].order_id
        """The primary's, as first linked."""

    def wire(self, record: "OrderRecord") -> dict[str, Any]:
        """The members of an order object that tell its link."""
        primary = self.orders[0]
        found: dict[str, Any] = {"trigger_fill_condition": _WORDS[self.condition]}
        if self.link_type == LinkType.ONE_CANCELS_OTHER:
            return found | {"oco_ref": f"OCO-{self.number}"}
        if record is not primary:
            found |= {"is_secondary_oto": True, "primary_order_id": primary.wire_id}
            if self.link_type == LinkType.ONE_TRIGGERS_ONE_CANCELS_OTHER:
                found["oco_ref"] = f"OCO-{self.number}"
            return found
        found["oto_order_ids"] = [one.wire_id for one in self.orders[1:] if one.state == "untriggered"]
        if self.link_type == LinkType.ONE_TRIGGERS_ONE_CANCELS_OTHER:
            found["is_primary_otoco"] = True
        return found
