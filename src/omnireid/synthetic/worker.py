"""Drawing in several processes.

They are started as ``python -m omnireid.synthetic.worker`` rather than by
`multiprocessing`, which on macOS and Windows runs the caller's script again in
each process. That fails in every script without a ``__main__`` guard. A process
reads its share as JSON from standard input and reports progress in lines of JSON
on standard output.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

from omnireid.errors import OutputError
from omnireid.machine import usable_cores
from omnireid.synthetic.plan import Plan, draw_planned, planned_crops

_REPORT_EVERY = 10
_CROPS_WORTH_A_PROCESS = 300  # starting a process takes as long as drawing about 40 crops


def suggest_workers(crops: int) -> int:
    """The number of processes that pay off for this many crops, at most one per core and at most 8."""
    if getattr(sys, "frozen", False) or not sys.executable:
        return 1  # a bundled program has no Python to start
    return max(1, min(usable_cores(), 8, crops // _CROPS_WORTH_A_PROCESS))


def draw_in_processes(plan: Plan, root: Path, workers: int, advance: Callable[[int], None]) -> None:
    """Draw all crops of `plan` into the folders of `root` with `workers` processes.

    Raises:
        OSError: a process could not write.
        OutputError: a process ended before its share was done.
    """
    path = os.pathsep.join(entry or str(Path.cwd()) for entry in sys.path)
    environment = {**os.environ, "PYTHONPATH": path}
    processes: list[subprocess.Popen[str]] = []
    try:
        for _ in range(workers):
            processes.append(  # noqa: PERF401  (if one fails to start, the earlier ones must be in the list)
                subprocess.Popen(
                    [sys.executable, "-m", "omnireid.synthetic.worker"],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    env=environment,
                    text=True,
                )
            )
        with ThreadPoolExecutor(workers) as threads:
            try:
                shares = [
                    threads.submit(_run_share, process, _task(plan, root, share, workers), advance)
                    for share, process in enumerate(processes)
                ]
                for share in shares:
                    share.result()
            finally:
                _kill_all(processes)  # after an error or Ctrl-C, the threads would wait for reports that never come
    finally:
        _kill_all(processes)
        for process in processes:
            process.__exit__(None, None, None)


def _kill_all(processes: list[subprocess.Popen[str]]) -> None:
    """Kill the processes that are still running."""
    for process in processes:
        process.kill()


def _task(plan: Plan, root: Path, share: int, workers: int) -> str:
    return json.dumps({"plan": plan.parameters, "root": str(root.absolute()), "share": share, "workers": workers})


def _run_share(process: subprocess.Popen[str], task: str, advance: Callable[[int], None]) -> None:
    """Send a process its share, and pass on its progress until it ends."""
    if process.stdin is None or process.stdout is None:
        raise OutputError("A drawing process was started without pipes. Run again with one worker.")
    with suppress(BrokenPipeError):  # the process has ended already; its return code says more
        process.stdin.write(task)
        process.stdin.close()
    for line in process.stdout:
        report = json.loads(line)
        if "errno" in report:
            raise OSError(report["errno"], report["strerror"])
        advance(report["drawn"])
    if process.wait():
        raise OutputError(
            f"A drawing process ended with code {process.returncode} before its crops were done; "
            "it may have run out of memory. Run again with one worker."
        )


def _report(report: dict[str, object]) -> None:
    sys.stdout.write(json.dumps(report) + "\n")
    sys.stdout.flush()


def main() -> None:
    """Draw the share described on standard input."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the parent too, which ends this process
    task = json.load(sys.stdin)
    plan = Plan(**task["plan"])
    crops = planned_crops(plan)
    first, last = (len(crops) * share // task["workers"] for share in (task["share"], task["share"] + 1))
    drawn = 0

    def advance(count: int) -> None:
        nonlocal drawn
        drawn += count
        if drawn % _REPORT_EVERY == 0:
            _report({"drawn": _REPORT_EVERY})

    try:
        draw_planned(plan, crops[first:last], Path(task["root"]), advance)
        _report({"drawn": drawn % _REPORT_EVERY})
    except OSError as error:
        _report({"errno": error.errno, "strerror": error.strerror})


if __name__ == "__main__":
    main()
