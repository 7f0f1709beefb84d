from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from omnireid import synthesize
from omnireid.bench import benchmark, session
from omnireid.bench.run_configurations import find_references, list_configurations
from omnireid.cli import EXIT_ERROR, main
from omnireid.embedding.run_configuration import RunConfiguration
from omnireid.embedding.weights_file import make_graph
from omnireid.files import sha256_of
from omnireid.weights.artefact import METADATA_KEY, read_artefact
from omnireid.weights.graph_file import Graph, GraphMetadata, record_of, sealed, write_graph

QUICK = ["--seconds", "0.01"]


@pytest.fixture(scope="module", autouse=True)
def _one_start() -> Any:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(session, "_STARTS", 1)
        yield


@pytest.fixture
def no_measuring(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fails the test if anything is measured."""

    def measure_configurations(*_arguments: Any, **_more: Any) -> None:
        pytest.fail("It was measured.")

    monkeypatch.setattr(benchmark, "measure_configurations", measure_configurations)


def graph_of(untrained: Path, path: Path, **changes: Any) -> Path:
    """A graph of the untrained weights that says what `changes` have it say."""
    import onnx

    tensors, metadata = read_artefact(untrained)
    described = GraphMetadata(metadata, weights_sha256=sha256_of(untrained))
    model = onnx.load_from_string(make_graph(tensors, described, where="test").content)
    described = GraphMetadata(metadata, **{"weights_sha256": sha256_of(untrained), **changes})
    model.metadata_props.add(key=METADATA_KEY, value=record_of(described))
    content = sealed(model.SerializeToString(deterministic=True))
    write_graph(path, Graph("onnx", content, described))
    return path


def test_tables_json_and_picture_with_scores(
    tmp_path: Path, untrained: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    people = synthesize(tmp_path / "people", identities=4, cameras=2, per_camera=2, workers=1)
    report, picture = tmp_path / "out.json", tmp_path / "out.png"
    words = ["bench", str(untrained), "--runtimes", "onnxruntime", "--data", str(people), "--threads", "1"]
    assert main([*words, *QUICK, "--json", str(report), "--picture", str(picture)]) == 0
    shown = capsys.readouterr()
    assert "each in processes of its own: onnxruntime fp32" in shown.err
    assert "\x1b" not in shown.out
    rows = [line.split() for line in shown.out.splitlines() if line.strip().startswith(untrained.name)]
    assert [row[1:3] for row in rows] == 2 * [["onnxruntime", "fp32"]]
    assert "cosines with torch fp32, on queries of the data" in shown.out
    assert "onnxruntime 1." in shown.out

    record = json.loads(report.read_text())
    settings = {"dataset", "seconds", "device", "threads"}
    assert set(record) == {"machine", "versions", "configurations", "refused", *settings}
    assert record["dataset"] == "synthetic"
    assert record["refused"] == []
    for configuration in record["configurations"]:
        assert configuration["architecture"] == "osnet_x0_25"
        assert set(configuration["batches"]) == {"1", "8", "32"}
        for figures in configuration["batches"].values():
            assert all(value > 0 for value in figures.values())
            assert figures["latency_p50_s"] <= figures["latency_p95_s"]
        assert configuration["startup_s"] > 0
        assert configuration["peak_memory_bytes"] is None or configuration["peak_memory_bytes"] > 0
        assert configuration["parity"]["reference"] == "torch fp32"
        assert configuration["parity"]["smallest"] > 0.9999
        assert (configuration["parity"]["crops"], configuration["device"]) == (4, "cpu, 1 thread")
        assert 0 < configuration["mean_average_precision"] <= 1
        assert 0 <= configuration["rank1"] <= 1
    assert len(record["configurations"]) == 1
    with Image.open(picture) as image:
        assert image.format == "PNG"
        assert min(image.size) > 300


@pytest.mark.slow
def test_what_cannot_run_is_listed_with_the_reason(
    tmp_path: Path, untrained: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    graph = graph_of(untrained, tmp_path / "graph.onnx")
    report = tmp_path / "out.json"
    words = ["bench", str(graph), "--runtimes", "torch", "onnxruntime", "--json", str(report), *QUICK]
    assert main([*words, "--picture", str(tmp_path / "out.png")]) == 0
    assert "not measured: graph.onnx torch fp32: " in capsys.readouterr().out
    record = json.loads(report.read_text())
    (refused,) = record["refused"]
    assert "is a graph for onnxruntime or openvino" in refused.pop("reason")
    assert refused == {"weights": str(graph), "runtime": "torch", "precision": "fp32"}
    (configuration,) = record["configurations"]
    assert configuration["parity"]["reference"] == "onnxruntime fp32"
    assert configuration["rank1"] is None
    assert (tmp_path / "out.png").is_file()


def test_where_nothing_runs_it_is_an_error(tmp_path: Path, untrained: Path, capsys: pytest.CaptureFixture[str]) -> None:
    graph = graph_of(untrained, tmp_path / "graph.onnx")
    assert main(["bench", str(graph), "--runtimes", "onnxruntime", "--device", "dml", *QUICK]) == EXIT_ERROR
    assert "error: Nothing could be measured. onnxruntime fp32: Device dml is not there" in capsys.readouterr().err


def test_configurations_and_references_of_several_files(tmp_path: Path, untrained: Path) -> None:
    int8 = graph_of(untrained, tmp_path / "int8.onnx", precision="int8")
    alone = graph_of(untrained, tmp_path / "alone.onnx", precision="int8", weights_sha256="0" * 64)
    configurations = list_configurations([untrained, int8], ["onnxruntime", "openvino", "torch"])
    assert [configuration.name for configuration in configurations if configuration.weights == untrained] == [
        "onnxruntime fp32",
        "openvino fp32",
        "openvino bf16",
        "openvino fp16",
        "torch fp32",
        "torch bf16",
    ]
    of_int8 = [configuration.name for configuration in configurations if configuration.weights == int8]
    assert of_int8 == ["onnxruntime int8", "openvino int8", "torch fp32"]
    reference = RunConfiguration(untrained, "torch", "fp32")
    assert find_references([int8, untrained, alone]) == {int8: reference, untrained: reference, alone: None}
    assert find_references([int8]) == {int8: None}


def test_without_torch_the_reference_is_onnx_runtime(untrained: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("omnireid.bench.run_configurations.find_spec", lambda _name: None)
    assert find_references([untrained]) == {untrained: RunConfiguration(untrained, "onnxruntime", "fp32")}


@pytest.mark.usefixtures("no_measuring")
@pytest.mark.parametrize("flag", ["--json", "--picture"])
def test_a_bad_output_is_refused_before_anything_is_measured(
    flag: str, tmp_path: Path, untrained: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / ("folder.json" if flag == "--json" else "folder.png")
    folder.mkdir()
    assert main(["bench", str(untrained), flag, str(folder)]) == EXIT_ERROR
    assert "error: Cannot write" in capsys.readouterr().err
    assert main(["bench", str(untrained), flag, str(untrained)]) == EXIT_ERROR
    assert f"name ends in {'.json' if flag == '--json' else '.png'}; got" in capsys.readouterr().err


@pytest.mark.usefixtures("no_measuring")
def test_a_picture_without_matplotlib_says_what_to_install(
    tmp_path: Path, untrained: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    assert main(["bench", str(untrained), "--picture", str(tmp_path / "out.png")]) == EXIT_ERROR
    assert "pip install 'omnireid[train]'" in capsys.readouterr().err


@pytest.mark.usefixtures("no_measuring")
@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--seconds", "0"], "more than 0 seconds; got seconds=0"),
        (["--seconds", "nan"], "more than 0 seconds; got seconds=nan"),
        (["--threads", "0"], "at least one thread"),
        (["--data", "gone"], "gone"),
        (["gone.onnx"], "No such file of weights: gone.onnx"),
    ],
)
def test_wrong_words(words: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", *words]) == EXIT_ERROR
    assert said in capsys.readouterr().err


def test_a_process_that_dies_is_a_reason(untrained: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONWARNINGS", "error")
    monkeypatch.setattr(session, "REQUEST", "another.json")
    (result,) = session.measure_configurations([RunConfiguration(untrained, "onnxruntime", "fp32")], session.Settings())
    assert isinstance(result, session.Refused)
    assert result.reason.startswith("Its process ended with status 1: FileNotFoundError")
    assert session._end_of(-9, "") == "Its process ended by signal 9: it printed nothing; was memory short?"


def test_ctrl_c_leaves_nothing(tmp_path: Path, untrained: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    output = tmp_path / "out.json"
    words = [sys.executable, "-m", "omnireid", "bench", str(untrained), "--runtimes", "onnxruntime"]
    # A suite that was started in the background ignores SIGINT, and its children would.
    heeding = partial(signal.signal, signal.SIGINT, signal.SIG_DFL)
    words += ["--json", str(output)]
    process = subprocess.Popen(words, stderr=subprocess.PIPE, text=True, preexec_fn=heeding)  # noqa: PLW1509
    deadline = time.monotonic() + 60
    while not list(tmp_path.glob("omnireid-bench-*/request.json")) and time.monotonic() < deadline:
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    _, shown = process.communicate(timeout=60)
    assert process.returncode == EXIT_ERROR
    assert "error: stopped by Ctrl-C" in shown
    assert "Traceback" not in shown
    assert list(tmp_path.iterdir()) == []
