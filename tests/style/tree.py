"""What the style tests look at: the files of the checkout, and sources reduced to their code."""

import re
import subprocess
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("margin_ext", "exchange", "persistence", "gateway", "loadtest")
COMPILED = (".pyx", ".pxd", ".pxi", ".h")
NOT_OURS = {".git", ".venv", "build", "dist", "node_modules", "__pycache__"}


@cache
def tracked() -> tuple[Path, ...]:
    """Every file that is or would be committed, relative to the root; the whole tree where git is absent."""
    try:
        listed = subprocess.run(
            ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
            cwd=ROOT,
            check=True,
            capture_output=True,
        ).stdout.decode()
        names = [Path(name) for name in listed.split("\0") if name]
    except (OSError, subprocess.CalledProcessError):
        names = [path.relative_to(ROOT) for path in ROOT.rglob("*")]
    return tuple(sorted(name for name in names if not NOT_OURS & set(name.parts) and (ROOT / name).is_file()))


def files(*suffixes: str, under: tuple[str, ...] = PACKAGES) -> list[Path]:
    """Files with one of the suffixes in the given top-level folders, relative to the root."""
    return [path for path in tracked() if path.suffix in suffixes and path.parts[0] in under]


def text(path: Path) -> str:
    return (ROOT / path).read_text(encoding="utf-8")


def _blank(match: re.Match[str]) -> str:
    return re.sub(r"[^\n]", " ", match.group())


CYTHON_NOISE = re.compile(
    r'"""(?:\\.|[^\\])*?"""|\'\'\'(?:\\.|[^\\])*?\'\'\'|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\'|#[^\n]*',
    re.DOTALL,
)
C_NOISE = re.compile(r'/\*.*?\*/|//[^\n]*|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\'', re.DOTALL)


def code(path: Path) -> str:
    """The file with comments and string contents blanked; line numbers stay."""
    noise = C_NOISE if path.suffix in (".h", ".c") else CYTHON_NOISE
    return noise.sub(_blank, text(path))


def line_of(source: str, offset: int) -> int:
    return source.count("\n", 0, offset) + 1
