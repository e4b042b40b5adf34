"""Every instruction set gives the same bits: rows, Greeks and sums hashed in one process per path."""

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import numpy as np

ROOT = Path(__file__).parents[2]


def digest_of_kernels() -> str:
    """SHA-256 over results of every kernel on a fixed pseudo-random workload that includes the edges."""
    import margin_ext
    from margin_ext import kernels

    rng = np.random.default_rng(20240229)
    digest = hashlib.sha256()
    forward = np.exp(rng.uniform(np.log(1e-4), np.log(1e6), 4001))
    width = np.exp(rng.uniform(np.log(1e-7), np.log(9.0), 4001))
    width[::50] = 0.0
    strike = forward * np.exp(np.clip(rng.normal(0, 6, 4001) * width, -400, 400))
    strike[::70] = forward[::70]
    for values in margin_ext.greeks(forward, strike, width, np.ones(4001), rng.random(4001) < 0.5):
        digest.update(values.tobytes())
    years = np.array([0.0, 0.25, 1, 3, 14, 91, 365]) / 365
    for inverse in (False, True):
        for count in (8, 40, 64):
            pairs = 101
            spot = 1 + rng.uniform(-0.7, 3.0, count)
            rows = margin_ext.reprice(
                np.exp(rng.normal(11, 0.4, pairs)),
                rng.integers(0, 7, pairs),
                rng.uniform(0, 2, pairs),
                np.exp(rng.normal(11, 0.05, 7)),
                years,
                spot,
                rng.uniform(0, 2, (7, count)),
                index_price=60_000.0,
                lot_coin=0.1,
                inverse=inverse,
                weight=rng.uniform(0, 1, count),
                vol_floor=rng.uniform(0, 0.3, count),
            )
            for values in rows:
                digest.update(b"" if values is None else np.ascontiguousarray(values).tobytes())
            future = margin_ext.reprice_future(
                60_123.0, spot, index_price=60_000.0, inverse=inverse, lot_usd=10.0, lot_coin=0.1,
                future_move_clamp=rng.uniform(0, 0.2, count).round(1),
            )  # fmt: skip
            digest.update(future.row_usd.tobytes())
            index, lots = rng.integers(0, 2 * pairs, 23), rng.integers(-99, 99, 23).astype(float)
            vector = margin_ext.sum_rows(rows.rows_usd, index, lots)
            digest.update(vector.tobytes())
            digest.update(np.float64(margin_ext.worst_loss(vector)).tobytes())
    for x in rng.uniform(-30, 30, 500):
        digest.update(np.array([kernels.exp(x), kernels.log(abs(x)), kernels.power(abs(x), x)]).tobytes())
    return f"{margin_ext.instruction_set()} {digest.hexdigest()}"


def run_path(name: str) -> subprocess.CompletedProcess[str]:
    environment = dict(os.environ, MARGRAVE_ISA=name, PYTHONPATH=str(ROOT))
    return subprocess.run(
        [sys.executable, __file__], capture_output=True, text=True, env=environment, cwd=ROOT, timeout=120
    )


def test_all_instruction_sets_give_the_same_bits():
    found = {}
    for name in ("base", "avx2", "avx512"):
        result = run_path(name)
        if result.returncode == 0:
            used, digest = result.stdout.split()
            assert used == name
            found[name] = digest
        else:
            assert "no such kernels on this machine" in result.stderr, result.stderr
    assert "base" in found
    widest = run_path("")
    assert widest.stdout.split()[1] == found["base"]
    assert len(set(found.values())) == 1, found


def test_an_unknown_instruction_set_is_refused():
    result = run_path("mmx")
    assert result.returncode != 0 and "no such kernels" in result.stderr


if __name__ == "__main__":
    print(digest_of_kernels())
