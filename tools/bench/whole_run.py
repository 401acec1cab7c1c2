"""Run a command to its end and print its wall time and its largest memory as one line of JSON.

    python -m tools.bench.whole_run CORE STDERR_FILE COMMAND...

It exists since the kernel lets a new program inherit the memory mark of whoever started it: started from here, a
program inherits no more than these few MiB. CORE is the one to stay on, -1 for any.
"""

import json
import os
import sys
import time

KIB_PER_MIB = 1024


def main() -> None:
    """Run what the command line names; its exit status is reported, not passed on."""
    core, stderr_path, command = int(sys.argv[1]), sys.argv[2], sys.argv[3:]
    if core >= 0 and hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {core})
    quiet = os.open(os.devnull, os.O_WRONLY)
    stderr = os.open(stderr_path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    began = time.perf_counter()
    pid = os.posix_spawn(
        command[0],
        command,
        os.environ,
        file_actions=[(os.POSIX_SPAWN_DUP2, quiet, 1), (os.POSIX_SPAWN_DUP2, stderr, 2)],
    )
    _, status, used = os.wait4(pid, 0)
    wall_s = time.perf_counter() - began
    exit_code = os.waitstatus_to_exitcode(status)
    print(json.dumps({"exit": exit_code, "wall_s": wall_s, "peak_memory_mib": used.ru_maxrss / KIB_PER_MIB}))


if __name__ == "__main__":
    main()
