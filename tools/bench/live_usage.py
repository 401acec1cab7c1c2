"""What a process has used, as the kernel counts it: CPU time and resident memory (Linux)."""

import os
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import attrs

_TICKS_PER_S: Final = os.sysconf("SC_CLK_TCK")
_KIB_PER_MB: Final = 1_000_000 / 1024
_USER_TIME, _SYSTEM_TIME = 11, 12
"""Places in /proc/PID/stat behind the command's name, which may hold blanks."""


@attrs.frozen(kw_only=True)
class Usage:
    """CPU seconds since the start; resident memory now and at its largest, in MB (1e6 bytes)."""

    cpu_s: float
    rss_mb: float
    peak_mb: float


def usage(pid: int) -> Usage:
    """Read what a process has used. FileNotFoundError where it has ended."""
    folder = Path("/proc") / str(pid)
    fields = (folder / "stat").read_text().rpartition(")")[2].split()
    lines = [line.split() for line in (folder / "status").read_text().splitlines()]
    kib = {line[0]: int(line[1]) for line in lines if line[0] in ("VmRSS:", "VmHWM:")}
    return Usage(
        cpu_s=(int(fields[_USER_TIME]) + int(fields[_SYSTEM_TIME])) / _TICKS_PER_S,
        rss_mb=round(kib["VmRSS:"] / _KIB_PER_MB, 1),
        peak_mb=round(kib["VmHWM:"] / _KIB_PER_MB, 1),
    )


def slope(values: Sequence[float]) -> float | None:
    """Give by how much equally spaced values grow from one to the next (least squares); None for fewer than three."""
    if len(values) < 3:  # noqa: PLR2004 - two points always lie on a line
        return None
    return statistics.linear_regression(range(len(values)), values).slope
