"""Every key and shape of the baselines as their publishers build them: ``python tests/golden/baseline_keys.py``.

It needs torchvision and timm (`make torchvision`) and torchreid, and writes baseline_keys.json beside itself.
"""

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent


def build_torchvision() -> dict[str, Callable[[], Any]]:
    """Our name of a network to what builds torchvision's."""
    from torchvision import models

    return {
        "resnet50": models.resnet50,
        "mobilenetv2_x1_0": models.mobilenet_v2,
        "mobilenetv2_x1_4": lambda: models.mobilenet_v2(width_mult=1.4),
    }


def build_timm() -> dict[str, Callable[[], Any]]:
    """Our name of a network to what builds timm's. Its ResNet-50 has the keys of torchvision's."""
    import timm

    names = {"resnet50": "resnet50", "mobilenetv2_x1_0": "mobilenetv2_100", "mobilenetv2_x1_4": "mobilenetv2_140"}
    return {ours: partial(timm.create_model, theirs) for ours, theirs in names.items()}


def build_torchreid() -> dict[str, Callable[[], Any]]:
    """Our name of a network to what builds torchreid's."""
    from torchreid.reid.models.resnet import resnet50_fc512
    from torchreid.reid.models.shufflenet import shufflenet

    return {
        "resnet50_fc512": lambda: resnet50_fc512(751, pretrained=False),
        "shufflenet_g3": lambda: shufflenet(751, pretrained=False),
    }


def list_keys(model: Any) -> list[list[Any]]:
    """Every key of a network's state with its shape, in order."""
    return [[key, list(tensor.shape)] for key, tensor in model.state_dict().items()]


def main() -> None:
    """Write the lists, a network and publisher a line."""
    builders = {"torchvision": build_torchvision(), "timm": build_timm(), "torchreid": build_torchreid()}
    lines = [
        f"{json.dumps(f'{publisher}/{name}')}: {json.dumps(list_keys(build()))}"
        for publisher, networks in builders.items()
        for name, build in networks.items()
    ]
    (HERE / "baseline_keys.json").write_text("{\n" + ",\n".join(lines) + "\n}\n")


if __name__ == "__main__":
    main()
