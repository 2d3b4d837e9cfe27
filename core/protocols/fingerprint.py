"""A hash of a module's weights, for `Encoder.fingerprint`."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import nn


def weights_fingerprint(module: nn.Module, *facts: object) -> str:
    """SHA-256 (hex) over every entry of `module.state_dict()` and the `repr` of `facts` (transform, options).

    It depends on names, shapes, dtypes, values and facts, not on device or memory layout.
    """
    import torch  # the light half of a plugin imports this module

    digest = hashlib.sha256(repr(facts).encode())
    for name, value in sorted(module.state_dict().items()):
        digest.update(f"{name} {value.dtype} {tuple(value.shape)}".encode())
        digest.update(value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()
