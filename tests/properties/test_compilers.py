"""Every compiler, level and instruction set gives the same bits: kernels hashed, the golden journal replayed.

A build is a copy of the sources compiled in a directory of its own; gcc and clang at -O2 and -O3, each asked for every
instruction set that this machine has.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.golden.make_journal import EXPECTED

ROOT = Path(__file__).parents[2]
PARTS = ("exchange", "margin_ext", "tests", "setup.py", "pyproject.toml")
INSTRUCTION_SETS = ("base", "avx2", "avx512")
BUILDS = [(compiler, level) for compiler in ("gcc", "clang") for level in ("2", "3")]
GOLDEN = """
from tests.golden.make_journal import JOURNAL, fingerprint
print(*(f"{name} {value}" for name, value in sorted(fingerprint(JOURNAL.read_bytes()).items())), sep="\\n")
"""


def run(directory: Path, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    variables = {**os.environ, "PYTHONPATH": str(directory), **environment}
    return subprocess.run(words, cwd=directory, env=variables, capture_output=True, text=True, timeout=1_500)


@pytest.fixture(scope="module", params=BUILDS, ids=lambda build: f"{build[0]}-O{build[1]}")
def build(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with the engine as one compiler at one level makes it."""
    compiler, level = request.param
    if shutil.which(compiler) is None:
        pytest.skip(f"{compiler} is not installed (Debian package {compiler})")
    directory = tmp_path_factory.mktemp(f"{compiler}-{level}")
    unwanted = shutil.ignore_patterns("*.so", "*.c", "__pycache__")
    for part in PARTS:
        source = ROOT / part
        if source.is_dir():
            shutil.copytree(source, directory / part, ignore=unwanted)
        else:
            shutil.copy(source, directory / part)
    words = (sys.executable, "setup.py", "-q", "build_ext", "--inplace", "--parallel", "2")
    done = run(directory, *words, CC=compiler, MARGRAVE_OPTIMISE=level)
    assert done.returncode == 0, done.stderr[-2_000:]
    return directory


def sets_offered(directory: Path) -> list[str]:
    """Which instruction sets this machine has kernels for: the others are refused by name."""
    offered = []
    for name in INSTRUCTION_SETS:
        done = run(directory, sys.executable, "-c", "import margin_ext.kernels", MARGRAVE_ISA=name)
        assert done.returncode == 0 or "no such kernels on this machine" in done.stderr, done.stderr
        if done.returncode == 0:
            offered.append(name)
    assert "base" in offered
    return offered


@pytest.mark.full
def test_kernels_give_the_same_bits(build: Path) -> None:
    here = run(ROOT, sys.executable, "tests/properties/test_kernel_isa.py", MARGRAVE_ISA="base")
    digest = here.stdout.split()[1]
    for name in sets_offered(build):
        there = run(build, sys.executable, "tests/properties/test_kernel_isa.py", MARGRAVE_ISA=name)
        assert there.stdout.split() == [name, digest], there.stderr


@pytest.mark.full
def test_the_engine_replays_the_golden_journal(build: Path) -> None:
    expected = sorted((build / EXPECTED.relative_to(ROOT)).read_text().splitlines())
    for name in sets_offered(build):
        there = run(build, sys.executable, "-c", GOLDEN, MARGRAVE_ISA=name)
        found = sorted(" ".join(line.split()) for line in there.stdout.splitlines())
        assert found == [" ".join(line.split()) for line in expected], (name, there.stderr[-2_000:])
