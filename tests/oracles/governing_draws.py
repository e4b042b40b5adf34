"""Random proposals, decisions and announcements for generated histories."""

from typing import Any

from exchange import commands, governance
from exchange.commands import CommandKind
from exchange.events import EventKind
from exchange.mark_events import JumpOutcome, OverrideState
from tests.oracles.isolated_draws import IsolatedDraws

SECOND = 10**9


class GoverningDraws(IsolatedDraws):
    """Draws over what it follows of held jumps, pauses and proposals."""

    held: dict[int, int]
    paused: dict[int, int]
    proposed: dict[int, int]
    """Who proposed, of proposals that wait."""
    in_force: set[int]
    index: dict[int, float]

    def _follow_mode(self, event: Any) -> None:
        bucket = int(event["bucket_account_id"])
        self.holders[bucket] = int(event["account_id"])
        self.isolated.pop(bucket, None)
        if event["isolated"]:
            self.isolated[bucket] = int(event["instrument"])

    def _follow_governance(self, kind: EventKind, event: Any) -> None:
        """What became of modes, jumps, pauses and proposals."""
        if kind == EventKind.MARGIN_MODE_CHANGED:
            self._follow_mode(event)
            return
        u = int(event["underlying"])
        if kind == EventKind.MARK_JUMP:
            self.held.pop(u, None)
            if event["outcome"] == JumpOutcome.HELD:
                self.held[u] = int(event["index_price_e8"])
        elif kind == EventKind.BREAKER_TRIPPED:
            self.paused[u] = int(event["until_ns"])
        elif kind == EventKind.OVERRIDE_CHANGED:
            number = int(event["proposal"])
            self.proposed.pop(number, None)
            self.in_force.discard(number)
            if event["state"] == OverrideState.PROPOSED:
                self.proposed[number] = int(event["proposer"])
            elif event["state"] == OverrideState.IN_FORCE:
                self.in_force.add(number)

    def _propose(self) -> bytearray:
        """What is possible first; sometimes what is not."""
        r = self.random
        u = r.choice((0, 0, 1))
        action, value, duration = "lift_stage", r.choice((0, 1)), r.choice((5, 20, 60)) * SECOND
        kind = r.random()
        if self.held and kind < 0.6:
            u, value = r.choice(sorted(self.held.items()))
            action, duration = "accept_jump", 0
        elif self.paused.get(u, 0) > self.time_ns and kind < 0.8:
            action, value, duration = "resume", 0, 0
        elif kind < 0.45:
            action, value = "set_index", round(self.index[u] * r.choice((0.7, 0.9, 0.98, 1.01, 1.1, 1.3)) * 1e8)
        if r.random() < 0.12:
            action = r.choice(governance.ACTIONS)
            value, duration = r.choice((0, 1, 2, value)), r.choice((0, duration, 70 * SECOND))
        payload = governance.ProposeOverride(
            operator=r.choice((1, 1, 2, 3, 0)), action=action, underlying=r.choice(("BTC", "ETH", "XRP"))
            if r.random() < 0.05 else ("BTC", "ETH")[u], value=value, duration_ns=duration,
        )  # fmt: skip
        return commands.cold(CommandKind.PROPOSE_OVERRIDE, payload)

    def _decide(self) -> bytearray:
        r = self.random
        decision = r.choices(("approve", "reject", "revoke"), (12, 2, 1 + 2 * bool(self.in_force)))[0]
        among = sorted(self.in_force if decision == "revoke" else self.proposed)
        number = r.choice((among[-1], among[-1], *among)) if among and r.random() < 0.95 else 9_999
        operator = r.choice((1, 2, 2, 3)) if r.random() < 0.95 else 0
        payload = governance.DecideOverride(operator=operator, proposal=number, decision=decision)
        return commands.cold(CommandKind.DECIDE_OVERRIDE, payload)

    def _announce(self) -> bytearray:
        r = self.random
        at = self.time_ns + r.choice((1, 8, 9, 30)) * SECOND if r.random() < 0.6 else 0
        name = "XRP" if r.random() < 0.03 else r.choice(("BTC", "BTC", "ETH"))
        scale = r.choice((900_000, 1_000_000, 1_000_000, 1_050_000, 1_200_000, 1_333_333))
        payload = governance.AnnounceMargin(underlying=name, scale_ppm=scale, effective_ns=at, operator=2)
        return commands.cold(CommandKind.ANNOUNCE_MARGIN, payload)
