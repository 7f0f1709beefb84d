from __future__ import annotations

import json
import subprocess
import sys

import pytest

from omnireid.commands.models import models
from omnireid.models.zoo import KNOWN_WEIGHTS, VARIANTS


def test_the_table_has_every_variant_and_no_control_codes(capsys: pytest.CaptureFixture[str]) -> None:
    models()
    out = capsys.readouterr().out
    lines = {line.split()[0]: line for line in out.splitlines() if line.strip()}
    assert set(VARIANTS) <= set(lines)
    assert "2,169,508" in lines["osnet_x1_0"]
    assert "978.9 M" in lines["osnet_x1_0"]
    assert "osnet_x0_25.market1501" in lines["osnet_x0_25"]
    assert "91.2%" in lines["osnet_x0_25.market1501"]
    assert "research-only training data" in lines["osnet_x0_25.market1501"]
    assert "as published" in out
    assert "\x1b" not in out


def test_json_is_the_zoo(capsys: pytest.CaptureFixture[str]) -> None:
    models(json=True)
    content = json.loads(capsys.readouterr().out)
    assert [entry["name"] for entry in content["variants"]] == list(VARIANTS)
    assert content["variants"][3] == {"name": "osnet_x0_25", "parameters": 201_864, "multiply_adds": 82_314_880}
    assert [entry["name"] for entry in content["weights"]] == list(KNOWN_WEIGHTS)
    assert content["weights"][3]["published_rank1"] == 0.912


def test_runs_where_importing_torch_raises() -> None:
    program = "import sys; sys.modules['torch'] = None\nfrom omnireid.commands.models import models\nmodels()"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert "osnet_ain_x0_25" in done.stdout
