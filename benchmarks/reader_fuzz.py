"""Claim: whatever bytes it is given, a reader of files of strangers succeeds or raises an error of the library.

The targets are in `reader_fuzz_targets.py`: uploaded pictures and forms, boxes of a frame, and every file that the
command line opens. Each runs in a process of its own: atheris (libFuzzer) changes the seeds, and keeps what reaches
new lines of omnireid, python_multipart, starlette or PIL. Libraries in C, which decode pictures and tables, run but
are not watched. Printed are executions, crashes, the slowest input and the peak of memory. An input that crashes is
kept in FOLDER, and `--input FILE` runs it again.

atheris has wheels for Linux on x86-64 only: pip install 'omnireid[fuzz]'. Without it, `--mutations N` changes each seed
N times at random.

Run: python benchmarks/reader_fuzz.py [--targets picture form] [--seconds 60 | --mutations 1000] [--keep FOLDER]
"""

from __future__ import annotations

import argparse
import contextlib
import json
import random
import re
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from omnireid import OmnireidError
from omnireid.machine import describe

LONGEST_INPUT = 8192
SECONDS_FOR_AN_INPUT = 20
MEMORY_MIB = 4096
WATCHED = ["omnireid", "python_multipart", "starlette", "PIL"]


def timed(read: Callable[[bytes], object], slowest: Path) -> Callable[[bytes], None]:
    """The reader without its own errors; the seconds of the slowest input are written to a file."""
    longest = 0.0

    def run(content: bytes) -> None:
        nonlocal longest
        began = time.perf_counter()
        with contextlib.suppress(OmnireidError):
            read(content)
        taken = time.perf_counter() - began
        if taken > longest:
            longest = taken
            slowest.write_text(json.dumps({"seconds": taken, "bytes": len(content)}))

    return run


def mutated(content: bytes, rng: random.Random) -> bytes:
    """The content with up to four random changes."""
    changed = bytearray(content)
    for _ in range(rng.randint(1, 4)):
        at = rng.randrange(len(changed) + 1)
        match rng.randrange(4):
            case 0 if at < len(changed):
                changed[at] = rng.randrange(256)
            case 1:
                del changed[at : at + rng.randint(1, 64)]
            case 2:
                changed[at:at] = rng.randbytes(rng.randint(1, 16))
            case _:
                changed[at:at] = changed[: rng.randint(0, len(changed))][-64:]
    return bytes(changed)


def run_target(name: str, folder: Path, mutations: int | None, seconds: int, seed: int) -> None:
    """Run one target in this process. With atheris the process ends here."""
    if mutations is None:
        try:
            import atheris
        except ImportError:
            sys.exit("atheris is not installed: pip install 'omnireid[fuzz]', or use --mutations.")
        with atheris.instrument_imports(include=WATCHED):
            from reader_fuzz_targets import TARGETS
    else:
        from reader_fuzz_targets import TARGETS
    target = TARGETS[name]
    place = folder / "place"
    place.mkdir()
    seeds = target.seeds(place)
    with target.open(place) as read:
        run = timed(read, folder / "slowest.json")
        for content in seeds:
            read(content) if name in ("picture", "boxes") else run(content)  # these seeds must be taken
        if mutations is not None:
            mutate(run, seeds, folder, mutations, random.Random(seed))
            return
        corpus = folder / "corpus"
        corpus.mkdir()
        for number, content in enumerate(seeds):
            (corpus / f"seed-{number}").write_bytes(content)
        words = [f"-max_total_time={seconds}", f"-max_len={LONGEST_INPUT}", f"-timeout={SECONDS_FOR_AN_INPUT}"]
        words += [f"-rss_limit_mb={MEMORY_MIB}", f"-artifact_prefix={folder}/", f"-seed={seed}", "-print_final_stats=1"]
        atheris.Setup([sys.argv[0], *words, str(corpus)], run)
        atheris.Fuzz()


def mutate(run: Callable[[bytes], None], seeds: list[bytes], folder: Path, count: int, rng: random.Random) -> None:
    """Run each seed with so many random changes."""
    for content in seeds:
        for _ in range(count):
            changed = mutated(content, rng)
            try:
                run(changed)
            except BaseException:
                (folder / "crash").write_bytes(changed)
                raise
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    print(f"stat::number_of_executed_units: {count * len(seeds)}\nstat::peak_rss_mb: {peak}", file=sys.stderr)


def report(name: str, words: list[str], keep: Path) -> bool:
    """Run a target in a process of its own, and print what came of it; whether it held."""
    folder = keep / name
    folder.mkdir(parents=True)
    done = subprocess.run(
        [*words, "--target", name, "--keep", str(folder)], capture_output=True, text=True, check=False
    )
    stats = dict(re.findall(r"stat::(\w+):\s+(\d+)", done.stderr))
    slowest = folder / "slowest.json"
    slow = json.loads(slowest.read_text()) if slowest.exists() else {"seconds": 0.0, "bytes": 0}
    held = done.returncode == 0
    print(
        f"{name:<16} {int(stats.get('number_of_executed_units', 0)):>9,} executions, {0 if held else 1} crashes, "
        f"slowest {1000 * slow['seconds']:,.0f} ms ({slow['bytes']:,} bytes), peak {stats.get('peak_rss_mb', '?')} MiB",
        flush=True,
    )
    if not held:
        print(f"{done.stdout[-2000:]}{done.stderr[-4000:]}\ninputs that crash: {folder}", flush=True)
    return held


def main() -> int:
    """Run the targets, and return 0 where all held."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--targets", nargs="+", help="targets to run; by default all")
    parser.add_argument("--seconds", type=int, default=60, help="for each target")
    parser.add_argument("--mutations", type=int, help="random changes of each seed, without atheris")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--keep", type=Path, help="folder for inputs that crash")
    parser.add_argument("--input", type=Path, help="run this input once, by the one target of --targets")
    parser.add_argument("--target", help=argparse.SUPPRESS)  # the process of one target
    given = parser.parse_args()
    if given.target is not None:
        run_target(given.target, given.keep, given.mutations, given.seconds, given.seed)
        return 0
    from reader_fuzz_targets import TARGETS

    if given.input is not None:
        with tempfile.TemporaryDirectory() as place, TARGETS[given.targets[0]].open(Path(place)) as read:
            read(given.input.read_bytes())
        return 0
    print(f"{describe()}\nseed {given.seed}", flush=True)
    words = [sys.executable, __file__, "--seconds", str(given.seconds), "--seed", str(given.seed)]
    words += [] if given.mutations is None else ["--mutations", str(given.mutations)]
    keep = Path(tempfile.mkdtemp(prefix="omnireid-reader-fuzz-")) if given.keep is None else given.keep
    held = [report(name, words, keep) for name in given.targets or TARGETS]
    return 0 if all(held) else 1


if __name__ == "__main__":
    sys.exit(main())
