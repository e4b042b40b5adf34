"""Token buckets: burst, refill, separation of holders, and the default of none."""

import pytest

from gateway.errors import ApiError
from gateway.settings import DERIBIT, OFF, Bucket
from gateway.throttle import CreditMeter, Throttle

SECOND_NS = 1_000_000_000


def spend_all(throttle: Throttle, kind: str, holder: object, now_ns: int) -> int:
    for count in range(10_000):
        try:
            throttle.check(kind, holder, now_ns)
        except ApiError as error:
            if error.code == 10028 and error.fatal and error.data is not None and error.data["wait"] >= 1:
                return count
            raise
    raise AssertionError("never throttled")


@pytest.mark.parametrize(
    ("kind", "burst", "per_second"), [("non_matching", 100, 20), ("matching", 20, 5), ("subscribe", 10, 3)]
)
def test_deribit_profile_bursts_and_refills(kind: str, burst: int, per_second: int) -> None:
    throttle = Throttle(DERIBIT)
    assert spend_all(throttle, kind, 1, 0) == burst
    assert spend_all(throttle, kind, 1, SECOND_NS) == per_second
    assert spend_all(throttle, kind, 1, 3600 * SECOND_NS) == burst


def test_holders_and_kinds_do_not_share() -> None:
    throttle = Throttle(DERIBIT)
    spend_all(throttle, "matching", 1, 0)
    throttle.check("matching", 2, 0)
    throttle.check("non_matching", 1, 0)


def test_what_lowers_risk_has_credits_of_its_own() -> None:
    throttle = Throttle(DERIBIT)
    spend_all(throttle, "matching", 1, 0)
    assert spend_all(throttle, "reducing", 1, 0) == 20
    assert spend_all(throttle, "reducing", 1, SECOND_NS) == 5


def test_off_never_refuses() -> None:
    throttle = Throttle(OFF)
    for _ in range(10_000):
        throttle.check("matching", 1, 0)


def test_refill_loses_no_fraction() -> None:
    meter = CreditMeter(Bucket(cost=1, pool=1, refill=3), 0)
    assert meter.spend(0, 1) == 0.0
    paid, now_ns = 0, 0
    for _ in range(3000):
        now_ns += 100_000_000
        paid += meter.spend(now_ns, 1) == 0.0
    assert paid == 750  # every fourth tenth of a second: three tenths of a credit are not yet one


def test_time_running_backwards_gives_nothing() -> None:
    meter = CreditMeter(Bucket(cost=1, pool=1, refill=1), SECOND_NS)
    assert meter.spend(SECOND_NS, 1) == 0.0
    assert meter.spend(0, 1) == pytest.approx(1.0)
    assert meter.spend(SECOND_NS, 1) == pytest.approx(1.0)
