"""Scripted scenes whose events are kept in tests/golden/events/<name>.json.

A part of the engine adds a module `tests/golden/scenes_<part>.py` with a dict SCENES of name -> function that plays the
scene on a new Recorder. `python -m tests.golden.make_events` writes the files anew.
"""

import importlib
import json
import pkgutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests import golden
from tests.driver import Driver, patient

EVENTS = Path(__file__).parent / "events"
COMMON = ("slots", "seq", "time_ns")


class Recorder(Driver):
    """A driver that keeps what the engine said, once the scene is set."""

    def __init__(self, instruments: Any = (), configuration: Any = None, impatient: bool = False) -> None:
        self.kept: list[list[dict[str, Any]]] = []
        super().__init__(instruments, configuration if impatient else patient(configuration))

    def submit(self, record: bytes | bytearray) -> list[Any]:
        found = super().submit(record)
        self.kept.append(
            [
                {"kind": e.kind.name} | {k: v for k, v in vars(e).items() if k not in ("kind", *COMMON) and v}
                for e in found
            ]
        )
        return found

    def action(self) -> None:
        """What was said so far belongs to the setting."""
        self.kept.clear()


Scene = Callable[[], Recorder]


def scenes() -> dict[str, Scene]:
    """All scenes by name."""
    found: dict[str, Scene] = {}
    for module in pkgutil.iter_modules(golden.__path__):
        if module.name.startswith("scenes_"):
            found |= importlib.import_module(f"tests.golden.{module.name}").SCENES
    return found


def played(scene: Scene) -> str:
    """The events of a scene as text: a line per event (fields that are not zero), an empty one after each command."""
    recorder = scene()
    recorder.sound()
    commands = [",\n".join(json.dumps(event) for event in events) for events in recorder.kept if events]
    return "[\n" + ",\n\n".join(commands) + "\n]\n"
