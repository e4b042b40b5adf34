"""The tree speaks of itself alone: no path of somebody's machine, no address of a package registry."""

import re

from tests.style.tree import text, tracked

# Character classes keep the patterns from finding themselves.
MACHINE_PATH = re.compile(r"(?<![\w./~-])/(?:wo[r]k|fa[r]m|ro[o]t|ho[m]e|Use[r]s)/[\w.]+")
REGISTRY = re.compile(
    r"https?://[\w.-]*(?:pyp[i]|pythonhoste[d]|npmj[s]|debia[n]|yarnpk[g]|crate[s])\.(?:org|com|net|io)|fil[e]://|"
    r"--(?:extra-)?index-ur[l]|--find-link[s]|--hash[=]"
)
LOCKS = {".toml", ".txt", ".cfg", ".lock", ".sh", ".json", ".yaml", ".yml"}
LOCK_NAMES = {"Makefile", "run", "Dockerfile"}
PINNED = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*==[0-9][\w.+!-]*")


def readable() -> list[tuple[str, str]]:
    found = []
    for path in tracked():
        try:
            found.append((path.as_posix(), text(path)))
        except UnicodeDecodeError:
            continue
    return found


def test_no_machine_paths() -> None:
    problems = [f"{name}: {m.group()}" for name, body in readable() for m in MACHINE_PATH.finditer(body)]
    assert problems == []


def test_no_registry_addresses_in_what_installs() -> None:
    checked = [p for p in tracked() if p.suffix in LOCKS or p.name in LOCK_NAMES]
    assert {"constraints.txt", "pyproject.toml", "Makefile", ".ci/run"} <= {p.as_posix() for p in checked}
    problems = [f"{path}: {m.group()}" for path in checked for m in REGISTRY.finditer(text(path))]
    assert problems == []


def test_constraints_pin_every_direct_dependency() -> None:
    constraints = [path for path in tracked() if path.as_posix() == "constraints.txt"]
    lines = [line for line in text(constraints[0]).splitlines() if line and not line.startswith("#")]
    assert [line for line in lines if not PINNED.fullmatch(line)] == []
    pinned = {line.split("==")[0].lower().replace("_", "-") for line in lines}
    project = next(path for path in tracked() if path.as_posix() == "pyproject.toml")
    declared = {
        name.lower().replace("_", "-")
        for name in re.findall(r'^\s*(?:\w+ = \[)?"([A-Za-z0-9._-]+)[><=]=', text(project), re.MULTILINE)
    }
    assert {"msgspec", "numpy", "pytest", "ruff"} <= declared
    assert declared - pinned == set()


def test_the_patterns_find() -> None:
    assert MACHINE_PATH.search("see /wo" + "rk/main/x")
    assert MACHINE_PATH.search("/ho" + "me/someone/x")
    assert not MACHINE_PATH.search("https://example.net/wo" + "rk/x")
    assert REGISTRY.search("https://pyp" + "i.org/simple")
