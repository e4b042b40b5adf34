def instruction_set() -> str:
    """Name of the kernels in use: "avx512", "avx2" or "base"."""

def exp(x: float) -> float:
    """e**x without libm: the same bits on every machine. Relative error below 1e-15."""

def log(x: float) -> float:
    """Natural logarithm without libm; -inf at 0, NaN below. Relative error below 1e-15."""

def power(x: float, y: float) -> float:
    """x**y for x >= 0 without libm; relative error below 2**-52 * (2 + |y ln x|). NaN for x < 0, y != 0."""
