"""Write the golden event files anew: python -m tests.golden.make_events [name ...]"""

import sys

from tests.golden.scenes import EVENTS, played, scenes

if __name__ == "__main__":
    EVENTS.mkdir(exist_ok=True)
    for name, scene in scenes().items():
        if not sys.argv[1:] or name in sys.argv[1:]:
            (EVENTS / f"{name}.json").write_text(played(scene))
