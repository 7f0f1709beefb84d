"""Prints what roboflow's package ``reid`` keeps of each OSNet, which is the content of reid_keys.json.

Run it where the package is installed: python tests/golden/reid_keys.py > tests/golden/reid_keys.json
"""

import json
from importlib import import_module
from importlib.metadata import version
from typing import Any

import torch


def load_package() -> Any:
    """Import ``reid``, also where torch is a CPU build.

    The package needs torchvision for its transforms, which are Python. PyPI's torchvision is built for CUDA: without
    it, its operators do not load, and importing it fails because two that it describes are missing.
    """
    if torch.version.cuda is None:
        for name in ("nms", "qnms"):
            torch.library.define(f"torchvision::{name}", "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    return import_module("reid")


def describe(reid: Any) -> dict[str, Any]:
    """The package's networks, the keys and shapes of its OSNets, and its default preprocessing."""
    names = reid.list_architectures()
    models = {
        name: reid.ReIDModel.from_pretrained(architecture=name, device="cpu") for name in names if "osnet" in name
    }
    shapes = {
        name: {key: list(tensor.shape) for key, tensor in model._backbone.state_dict().items()}
        for name, model in models.items()
    }
    keys = list(shapes["osnet_x1_0"])
    assert all(list(of_one) == keys for of_one in shapes.values())
    return {
        "version": version("reid"),
        "architectures": names,
        "preprocessing": models["osnet_x1_0"].preprocessing.to_dict(),
        "keys": keys,
        "shapes": {name: list(of_one.values()) for name, of_one in shapes.items()},
    }


if __name__ == "__main__":
    print(json.dumps(describe(load_package()), separators=(",", ":")))
