"""Token buckets in integers: credits refill continuously with wall time and never beyond the pool."""

from collections import OrderedDict

from gateway.errors import ApiError
from gateway.settings import Bucket, RateLimits

_SECOND_NS = 1_000_000_000
MAX_TRACKED = 100_000


class CreditMeter:
    """One bucket of one holder. Credits are kept in credit-nanoseconds so that refill loses no fraction."""

    __slots__ = ("_bucket", "_credits_ns", "_updated_ns")

    def __init__(self, bucket: Bucket, now_ns: int):
        self._bucket = bucket
        self._credits_ns = bucket.pool * _SECOND_NS
        self._updated_ns = now_ns

    def spend(self, now_ns: int, cost: int) -> float:
        """0.0 when paid, else seconds to wait (nothing is spent)."""
        bucket = self._bucket
        elapsed_ns = max(0, now_ns - self._updated_ns)
        self._updated_ns = max(now_ns, self._updated_ns)
        full = bucket.pool * _SECOND_NS
        self._credits_ns = min(full, self._credits_ns + elapsed_ns * bucket.refill)
        missing = cost * _SECOND_NS - self._credits_ns
        if missing > 0:
            return missing / (bucket.refill * _SECOND_NS)
        self._credits_ns -= cost * _SECOND_NS
        return 0.0


class Throttle:
    """Buckets per holder (an account, or an address before login) and per kind of request."""

    def __init__(self, limits: RateLimits):
        self.limits = limits
        self._buckets = {
            name: bucket
            for name in ("non_matching", "matching", "subscribe", "reducing")
            if (bucket := getattr(limits, name)) is not None
        }
        self._meters: OrderedDict[tuple[str, object], CreditMeter] = OrderedDict()

    def check(self, kind: str, holder: object, now_ns: int) -> None:
        """Spend one request's credits; 10028 with `data.wait` (whole seconds) where they are gone."""
        bucket = self._buckets.get(kind)
        if bucket is None:
            return
        key = (kind, holder)
        meter = self._meters.get(key)
        if meter is None:
            if len(self._meters) >= MAX_TRACKED:
                self._meters.popitem(last=False)
            meter = self._meters[key] = CreditMeter(bucket, now_ns)
        else:
            self._meters.move_to_end(key)
        wait_s = meter.spend(now_ns, bucket.cost)
        if wait_s:
            raise ApiError(10028, {"wait": max(1, -int(-wait_s // 1))}, fatal=True)
