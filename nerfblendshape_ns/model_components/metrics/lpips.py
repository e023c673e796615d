"""LPIPS 0.1, the learned perceptual distance of images (Zhang et al., CVPR 2018), with AlexNet or VGG16."""

from __future__ import annotations

from functools import cache, lru_cache
from pathlib import Path
from typing import Dict, List, Mapping, NamedTuple, Optional, Sequence, Tuple, Union

import numpy as np
import torch
from jaxtyping import Float
from nerfstudio.utils.rich_utils import CONSOLE
from torch import Tensor, nn
from torch.nn import functional

from nerfblendshape_ns.common.console import say
from nerfblendshape_ns.common.errors import UserError
from nerfblendshape_ns.model_components.metrics.lpips_weights import (
    COMMAND,
    DOWNLOAD_MB,
    FILES,
    Backbone,
    read_arrays,
    weights_path,
)

METRICS: Dict[str, Backbone] = {"lpips": "alex", "lpips_vgg": "vgg"}
"""Names of the metrics and the network of each."""


class _Convolution(NamedTuple):
    """A convolution and its ReLU."""

    stride: int
    padding: int
    compared: bool
    """Whether LPIPS compares its output."""
    pool: Optional[int] = None
    """Width of the max-pooling (stride 2) after it."""


class _Architecture(NamedTuple):
    scope: str
    """Of the backbone's arrays in the file of weights."""
    convolutions: Tuple[_Convolution, ...]
    smallest: int
    """Pixels per side that pooling leaves something of."""


def _vgg_block(convolutions: int, pool: Optional[int] = 2) -> Tuple[_Convolution, ...]:
    return (_Convolution(1, 1, False),) * (convolutions - 1) + (_Convolution(1, 1, True, pool),)


_ARCHITECTURES: Dict[Backbone, _Architecture] = {
    "alex": _Architecture(
        "AlexNet_0",
        (
            _Convolution(4, 2, True, 3),
            _Convolution(1, 2, True, 3),
            _Convolution(1, 1, True),
            _Convolution(1, 1, True),
            _Convolution(1, 1, True),
        ),
        smallest=31,
    ),
    "vgg": _Architecture(
        "VGG16_0",
        _vgg_block(2) + _vgg_block(2) + _vgg_block(3) + _vgg_block(3) + _vgg_block(3, pool=None),
        smallest=16,
    ),
}


def smallest_side(backbone: Backbone) -> int:
    """Height and width that an image must have at least, in pixels."""
    return _ARCHITECTURES[backbone].smallest


class LPIPS(nn.Module):
    """Perceptual distance of images; differentiable in both, without parameters and with an empty state dict.

    Args:
        backbone: network whose features are compared.
        arrays: its weights by name, as :func:`~.lpips_weights.read_arrays` gives them; kernels are ``[height, width,
            in, out]``.
    """

    shift: Tensor
    scale: Tensor

    def __init__(self, backbone: Backbone, arrays: Mapping[str, np.ndarray]) -> None:
        super().__init__()
        self.backbone: Backbone = backbone
        scope, self._convolutions, self.smallest = _ARCHITECTURES[backbone]
        # Constants of LPIPS, for images in [-1, 1].
        self._keep("shift", torch.tensor([-0.030, -0.088, -0.188]).view(1, 3, 1, 1))
        self._keep("scale", torch.tensor([0.458, 0.448, 0.450]).view(1, 3, 1, 1))
        compared = 0
        for index, convolution in enumerate(self._convolutions):
            name = f"{scope}/Conv_{index}"
            kernel = arrays[f"{name}/kernel"].transpose(3, 2, 0, 1)
            self._keep(f"kernel_{index}", torch.from_numpy(kernel.copy()))
            self._keep(f"bias_{index}", torch.from_numpy(arrays[f"{name}/bias"].copy()))
            if convolution.compared:
                weights = arrays[f"NetLinLayer_{compared}/Conv_0/kernel"].reshape(1, -1, 1, 1)
                self._keep(f"linear_{compared}", torch.from_numpy(weights.copy()))
                compared += 1

    def forward(
        self, a: Float[Tensor, "batch 3 height width"], b: Float[Tensor, "batch 3 height width"]
    ) -> Float[Tensor, "batch"]:
        """Distance of each pair of images in [0, 1]: 0 where they are equal.

        Raises:
            UserError: they are smaller than the network can take (31 pixels per side for AlexNet, 16 for VGG16).
        """
        return self.whole(self.layers(a, b))

    @staticmethod
    def whole(layers: Sequence[Float[Tensor, "batch 1 rows columns"]]) -> Float[Tensor, "batch"]:
        """The distance of which :meth:`layers` are the parts."""
        return torch.stack([layer.mean(dim=(1, 2, 3)) for layer in layers]).sum(0)

    @staticmethod
    def spatial(
        layers: Sequence[Float[Tensor, "batch 1 rows columns"]], size: Tuple[int, int]
    ) -> Float[Tensor, "batch 1 height width"]:
        """The same distance pixel by pixel: every layer's map is enlarged to the image's size, and they are added."""
        return torch.stack([functional.interpolate(layer, size=size, mode="bilinear") for layer in layers]).sum(0)

    def layers(
        self, a: Float[Tensor, "batch 3 height width"], b: Float[Tensor, "batch 3 height width"]
    ) -> List[Float[Tensor, "batch 1 rows columns"]]:
        """One map of distances per compared layer; raises as :meth:`forward`."""
        height, width = a.shape[-2:]
        if min(height, width) < self.smallest:
            raise UserError(
                f"LPIPS ({self.backbone}) needs images of at least {self.smallest} pixels per side, and these have "
                f"{width} x {height}; use larger ones or another metric."
            )
        # Mixed precision would round the features by more than many distances differ.
        with torch.autocast(a.device.type, enabled=False):
            features = zip(self._features(a.float()), self._features(b.float()))
            return [
                ((first - second).square() * getattr(self, f"linear_{layer}")).sum(dim=1, keepdim=True)
                for layer, (first, second) in enumerate(features)
            ]

    def _features(self, image: Tensor) -> List[Tensor]:
        """The compared layers' outputs, of unit length over the channels."""
        x = (2.0 * image - 1.0 - self.shift) / self.scale
        outputs = []
        for index, (stride, padding, compared, pool) in enumerate(self._convolutions):
            kernel, bias = getattr(self, f"kernel_{index}"), getattr(self, f"bias_{index}")
            x = functional.relu(functional.conv2d(x, kernel, bias, stride, padding))
            if compared:
                # The clamp changes no value; it keeps the gradient finite where the squares are too small for float32.
                length = x.square().sum(dim=1, keepdim=True).clamp_min(1e-20).sqrt()
                outputs.append(x / (length + 1e-10))
            if pool is not None:
                x = functional.max_pool2d(x, pool, 2)
        return outputs

    def _keep(self, name: str, values: Tensor) -> None:
        """Of the module's device, but no part of a checkpoint."""
        self.register_buffer(name, values, persistent=False)


def find_lpips(backbone: Backbone) -> Optional[LPIPS]:
    """LPIPS where its weights are cached, else None; loaded once per process, and never fetched.

    Raises:
        UserError: the cached file is damaged or another one.
    """
    path = weights_path(backbone)
    return None if path is None else _loaded(backbone, path)


def cached_lpips(device: Union[torch.device, str]) -> Dict[str, LPIPS]:
    """The networks of the metrics ``lpips`` and ``lpips_vgg`` whose weights are cached; what is missing is said once.

    Raises:
        UserError: a cached file is damaged or another one.
    """
    missing = missing_lpips()
    if missing is not None:
        _tell_once(missing)
    networks = {name: find_lpips(backbone) for name, backbone in METRICS.items()}
    return {name: network.to(device) for name, network in networks.items() if network is not None}


def missing_lpips() -> Optional[str]:
    """Which of the metrics lack their weights and how to get them, in a sentence; None where none does."""
    names = [name for name, backbone in METRICS.items() if weights_path(backbone) is None]
    if not names:
        return None
    return f"Without their weights, metrics leave out {' and '.join(names)}; {COMMAND} fetches them ({DOWNLOAD_MB} MB)."


@lru_cache(maxsize=len(METRICS))
def _loaded(backbone: Backbone, path: Path) -> LPIPS:
    return LPIPS(backbone, read_arrays(path, FILES[backbone].sha256)).eval()


@cache
def _tell_once(sentence: str) -> None:
    say(CONSOLE, sentence)
