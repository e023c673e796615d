"""Stands in for tiny-cuda-nn's torch bindings: the same calls, in torch on the CPU, as strict as the real thing.

Modules have one flat ``params``, take float inputs ``[rows, n_input_dims]`` and give half precision. What the real
ones compute wrongly without a word (encodings of inputs outside [0, 1], no rows at all) is an error here.
"""

import sys
from types import ModuleType
from typing import Any, Dict, List, Tuple

import pytest
import torch
from nerfstudio.field_components import encodings, mlp
from nerfstudio.utils import external
from nerfstudio.utils.math import components_from_spherical_harmonics
from torch import Tensor, nn

ACTIVATIONS = {"ReLU": torch.relu, "Sigmoid": torch.sigmoid, "None": lambda values: values}


class Module(nn.Module):
    """What all have in common."""

    def __init__(self, n_input_dims: int, n_output_dims: int, num_params: int) -> None:
        super().__init__()
        self.n_input_dims, self.n_output_dims = n_input_dims, n_output_dims
        self.params = nn.Parameter(0.2 * torch.randn(num_params))

    def forward(self, x: Tensor) -> Tensor:
        assert x.ndim == 2 and x.shape[1] == self.n_input_dims, f"{list(x.shape)} for {self.n_input_dims} inputs"
        assert len(x) > 0, "a kernel of no threads cannot be launched"
        output = self.compute(x.float())
        assert output.shape == (len(x), self.n_output_dims)
        return output.half()

    def compute(self, x: Tensor) -> Tensor:
        raise NotImplementedError


class Network(Module):
    """A perceptron without biases."""

    def __init__(self, n_input_dims: int, n_output_dims: int, network_config: Dict[str, Any], seed: int = 1337) -> None:
        self.config, width = network_config, network_config["n_neurons"]
        widths = [n_input_dims] + network_config["n_hidden_layers"] * [width] + [n_output_dims]
        self.shapes: List[Tuple[int, int]] = list(zip(widths[1:], widths[:-1]))
        super().__init__(n_input_dims, n_output_dims, sum(rows * columns for rows, columns in self.shapes))

    def compute(self, x: Tensor) -> Tensor:
        sizes = [rows * columns for rows, columns in self.shapes]
        for layer, (weights, shape) in enumerate(zip(self.params.split(sizes), self.shapes)):
            last = layer == len(sizes) - 1
            x = ACTIVATIONS[self.config["output_activation" if last else "activation"]](x @ weights.view(shape).T)
        return x


class Encoding(Module):
    """Spherical harmonics and frequencies."""

    def __init__(self, n_input_dims: int, encoding_config: Dict[str, Any], seed: int = 1337, dtype: Any = None) -> None:
        self.config = encoding_config
        outputs = {
            "SphericalHarmonics": lambda: encoding_config["degree"] ** 2,
            "Frequency": lambda: 2 * n_input_dims * encoding_config["n_frequencies"],
        }[encoding_config["otype"]]()
        super().__init__(n_input_dims, outputs, 0)

    def compute(self, x: Tensor) -> Tensor:
        assert 0.0 <= float(x.min()) and float(x.max()) <= 1.0, "encodings take inputs in [0, 1]"
        if self.config["otype"] == "SphericalHarmonics":
            return components_from_spherical_harmonics(self.config["degree"], 2.0 * x - 1.0)
        turns = torch.pi * x[..., None] * 2.0 ** torch.arange(self.config["n_frequencies"])
        return torch.stack([turns.sin(), turns.cos()], -1).flatten(1)


class NetworkWithInputEncoding(Module):
    """An encoding and a network behind it."""

    def __init__(
        self,
        n_input_dims: int,
        n_output_dims: int,
        encoding_config: Dict[str, Any],
        network_config: Dict[str, Any],
        seed: int = 1337,
    ) -> None:
        encoding = Encoding(n_input_dims, encoding_config)
        network = Network(encoding.n_output_dims, n_output_dims, network_config)
        super().__init__(n_input_dims, n_output_dims, 0)
        self.encoding, self.network = encoding, network

    def compute(self, x: Tensor) -> Tensor:
        return self.network(self.encoding(x)).float()


def install(monkeypatch: pytest.MonkeyPatch, present: bool = True) -> None:
    """Let nerfstudio find the stand-in, or nothing."""
    module: Any = ModuleType("tinycudann")
    module.Network, module.Encoding = Network, Encoding
    module.NetworkWithInputEncoding = NetworkWithInputEncoding
    if present:
        monkeypatch.setitem(sys.modules, "tinycudann", module)
    for user in (external, encodings, mlp):
        monkeypatch.setattr(user, "TCNN_EXISTS", present)
        if present:
            monkeypatch.setattr(user, "tcnn", module)
