"""Carry out the steps of the Containerfile without a container engine, in a clean folder, and use what comes out.

The folder stands for the root of the file system: absolute paths of the Containerfile's own folders are put below it.
The last stage then runs as the user that USER names: a gallery is made, a token added, and the service started and
asked for its health. That user may write below /data and /tmp only; everything else belongs to root.

What this does not try: the base image, its Python, and the limits that an engine would set.

Run as root: python packaging/try_containerfile.py SOURCE
"""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

CONTAINERFILE = Path(__file__).resolve().parent / "Containerfile"
OWN_FOLDERS = ("/source", "/opt/omnireid", "/data")
STARTING_S = 60


def read_steps(text: str) -> list[tuple[str, str]]:
    """The instructions of a Containerfile and what they are given."""
    lines = re.sub(r"\\\n", " ", "\n".join(line for line in text.splitlines() if not line.startswith("#"))).splitlines()
    return [(word, rest.strip()) for line in lines if line.strip() for word, _, rest in [line.partition(" ")]]


class Image:
    """The result of the steps: a folder in the place of the root, the environment, and what is run."""

    def __init__(self, root: Path, source: Path) -> None:
        self.root, self.source = root, source
        # The image's user could not run a Python from the home of root, so the system's is taken.
        self.environment: dict[str, str] = {"PATH": "/usr/local/bin:/usr/bin:/bin", "HOME": "/tmp"}
        self.user, self.folder = 0, root
        self.commands: dict[str, list[str]] = {}

    def below(self, text: str) -> str:
        """A text with the Containerfile's own folders put below the root."""
        return re.sub(rf"(?<![\w/])({'|'.join(OWN_FOLDERS)})\b", rf"{self.root}\1", text)

    def carry_out(self, word: str, rest: str) -> None:
        """Carry out one instruction."""
        print(f"{word} {rest}", flush=True)
        if word == "COPY" and not rest.startswith("--from"):
            shutil.copytree(self.source, self.below(rest.split()[1]))
        elif word == "RUN":
            subprocess.run(["bash", "-euc", self.below(rest)], env=self.environment, check=True)
        elif word == "ENV":
            self.environment |= {key: self.below(value) for key, value in re.findall(r"(\w+)=(\S+)", rest)}
        elif word == "USER":
            self.user = int(rest.split(":", maxsplit=1)[0])
        elif word == "WORKDIR":
            self.folder = Path(self.below(rest))
        elif word in ("ENTRYPOINT", "CMD", "HEALTHCHECK"):
            self.commands[word] = [self.below(part) for part in json.loads(rest[rest.index("[") :])]
        elif word not in ("FROM", "EXPOSE", "COPY"):
            raise SystemExit(f"There is no way to try the instruction {word} without an engine.")

    def start(self, words: Sequence[str], **options: object) -> subprocess.Popen[str]:
        """Start a program as the image's user."""
        return subprocess.Popen(  # type: ignore[call-overload, no-any-return]
            list(words),
            env=self.environment,
            cwd=self.folder,
            user=self.user,
            group=self.user,
            extra_groups=[],
            text=True,
            **options,
        )

    def run(self, *words: str) -> None:
        """Run the entry point with other words, as `podman run omnireid WORDS` does."""
        if self.start([*self.commands["ENTRYPOINT"], *words]).wait():
            raise SystemExit(f"{' '.join(words)} failed.")


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def with_port(words: Sequence[str], port: int) -> list[str]:
    """Words with another port than 8000, which may be taken here."""
    return [word.replace("8000", str(port)) for word in words]


def serve_until_healthy(image: Image, environment: Mapping[str, str]) -> None:
    """Start the service as the image would, and run its health check until it passes."""
    port = free_port()
    service = image.start(with_port([*image.commands["ENTRYPOINT"], *image.commands["CMD"]], port))
    try:
        deadline = time.monotonic() + STARTING_S
        check = with_port(image.commands["HEALTHCHECK"], port)
        while image.start(check, stderr=subprocess.DEVNULL).wait():
            if service.poll() is not None or time.monotonic() > deadline:
                raise SystemExit("The service did not become healthy.")
            time.sleep(0.5)
    finally:
        service.terminate()
        service.wait(timeout=30)
    print(f"healthy; served as user {image.user} from {environment['PATH'].split(':')[0]}")


def main(source: Path) -> None:
    """Carry out all steps, then use the result."""
    if os.geteuid():
        raise SystemExit("Trying the Containerfile needs root, to become the user that it names.")
    with tempfile.TemporaryDirectory(prefix="omnireid-image-") as folder:
        root = Path(folder)
        root.chmod(0o755)
        image = Image(root, source)
        for word, rest in read_steps(CONTAINERFILE.read_text(encoding="utf-8")):
            image.carry_out(word, rest)
        people, gallery = str(root / "data" / "people"), str(root / "data" / "people.gallery")
        image.run("synthesize", people, "--identities", "4", "--cameras", "2", "--per-camera", "1")
        image.run("gallery", "add", f"{people}/bounding_box_test", "--gallery", gallery)
        refused = image.start([*image.commands["ENTRYPOINT"], *image.commands["CMD"]], stderr=subprocess.PIPE)
        if "token" not in refused.communicate(timeout=STARTING_S)[1] or refused.returncode != 2:
            raise SystemExit("Without a token the service must refuse to start on all addresses.")
        image.run("serve", "token", "add", "--gallery", gallery, "--name", "anna", "--role", "read")
        serve_until_healthy(image, image.environment)


if __name__ == "__main__":
    main(Path(sys.argv[1]).resolve())
