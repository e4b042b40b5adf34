"""Builds every .pyx of the tree; MARGRAVE_EXT=a.b,c.d limits an in-place build to those modules.

MARGRAVE_OPTIMISE=2 (0, 1, 2, 3) sets another level than 3: the results are the same bits
(tests/properties/test_compilers.py), the build is faster and what it builds slower.
"""

import os
import sys
from pathlib import Path

from Cython.Build import cythonize
from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

ROOT = Path(__file__).parent
PACKAGES = ("margin_ext", "exchange", "persistence", "gateway", "loadtest")

# No contraction and no fast-math: the same journal gives the same bits on every machine.
COMPILE = [
    f"-O{int(os.environ.get('MARGRAVE_OPTIMISE') or 3)}",
    "-g1",
    "-ffp-contract=off",
    "-fno-math-errno",
    "-fno-trapping-math",
    "-Wno-unreachable-code",
]
DIRECTIVES = {
    "language_level": 3,
    "boundscheck": False,
    "wraparound": False,
    "cdivision": True,
    "initializedcheck": False,
    "binding": False,
    "embedsignature": True,
}


class BuildVisibly(build_ext):
    """Names each module as its compilation starts, also under --quiet."""

    def build_extension(self, ext: Extension) -> None:
        sys.stdout.write(f"    {ext.name}\n")  # one write: modules compile in parallel
        sys.stdout.flush()
        super().build_extension(ext)


def extensions() -> list[Extension]:
    only = {name for name in os.environ.get("MARGRAVE_EXT", "").split(",") if name}
    found = []
    for package in PACKAGES:
        headers = [str(path.relative_to(ROOT)) for path in (ROOT / package).rglob("*.h")]
        for source in sorted((ROOT / package).rglob("*.pyx")):
            relative = source.relative_to(ROOT)
            name = ".".join(relative.with_suffix("").parts)
            if only and name not in only:
                continue
            found.append(
                Extension(
                    name,
                    [str(relative)],
                    include_dirs=["."],
                    depends=headers,
                    extra_compile_args=COMPILE,
                )
            )
    return found


setup(
    cmdclass={"build_ext": BuildVisibly},
    ext_modules=cythonize(
        extensions(),
        compiler_directives=DIRECTIVES,
        build_dir="build/cython",
        include_path=["."],
        nthreads=0 if sys.platform == "darwin" else 2,
        quiet=True,
    ),
)
