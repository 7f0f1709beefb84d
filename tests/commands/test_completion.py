from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from omnireid.cli import COMMANDS, main


@pytest.fixture(scope="module")
def script(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("completion") / "omnireid.bash"
    with pytest.MonkeyPatch.context() as patch, file.open("w") as opened:
        patch.setattr("sys.stdout", opened)
        assert main(["completion", "bash"]) == 0
    return file


def completed(script: Path, *words: str, folder: Path | None = None) -> list[str]:
    """What bash offers for the last word."""
    typed = " ".join(f"'{word}'" for word in ("omnireid", *words))
    program = (
        f'source {script}; COMP_WORDS=({typed}); COMP_CWORD={len(words)}; _omnireid; printf "%s\\n" "${{COMPREPLY[@]}}"'
    )
    done = subprocess.run(["bash", "-c", program], cwd=folder, capture_output=True, text=True, check=True)
    return done.stdout.split()


def test_bash_completes_commands_groups_and_flags(script: Path, tmp_path: Path) -> None:
    assert set(completed(script, "")) == set(COMMANDS)
    assert completed(script, "gal") == ["gallery"]
    assert completed(script, "gallery", "opt") == ["optimize"]
    assert "--receipt" in completed(script, "gallery", "remove", "--gallery", "people.gallery", "--re")
    assert completed(script, "serve", "token", "rev") == ["revoke"]
    (tmp_path / "crops").mkdir()
    assert completed(script, "embed", "cr", folder=tmp_path) == ["crops"]
    assert completed(script, "serve", "tok", folder=tmp_path) == ["token"]


def test_fish_and_zsh_have_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["completion", "zsh"]) == 0
    assert capsys.readouterr().out.startswith("autoload -U +X bashcompinit")
    assert main(["completion", "fish"]) == 0
    shown = capsys.readouterr().out
    assert all(verb in shown.splitlines()[0] for verb in COMMANDS)
    assert "from gallery; and __fish_seen_subcommand_from remove' -l receipt" in shown


def test_the_manual_page_has_every_command_and_is_read_without_a_warning(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["manual"]) == 0
    page = tmp_path / "omnireid.1"
    page.write_text(capsys.readouterr().out)
    written = page.read_text().replace("\\-", "-")
    assert all(f".B {verb}\n" in written for verb in COMMANDS)
    if shutil.which("groff"):
        done = subprocess.run(["groff", "-man", "-Tutf8", "-ww", str(page)], capture_output=True, text=True, check=True)
        assert "gallery remove" in done.stdout
