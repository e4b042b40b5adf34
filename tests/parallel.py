"""How the tests are shared out where several processes run them (pytest-xdist).

A file is one unit of work, because many files start a venue that their tests share. Files in which each test stands for
itself and takes long are shared out test by test, first of all, so that no process is left with a long one at the end.
"""

from xdist.scheduler.loadscope import LoadScopeScheduling

LONG = ("tests/properties/", "tests/simulation/", "tests/recovery/")


def weight(nodeid: str) -> int:
    """Units with less come first."""
    return next((number for number, room in enumerate(LONG) if nodeid.startswith(room)), len(LONG))


class ByWeight(LoadScopeScheduling):
    """Work in the order in which the workers collected it."""

    def __init__(self, config, log=None):
        super().__init__(config, log)
        config.option.loadscopereorder = False

    def _split_scope(self, nodeid: str) -> str:
        file, _, test = nodeid.partition("::")
        if file.endswith("test_compilers.py"):
            return file + test.partition("[")[2]  # the tests of a build
        return nodeid if weight(nodeid) < len(LONG) else file
