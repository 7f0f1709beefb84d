"""The baselines as their publishers build them: ``python tests/golden/baseline_keys.py``.

It needs torchvision and timm (`make torchvision`) and the files of torchreid (``pip install --no-deps
torchreid==0.2.5``). It writes beside itself every key and shape (baseline_keys.json), and the embeddings that
weights_by_rule.py gives (baseline_parity.npz).
"""

import json
from collections.abc import Callable
from functools import partial
from importlib.util import find_spec, module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

HERE = Path(__file__).parent


def import_torchvision() -> None:
    """Import torchvision, also where its compiled operators cannot be loaded.

    PyPI has the build of torchvision for CUDA only. Beside torch's build for CPUs its operators are missing, and the
    import fails at the two that it refers to. The networks use none of them, so it is enough to declare these.
    """
    try:
        import torchvision
    except RuntimeError:
        import torch

        for name in ("nms", "qnms"):
            torch.library.define(f"torchvision::{name}", "(Tensor boxes, Tensor scores, float threshold) -> Tensor")
        import torchvision  # noqa: F401


def build_torchvision() -> dict[str, Callable[[], Any]]:
    """Our name of a network to what builds torchvision's."""
    import_torchvision()
    from torchvision import models

    return {
        "resnet50": models.resnet50,
        "mobilenetv2_x1_0": models.mobilenet_v2,
        "mobilenetv2_x1_4": lambda: models.mobilenet_v2(width_mult=1.4),
    }


def build_timm() -> dict[str, Callable[[], Any]]:
    """Our name of a network to what builds timm's. Its ResNet-50 has the keys of torchvision's."""
    import_torchvision()  # which timm imports
    import timm

    names = {"resnet50": "resnet50", "mobilenetv2_x1_0": "mobilenetv2_100", "mobilenetv2_x1_4": "mobilenetv2_140"}
    return {ours: partial(timm.create_model, theirs) for ours, theirs in names.items()}


def build_torchreid() -> dict[str, Callable[[], Any]]:
    """Our name of a network to what builds torchreid's."""
    resnet, shufflenet = _torchreid_file("resnet"), _torchreid_file("shufflenet")
    return {
        "resnet50_fc512": lambda: resnet.resnet50_fc512(751, pretrained=False),
        "shufflenet_g3": lambda: shufflenet.shufflenet(751, pretrained=False),
    }


def _torchreid_file(name: str) -> ModuleType:
    """Import one file of torchreid; the package itself would import OpenCV and more."""
    package = find_spec("torchreid")
    assert package is not None
    assert package.submodule_search_locations is not None
    return _import_file(Path(package.submodule_search_locations[0], "reid", "models", f"{name}.py"))


def _import_file(path: Path) -> ModuleType:
    """Import a file under its own name."""
    spec = spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def list_keys(model: Any) -> list[list[Any]]:
    """Every key of a network's state with its shape, in order."""
    return [[key, list(tensor.shape)] for key, tensor in model.state_dict().items()]


def embed(publisher: str, model: Any, images: Any) -> Any:
    """What our network gives: torchreid's embedding, or the average of the last maps of the others."""
    if publisher == "torchreid":
        return model(images)
    if publisher == "timm":
        return model.forward_features(images).mean(dim=(2, 3))
    *layers, _pooling, _classifier = (
        model.children() if not hasattr(model, "features") else (model.features, None, None)
    )
    for layer in layers:
        images = layer(images)
    return images.mean(dim=(2, 3))


def embed_by_rule(publisher: str, model: Any) -> Any:
    """The embeddings of two images of 64×32 with deterministic weights, as a NumPy array."""
    import torch

    rule = _import_file(HERE / "weights_by_rule.py")
    state = {key: torch.from_numpy(rule.array(key, shape)) for key, shape in list_keys(model)}
    model.load_state_dict(state)
    with torch.no_grad():
        return embed(publisher, model.eval(), torch.from_numpy(rule.images(2, 64, 32))).numpy()


def main() -> None:
    """Write the lists, a network and publisher a line, and the embeddings."""
    builders = {"torchvision": build_torchvision(), "timm": build_timm(), "torchreid": build_torchreid()}
    lines = [
        f"{json.dumps(f'{publisher}/{name}')}: {json.dumps(list_keys(build()))}"
        for publisher, networks in builders.items()
        for name, build in networks.items()
    ]
    embeddings = {
        f"{publisher}/{name}": embed_by_rule(publisher, build())
        for publisher, networks in builders.items()
        for name, build in networks.items()
    }
    np.savez_compressed(HERE / "baseline_parity.npz", **embeddings)
    (HERE / "baseline_keys.json").write_text("{\n" + ",\n".join(lines) + "\n}\n")


if __name__ == "__main__":
    main()
