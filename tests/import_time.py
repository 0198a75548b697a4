"""``import nsh`` is light: little more than what it stands on. Run by ``make test-wheel``.

Processor time of fresh processes, interleaved, so that a busy machine slows both alike.
"""

import resource
import statistics
import subprocess
import sys

ROUNDS, AT_MOST = 9, 1.3
BASE, OURS = "import jax, equinox, optax", "import nsh"


def seconds(program: str) -> float:
    """Processor time of a Python process."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, "-I", "-c", program], check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


pairs = [(seconds(OURS), seconds(BASE)) for _ in range(ROUNDS + 1)][1:]  # the first compiles
ratio = statistics.median(ours / base for ours, base in pairs)
ours, base = map(statistics.median, zip(*pairs, strict=True))
print(f"{OURS!r} takes {ours:.2f} s, {BASE!r} {base:.2f} s: ratio {ratio:.2f}")
assert ratio <= AT_MOST, f"the ratio must be at most {AT_MOST}"
