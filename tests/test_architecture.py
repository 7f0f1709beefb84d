"""The import table of docs/ARCHITECTURE.md, held by reading the imports."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from omnireid import synthesize
from omnireid.embedding import weights_file
from omnireid.embedding.weights_file import WeightsFile
from omnireid.errors import CheckpointError
from omnireid.weights.graph_file import seal_onnx
from omnireid.weights.shipped import DEFAULT_WEIGHTS

PACKAGE = Path(__file__).resolve().parents[1] / "src" / "omnireid"
LEAVES = {
    "addresses",
    "errors",
    "files",
    "machine",
    "memory",
    "parquet",
    "plots",
    "progress",
    "terms",
    "types",
    "version",
}
MAY_IMPORT = {
    "images": set(),
    "data": {"images"},
    "synthetic": {"images", "data", "tracking"},
    "weights": {"images"},
    "models": {"images"},
    "embedding": {"images", "data", "weights"},
    "retrieval": set(),
    "gallery": {"images", "data", "weights", "embedding", "retrieval"},
    "tracking": {"images", "data", "weights", "embedding", "retrieval", "gallery"},
    "evaluation": {"images", "data", "embedding", "retrieval", "tracking"},
    "attributes": {"data", "weights", "embedding", "evaluation"},
    "explanation": {"images", "data", "models", "weights", "embedding"},
    "reports": {"images", "data", "embedding", "retrieval", "evaluation", "explanation", "gallery", "tracking"},
    "training": {"images", "data", "models", "weights", "embedding", "evaluation", "attributes"},
    "export": {"images", "data", "models", "weights", "embedding", "evaluation", "attributes"},
    "bench": {"images", "data", "weights", "embedding", "evaluation"},
    "experiments": {
        *("images", "data", "synthetic", "weights", "models", "embedding", "evaluation", "training"),
    },
    "service": {"images", "data", "weights", "embedding", "retrieval", "gallery"},
    "commands": {
        *("images", "data", "synthetic", "weights", "models", "embedding", "retrieval", "gallery", "tracking"),
        "evaluation",
        *("attributes", "explanation", "reports", "training", "experiments", "export", "bench", "service"),
        "cli",
    },
    "cli": {"commands"},
    "__main__": {"cli"},
}
"""Room to the rooms it may import, besides the leaves; the same rows as the table in docs/ARCHITECTURE.md."""

TORCH_ROOMS = {"models", "training", "export"}
TORCH_NEVER = {
    *(PACKAGE / "training" / name for name in ("recipes.py", "named_recipes.py", "options.py", "samplers.py")),
    *(
        PACKAGE / "models" / f"{name}.py"
        for name in ("layer_plan", "checkpoint_keys", "coverage", "graph_builder", "observed_tensors")
    ),
    *(PACKAGE / "models" / f"osnet_{name}.py" for name in ("config", "graph", "keys", "plan")),
    *(PACKAGE / "models" / f"residual_{name}.py" for name in ("design", "graph", "plan")),
    *(PACKAGE / "models" / f"{name}.py" for name in ("baselines", "baseline_keys")),
}
TORCH_AT_CALL_TIME = {
    PACKAGE / "embedding" / "torch_runtime.py",
    PACKAGE / "models" / "state.py",
    PACKAGE / "models" / "zoo.py",
}
MODELS_AT_CALL_TIME = {
    *(PACKAGE / "embedding" / name for name in ("torch_runtime.py", "weights_file.py")),
    *(PACKAGE / "weights" / name for name in ("checkpoint.py", "examination.py", "reid_folder.py", "source.py")),
}
SOURCES = sorted(PACKAGE.rglob("*.py"))


def room_of(path: Path) -> str:
    relative = path.relative_to(PACKAGE)
    return relative.parts[0] if len(relative.parts) > 1 else relative.stem


def imports(tree: ast.AST) -> list[tuple[str, bool]]:
    """Modules imported, each with whether that happens when the file is imported (not inside a function)."""
    found: list[tuple[str, bool]] = []

    def visit(node: ast.AST, at_import: bool) -> None:
        for child in ast.iter_child_nodes(node):
            inside = isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda))
            typing_only = isinstance(child, ast.If) and "TYPE_CHECKING" in ast.dump(child.test)
            if isinstance(child, ast.Import):
                found.extend((alias.name, at_import) for alias in child.names)
            elif isinstance(child, ast.ImportFrom):
                found.append((child.module or "", at_import))
            visit(child, at_import and not inside and not typing_only)

    visit(tree, True)
    return found


def violations(path: Path, source: str) -> list[str]:
    room = room_of(path)
    wrong = []
    for module, at_import in imports(ast.parse(source)):
        top, _, rest = module.partition(".")
        if top == "omnireid" and room != "__init__":
            target = rest.split(".")[0]  # empty for the package itself, which nobody below it may import
            allowed = target in LEAVES or target == room or target in MAY_IMPORT.get(room, set())
            if path in MODELS_AT_CALL_TIME and target == "models" and not at_import:
                allowed = True
            if not allowed:
                wrong.append(f"{path.relative_to(PACKAGE)}: {room} may not import {module}")
        if top in ("torch", "kornia"):
            allowed = room in TORCH_ROOMS and path not in TORCH_AT_CALL_TIME | TORCH_NEVER
            allowed |= path in TORCH_AT_CALL_TIME and not at_import
            if not allowed:
                wrong.append(f"{path.relative_to(PACKAGE)}: {top} may not be imported here")
    return wrong


def test_every_room_imports_only_what_the_table_allows() -> None:
    wrong = [line for path in SOURCES for line in violations(path, path.read_text())]
    assert not wrong, "\n".join(["See docs/ARCHITECTURE.md; change the table first.", *wrong])


@pytest.mark.parametrize(
    ("file", "source"),
    [
        ("embedding/choice.py", "import omnireid"),
        ("errors.py", "from omnireid.images.decode import read_image"),
        ("images/decode.py", "from omnireid.data.datasets import load_dataset"),
        ("data/folder.py", "def f():\n    import torch"),
        ("retrieval/distance.py", "from omnireid.models import zoo"),
        ("embedding/tables.py", "def f():\n    import omnireid.models.zoo"),
        ("embedding/torch_runtime.py", "import torch"),
        ("embedding/weights_file.py", "from omnireid.models.osnet_graph import build_graph"),
        ("weights/artefact.py", "from omnireid.embedding import choice"),
        ("data/matches.py", "from omnireid.synthetic import dataset"),
        ("embedding/weights_file.py", "def f():\n    import torch"),
        ("models/osnet_graph.py", "import torch"),
        ("models/zoo.py", "from torch import nn"),
        ("images/pixel_cache.py", "import torch"),
        ("training/recipes.py", "def f():\n    import torch"),
        ("training/loop.py", "from omnireid.commands.train import train"),
        ("types.py", "from omnireid.images.decode import read_image"),
        ("training/splits.py", "from omnireid.experiments.tables import TABLES"),
        ("experiments/experiment.py", "import torch"),
    ],
)
def test_the_check_sees_what_it_should(file: str, source: str) -> None:
    assert violations(PACKAGE / file, source)


def test_the_table_in_the_documentation_is_this_one() -> None:
    page = (PACKAGE.parents[1] / "docs" / "ARCHITECTURE.md").read_text()
    rows = [line.split("|")[1:3] for line in page.splitlines() if line.startswith("| ")]
    documented = {room.strip(): allowed for room, allowed in rows if room.strip() in MAY_IMPORT}
    assert set(documented) == set(MAY_IMPORT)
    for room, allowed in documented.items():
        if room != "commands":
            named = {word for word in MAY_IMPORT if word in allowed.split(";")[0].replace(",", " ").split()}
            assert named == MAY_IMPORT[room], room


def test_every_room_is_in_the_table() -> None:
    rooms = {room_of(path) for path in SOURCES} - LEAVES - {"__init__"}
    assert rooms == set(MAY_IMPORT)


FORBID_TORCH = """
import sys
class Forbid:
    def find_spec(self, name, path=None, target=None):
        if name.split('.')[0] in ('torch', 'kornia'):
            raise AssertionError(f'{name} was imported')
sys.meta_path.insert(0, Forbid())
"""


def run_without_torch(code: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", FORBID_TORCH + code, *arguments],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_using_embeddings_needs_no_torch(tmp_path: Path, crop_folder: Path) -> None:
    code = """
import numpy as np
from pathlib import Path
from dataclasses import replace
import omnireid
from omnireid.images.preprocess import Preprocessing
from omnireid.weights.artefact import WeightsMetadata
from omnireid.embedding.jobs import embed_to_parquet
from omnireid.embedding.network import Network
from omnireid.types import Crops
from omnireid.embedding.tables import read_embeddings
from omnireid.cli import main
from omnireid.models.zoo import find_architecture
folder, output = Path(sys.argv[1]), Path(sys.argv[2])
network = Network('torch', 'fp32', 'cpu', lambda pixels: pixels.mean(axis=(1, 2), dtype=np.float32))
metadata = WeightsMetadata('means', embedding_dimension=3, preprocessing=Preprocessing(8, 4))
embedder = omnireid.Embedder(metadata, Path('w'), '0' * 64, network)
paths = tuple(sorted(folder.iterdir()))
people = [int(path.name[:4]) for path in paths]
cameras = [int(path.name[6]) for path in paths]
crops = Crops(paths, people, cameras)
embed_to_parquet(embedder, crops, output)
table = read_embeddings(output)
scores = omnireid.evaluate_ranking(table.embeddings, table.embeddings, table.labels, table.labels)
assert scores.queries == 12, scores
assert main(['evaluate', '--query', str(output), '--gallery', str(output)]) == 0
assert main(['models']) == 0
known = find_architecture('osnet_x0_5')
costs = (known.parameters, known.multiply_adds, len(known.key_layout.own_names['torchreid']))
assert costs == (630034, 272899328, 567), costs
assert 'torch' not in sys.modules
print('done')
"""
    done = run_without_torch(code, str(crop_folder), str(tmp_path / "out.parquet"))
    assert done.returncode == 0, done.stderr
    assert done.stdout.rstrip().endswith("done")
    assert "osnet_ain_x0_25" in done.stdout


def test_the_weights_of_the_package_need_the_core_install_alone(
    tmp_path: Path, untrained: Path, crop_folder: Path
) -> None:
    """With their graph beside them, as in a wheel: no torch, no openvino, and no graph to build with onnx."""
    folder = tmp_path / "shipped"
    folder.mkdir()
    weights = folder / f"{DEFAULT_WEIGHTS}.safetensors"
    weights.write_bytes(untrained.read_bytes())
    graph = WeightsFile(weights).graph
    weights.with_suffix(".onnx").write_bytes(seal_onnx(graph.content, graph.metadata))
    people = synthesize(tmp_path / "people", identities=3, cameras=2, per_camera=2, workers=1)
    code = """
import sys
from importlib.machinery import PathFinder
from pathlib import Path
class Without(PathFinder):
    @classmethod
    def find_spec(cls, name, path=None, target=None):
        missing = name.split('.')[0] in ('torch', 'kornia', 'openvino', 'onnx')
        return None if missing else PathFinder.find_spec(name, path, target)
sys.meta_path = [Without if finder is PathFinder else finder for finder in sys.meta_path]
from omnireid.cli import main
from omnireid.embedding import weights_file
from omnireid.weights import shipped
folder, crops, people, output = map(Path, sys.argv[1:])
shipped.weights_folder = weights_file.weights_folder = lambda: folder
assert main(['embed', str(crops), '--output', str(output)]) == 0
assert main(['evaluate', '--data', str(people)]) == 0
assert main(['inspect']) == 0
assert main(['models']) == 0
print('done')
"""
    words = [sys.executable, "-c", code, *map(str, (folder, crop_folder, people, tmp_path / "out.parquet"))]
    done = subprocess.run(words, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.rstrip().endswith("done")
    assert done.stderr.count("runtime onnxruntime fp32: the only one here") == 2
    weights.write_bytes(weights.read_bytes() + b" ")
    with pytest.raises(CheckpointError, match="was not made from .* beside it. Reinstall omnireid"):
        check_beside(weights)


def test_files_of_others_need_the_core_install_alone(
    tmp_path: Path, small_state: dict[str, torch.Tensor], crop_folder: Path
) -> None:
    """A public checkpoint and a plain safetensors file are read and run without torch."""
    legacy, plain = tmp_path / "w.pth", tmp_path / "plain.safetensors"
    torch.save(small_state, legacy, _use_new_zipfile_serialization=False)
    save_file(small_state, plain)
    code = """
from omnireid.cli import main
crops, legacy, plain, ours, output = sys.argv[1:]
assert main(['inspect', legacy]) == 0
assert main(['convert', legacy, '--output', ours]) == 0
for weights in (legacy, plain, ours):
    target = output + weights[-3:] + '.parquet'
    assert main(['embed', crops, '--weights', weights, '--runtime', 'onnxruntime', '--output', target]) == 0
assert 'torch' not in sys.modules
print('done')
"""
    files = (legacy, plain, tmp_path / "ours.safetensors", tmp_path / "out")
    done = run_without_torch(code, str(crop_folder), *map(str, files))
    assert done.returncode == 0, done.stderr
    assert done.stdout.rstrip().endswith("done")
    assert "100 % of the backbone" in done.stdout


def check_beside(weights: Path) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(weights_file, "weights_folder", lambda: weights.parent)
        _ = WeightsFile(weights).metadata


def test_the_check_for_torch_would_notice() -> None:
    assert "torch was imported" in run_without_torch("import torch").stderr


def test_help_and_import_stay_light() -> None:
    """The half second of `omnireid --help` is measured in benchmarks/startup.py; here, what it must not load."""
    code = """
import contextlib, io
import omnireid
from omnireid.cli import main
with contextlib.redirect_stdout(io.StringIO()):
    assert main(['--help']) == 0
libraries = 'numpy pyarrow PIL tyro rich scipy safetensors huggingface_hub onnxruntime onnx openvino simplejpeg'
heavy = set(libraries.split()) & set(sys.modules)
assert not heavy, heavy
for command in 'evaluate', 'train', 'convert', 'doctor', 'gallery add', 'gallery search', 'serve', 'serve token add':
    with contextlib.redirect_stdout(io.StringIO()), contextlib.suppress(SystemExit):
        main([*command.split(), '--help'])
    heavy = {'numpy', 'PIL', 'pyarrow'} & set(sys.modules)
    assert not heavy, (command, heavy)
"""
    done = run_without_torch(code)
    assert done.returncode == 0, done.stderr
