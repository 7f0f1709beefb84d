"""Claim: whatever is sent to the service, it answers with what its OpenAPI document says, and never with a 500.

Drawn people are put into a calibrated gallery. For each role, and for somebody without a token, `omnireid serve` serves
a fresh copy of it in a process of its own, on loopback, and schemathesis visits every route: with the examples of the
document, with valid and invalid data at the limits of each field, with random valid and invalid data, and in sequences
in which answers supply what the next request needs. Pictures are drawn crops, half of them damaged. Every answer must
have a documented status, content type and shape, invalid data must be refused, and a route must be refused without the
right token. Whether valid data is accepted is not checked: most people and sightings that it names are not there.

Requests and their statuses are counted from the service's own log. Afterwards the process must still be there, and
`omnireid gallery check` must find nothing. Expect a minute for each caller with 20 examples a route.

Run: python benchmarks/service_fuzz.py [--examples 100] [--seconds 300] [--callers admin write] [--seed 1]
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import os
import random
import re
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from omnireid import Gallery
from omnireid.cli import main as omnireid
from omnireid.machine import describe
from omnireid.service.tokens import ROLES, add_token, tokens_file
from service_load import make_gallery, serving

NO_TOKEN = "nobody"
CALLERS = (*reversed(ROLES), NO_TOKEN)
UNCHECKED = "positive_data_acceptance"
SIGHTINGS = 160
LONGEST_ANSWER_S = 20
HOOKS = "service_fuzz_hooks"


@dataclass(frozen=True)
class Fuzzed:
    """What happened to the service of one caller.

    Attributes:
        caller: A role, or nobody.
        statuses: Status to the number of answers that had it.
        defects: Answers that do not fit the document, as schemathesis reports them, and whatever else went wrong.
    """

    caller: str
    statuses: Counter[int]
    defects: tuple[str, ...]

    def row(self) -> str:
        """One line about it."""
        failed = sum(count for status, count in self.statuses.items() if status >= 500 or status == 0)
        kinds = ", ".join(f"{status}: {count:,}" for status, count in sorted(self.statuses.items()))
        return (
            f"{self.caller:<7} {self.statuses.total():>7,} requests, {failed} of them 500 or above, "
            f"{len(self.defects)} other defects   ({kinds})"
        )


def make_calibrated_gallery(folder: Path) -> tuple[Path, Path]:
    """A calibrated gallery of drawn people, and the folder of its crops."""
    gallery, _crops = make_gallery(folder, SIGHTINGS, None)
    calibration = str(folder / "calibration.json")
    with contextlib.redirect_stdout(io.StringIO()):
        for words in (
            ["calibrate", "--data", str(folder / "people"), "--output", calibration],
            ["gallery", "calibrate", calibration, "--gallery", str(gallery)],
        ):
            if code := omnireid(words):
                raise SystemExit(code)
    return gallery, folder / "people"


def fuzz(folder: Path, caller: str, options: Sequence[str]) -> Fuzzed:
    """Serve a copy of the gallery in `folder`, and let schemathesis ask as `caller`."""
    place = folder / caller
    gallery, kept, log = place / "g", place / "kept", place / "log"
    shutil.copytree(folder / "g", gallery)
    token_of: dict[str, str] = {role: add_token(tokens_file(str(gallery), None), f"a-{role}", role) for role in ROLES}
    flags = ["--runtime", "onnxruntime", "--serve-crops", str(folder / "people")]
    defects: list[str] = []
    with serving(gallery, kept, *flags, log=log) as served:
        words = [sys.executable, "-m", "schemathesis.cli", "run", f"{served.address}v1/openapi.json", "--no-color"]
        words += ["--checks", "all", "--exclude-checks", UNCHECKED, "--generation-database", "none"]
        words += ["--continue-on-failure", "--request-timeout", str(LONGEST_ANSWER_S), "--warnings", "off", *options]
        if caller != NO_TOKEN:
            words += ["--header", f"Authorization: Bearer {token_of[caller]}"]
        environment = {**os.environ, "SCHEMATHESIS_HOOKS": HOOKS, "OMNIREID_FUZZ_CROPS": str(folder / "people")}
        environment["PYTHONPATH"] = os.pathsep.join([str(Path(__file__).parent), environment.get("PYTHONPATH", "")])
        done = subprocess.run(words, cwd=place, env=environment, capture_output=True, text=True, check=False)
        if served.process.poll() is not None:
            defects.append(f"the service ended with {served.process.returncode}")
        if done.returncode:
            defects += defects_in(done.stdout) or [done.stdout[-2000:] + done.stderr[-2000:]]
    lines = log.read_text().splitlines()
    defects += [line for line in lines if line.startswith(("request ", "Traceback"))]
    defects += list(Gallery.open(gallery).check().problems)
    answered = [json.loads(line) for line in lines if line.startswith("{")]
    return Fuzzed(caller, Counter(answer["status"] for answer in answered), tuple(defects))


def defects_in(output: str) -> list[str]:
    """What schemathesis reports as errors and failures, an entry for each route."""
    found: list[str] = []
    for title in ("ERRORS", "FAILURES"):
        section = re.search(rf"^=+ {title} =+\n(.*?)(?=^=+ [A-Z]+ =+\n|\Z)", output, re.MULTILINE | re.DOTALL)
        if section:
            routes = re.split(r"^(?=_+ [^\n]+ _+\n)", section[1], flags=re.MULTILINE)
            found += [route.strip() for route in routes if route.strip()]
    return found


def main() -> int:
    """Ask as each caller, print the counts, and return 0 where nothing was found."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--examples", type=int, default=100, help="random requests a route, in each phase")
    parser.add_argument("--seconds", type=int, help="longest time for each caller")
    parser.add_argument("--callers", nargs="+", choices=CALLERS, default=CALLERS)
    parser.add_argument("--phases", help="phases of schemathesis; by default all")
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(10**6))
    given = parser.parse_args()
    print(f"{describe()}\nschemathesis {version('schemathesis')}, seed {given.seed}", flush=True)
    options = ["--max-examples", str(given.examples), "--seed", str(given.seed)]
    options += [] if given.seconds is None else ["--max-time", str(given.seconds)]
    options += [] if given.phases is None else ["--phases", given.phases]
    with tempfile.TemporaryDirectory(prefix="omnireid-service-fuzz-") as place:
        make_calibrated_gallery(Path(place))
        results = []
        for caller in given.callers:
            results.append(fuzz(Path(place), caller, options))
            print("\n".join([results[-1].row(), *results[-1].defects]), flush=True)
    statuses = sum((result.statuses for result in results), Counter[int]())
    failed = sum(count for status, count in statuses.items() if status >= 500 or status == 0)
    defects = sum(len(result.defects) for result in results)
    print(f"all: {statuses.total():,} requests, {failed} answers of 500 or above, {defects} other defects")
    return 1 if failed or defects else 0


if __name__ == "__main__":
    sys.exit(main())
