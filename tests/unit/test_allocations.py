"""No message allocates: the allocator's calls are counted by a library put in front of it."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
COUNTER = """
#include <stddef.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <unistd.h>
extern void *__libc_malloc(size_t);
extern void *__libc_calloc(size_t, size_t);
extern void *__libc_realloc(void *, size_t);
extern void *__libc_memalign(size_t, size_t);
static unsigned long calls;
unsigned long allocation_calls(void) { return calls; }
void *malloc(size_t size) { calls++; return __libc_malloc(size); }
void *calloc(size_t count, size_t size) { calls++; return __libc_calloc(count, size); }
void *realloc(void *old, size_t size) { calls++; return __libc_realloc(old, size); }
void *memalign(size_t to, size_t size) { calls++; return __libc_memalign(to, size); }
void *aligned_alloc(size_t to, size_t size) { calls++; return __libc_memalign(to, size); }
int posix_memalign(void **at, size_t to, size_t size) { calls++; *at = __libc_memalign(to, size); return *at ? 0 : 12; }
void *mmap(void *at, size_t size, int rights, int flags, int file, off_t from)
{ calls++; return (void *)syscall(SYS_mmap, at, size, rights, flags, file, from); }
"""
PLAYED = """
import ctypes
from exchange.market.matching import Matcher
from loadtest import workload
from loadtest.workload_matching import ONE, TWO_HUNDRED, draw

calls = ctypes.CDLL(None).allocation_calls
calls.restype = ctypes.c_ulong
for name, shape in (("one", ONE), ("two_hundred", TWO_HUNDRED)):
    shape = shape._replace(messages=40_000)
    opening, messages = draw(shape, 3)
    before = calls()
    matcher = Matcher(shape.books, shape.max_price_units, len(opening) + shape.messages, 1 << 12)
    matcher.run(opening)
    print(name, "opening", calls() - before)
    half = len(messages) // 2
    matcher.run(messages[:half])
    rest = messages[half:]
    before = calls()
    matcher.run(rest)
    print(name, "messages", calls() - before)
    assert matcher.trades > 1_000
flow = workload.plan(5, 12_000)
engine = workload.replayed(flow)
apply, records = engine.apply, flow.records
for record in records[:9_000]:
    apply(record)
engine.take_events()
for record in records[9_000:10_000]:
    apply(record)
engine.take_events()
before = calls()
for record in records[10_000:]:
    apply(record)
print("engine", "messages", calls() - before)
"""


def test_a_message_allocates_nothing_once_the_tables_have_grown(tmp_path: Path) -> None:
    """At most one call for 20,000 messages of the bench's flows in the book (the index of ids may double once more);
    in the whole engine, margin and events included, less than one for 50 (buffers that still double)."""
    compiler = shutil.which(os.environ.get("CC", "cc").split()[-1])
    if sys.platform != "linux" or "CS_GNU_LIBC_VERSION" not in os.confstr_names or compiler is None:
        pytest.skip("counting needs the GNU C library and a compiler")
    source, library = tmp_path / "count.c", tmp_path / "count.so"
    source.write_text(COUNTER)
    subprocess.run([compiler, "-O1", "-shared", "-fPIC", "-o", library, source], check=True, timeout=60)
    environment = {**os.environ, "LD_PRELOAD": str(library), "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", PLAYED], cwd=ROOT, env=environment, capture_output=True, text=True, timeout=100
    )
    assert done.returncode == 0, done.stderr
    found = {(who, what): int(n) for who, what, n in re.findall(r"(\w+) (\w+) (\d+)", done.stdout)}
    assert found["one", "opening"] > 0 and found["two_hundred", "opening"] > 0, "the counter counts nothing"
    assert max(found["one", "messages"], found["two_hundred", "messages"]) <= 1
    assert found["engine", "messages"] < 2_000 // 50
