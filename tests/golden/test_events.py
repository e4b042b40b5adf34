"""What the engine says in scripted scenes, to the last field (`python -m tests.golden.make_events` writes them)."""

import json

import pytest

from tests.golden.scenes import EVENTS, played, scenes


@pytest.mark.parametrize("name", sorted(scenes()))
def test_the_scene_gives_the_kept_events(name: str) -> None:
    kept = (EVENTS / f"{name}.json").read_text()
    assert json.loads(kept)
    assert played(scenes()[name]) == kept


def test_every_file_has_its_scene() -> None:
    assert {path.stem for path in EVENTS.glob("*.json")} == set(scenes())
