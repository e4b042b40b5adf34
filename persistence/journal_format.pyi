import numpy as np
from typing_extensions import Buffer

SLOT_BYTES: int
RECORD_DTYPE: np.dtype
WHOLE: int
NONE: int
TORN: int
DISORDER: int

def crc32c(data: Buffer, initial: int = 0) -> int: ...
def crc32c_software(data: Buffer, initial: int = 0) -> int: ...
def parse_segment_header(data: Buffer) -> tuple[int, int, int, int, int, int] | None: ...

class SegmentCursor:
    segment_index: int
    offset: int
    next_seq: int
    epoch: int
    verdict: int
    def __init__(self, data: Buffer, segment_index: int, first_seq: int, epoch: int) -> None: ...
    def next(self) -> tuple[int, int, int, int] | None: ...
    def trim(self, start: int, stop: int, seq: int) -> int: ...
    def find_later(self) -> int: ...
