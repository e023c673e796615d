"""Kernels for nerfacc 0.5.2, in place of its compiled extension.

nerfacc's Python layer calls ``nerfacc.cuda.X`` for what it computes in CUDA and refuses CPU tensors; its extension does
not build against current torch and CUDA. :func:`install` puts dispatchers there: CUDA tensors go to the compiled
extension if one is present, everything else to the Warp kernels of this package. What sampling one occupancy grid and
rendering from densities does not call stays as it was.
"""

from __future__ import annotations

import functools
import importlib
import sys
from types import ModuleType
from typing import Any, Callable, Optional

import nerfacc
import nerfacc.cuda
import nerfacc.pack
import nerfacc.volrend
from torch import Tensor

from nerfblendshape_ns.ops import packed_scan, ray_marching

FUNCTIONS = {
    "exclusive_sum": packed_scan.exclusive_sum,
    "ray_aabb_intersect": ray_marching.ray_aabb_intersect,
    "traverse_grids": ray_marching.traverse_grids,
}
"""Functions that are replaced, by nerfacc's names."""


def install() -> None:
    """Put the kernels into nerfacc, for this process; a second call changes nothing."""
    if getattr(nerfacc.cuda.traverse_grids, "warp_kernel", None) is not None:
        return
    for name, function in FUNCTIONS.items():
        setattr(nerfacc.cuda, name, _dispatcher(name, function))
    for module in (nerfacc, nerfacc.pack, nerfacc.volrend):
        module.pack_info = packed_scan.pack_info  # type: ignore[attr-defined]


@functools.cache
def compiled_extension() -> Optional[ModuleType]:
    """nerfacc's compiled extension, if it is loaded or was installed compiled; never builds one.

    ``nerfacc.cuda._backend`` must not be imported for this: where nvcc is on the path that starts a build.
    """
    backend = sys.modules.get("nerfacc.cuda._backend")
    if backend is not None:
        return getattr(backend, "_C", None)
    try:
        return importlib.import_module("nerfacc.csrc")
    except ImportError:  # Not compiled, or against another torch.
        return None


def _dispatcher(name: str, function: Callable) -> Callable:
    @functools.wraps(function)
    def dispatch(*arguments: Any, **keywords: Any) -> Any:
        tensor = next((a for a in (*arguments, *keywords.values()) if isinstance(a, Tensor)), None)
        if tensor is not None and tensor.device.type == "cuda":
            extension = compiled_extension()
            if extension is not None:
                return getattr(extension, name)(*arguments, **keywords)
        return function(*arguments, **keywords)

    dispatch.warp_kernel = function  # type: ignore[attr-defined]
    return dispatch
