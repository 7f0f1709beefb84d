"""Claim: ``omnireid --help`` answers in under 0.5 s, ``import omnireid`` takes at most 0.15 s and loads nothing heavy.

The baseline is an empty Python process on the same machine; the import is charged
what it takes beyond that.

With --install-size, the core is installed into a new environment, from this folder
with the versions of constraints.txt. The size of each package is printed in MB
(10⁶ bytes), largest first. The total is the difference of what du reports for the
environment before and after, so it counts compiled modules, folders and whole
disk blocks. This needs a network.

Run: python benchmarks/startup.py [--install-size]
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
import time
import venv
from pathlib import Path

from omnireid.machine import describe

RUNS = 15
ROOT = Path(__file__).resolve().parents[1]
IMPORT_TARGET_S = 0.15
HEAVY = ("numpy", "PIL", "pyarrow", "onnxruntime", "openvino", "torch", "tyro", "rich", "safetensors")
COMMANDS = {
    "python -c pass": [sys.executable, "-c", "pass"],
    "omnireid --help": [sys.executable, "-m", "omnireid", "--help"],
    "omnireid evaluate --help": [sys.executable, "-m", "omnireid", "evaluate", "--help"],
    "import omnireid": [sys.executable, "-c", "import omnireid"],
}


def median_seconds(words: list[str]) -> float:
    """Median wall-clock time of RUNS runs, after one run that warms the disk cache."""
    times = []
    for _ in range(RUNS + 1):
        start = time.perf_counter()
        subprocess.run(words, check=True, stdout=subprocess.DEVNULL)
        times.append(time.perf_counter() - start)
    return statistics.median(times[1:])


def heavy_modules() -> list[str]:
    """What ``import omnireid`` loads of the heavy modules; it should be nothing."""
    program = f"import sys, omnireid; print(*set({HEAVY}) & set(sys.modules))"
    return subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True).stdout.split()


SIZES = """
from importlib.metadata import distributions
for package in distributions():
    files = [package.locate_file(file) for file in package.files or ()]
    print(package.name, sum(file.stat().st_size for file in files if file.is_file()))
"""


def used_bytes(folder: Path) -> int:
    """Space that a folder takes on the disk, as du counts it."""
    return sum(512 * path.lstat().st_blocks for path in (folder, *folder.rglob("*")))


def install_size() -> None:
    """Print the size of the core install, package by package."""
    with tempfile.TemporaryDirectory() as place:
        venv.create(place, with_pip=True)
        python = Path(place) / ("Scripts" if sys.platform == "win32" else "bin") / "python"
        words = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        before = used_bytes(Path(place))
        subprocess.run([*words, "--constraint", str(ROOT / "constraints.txt"), str(ROOT)], check=True)
        # Without the variable, so that the environment is not this one.
        shown = subprocess.run([str(python), "-I", "-c", SIZES], check=True, capture_output=True, text=True).stdout
        total = used_bytes(Path(place)) - before
    sizes = {name: int(size) for name, size in (line.rsplit(" ", 1) for line in shown.splitlines())}
    sizes = {name: size for name, size in sizes.items() if name not in ("pip", "setuptools")}
    for name, size in sorted(sizes.items(), key=lambda entry: -entry[1]):
        print(f"{name:<24} {size / 1e6:>8.1f} MB")
    print(f"{'together, as du counts':<24} {total / 1e6:>8.1f} MB{'' if 'torch' not in sizes else ', with torch'}")


def main() -> None:
    if "--install-size" in sys.argv:
        install_size()
        return
    seconds = {name: median_seconds(words) for name, words in COMMANDS.items()}
    baseline = seconds["python -c pass"]
    print(f"{'command':<26} {'seconds':>8} {'ratio':>6}")
    for name, value in seconds.items():
        print(f"{name:<26} {value:>8.3f} {value / baseline:>6.1f}")
    beyond = seconds["import omnireid"] - baseline
    met = "met" if beyond <= IMPORT_TARGET_S else "MISSED"
    print(f"import omnireid: {beyond:.3f} s beyond an empty process; target {IMPORT_TARGET_S} s: {met}")
    print(f"heavy modules it loads: {', '.join(heavy_modules()) or 'none'}")
    print(describe().text())


if __name__ == "__main__":
    main()
