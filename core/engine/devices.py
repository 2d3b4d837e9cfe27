"""Finds the device on which a command computes."""

from __future__ import annotations

import torch

from ..errors import RequestError, choices

_ACCELERATORS = ("cuda", "mps", "xpu")
_WHERE = "--device"


def parse_device(name: str | torch.device | None = None) -> torch.device:
    """The device of this name, with its index; by default the GPU, or the CPU where there is none.

    Raises `RequestError`, with the devices of this machine, when it has no such device.
    """
    if name is None:
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if not isinstance(name, str | torch.device):
        raise RequestError(f"{name!r} is no device.", where=_WHERE, fix='Give its name, such as "cpu" or "cuda:0".')
    wanted, here = str(name), devices_here()
    reason = ""
    try:
        if wanted in here or wanted.split(":")[0] in _ACCELERATORS:
            return torch.empty(0, device=wanted).device
    except (RuntimeError, AssertionError, NotImplementedError) as err:  # no driver, torch without it, no such index
        reason = f": {(str(err) or type(err).__name__).splitlines()[0].split('. ')[0].rstrip('.')}"
    fix = choices("Devices here", here, "cuda" if wanted.lower() == "gpu" else wanted)
    fix += "  PyTorch finds no GPU here." * (here == ["cpu"])
    raise RequestError(f'this machine has no device "{wanted}"{reason}.', where=_WHERE, fix=fix)


def devices_here() -> list[str]:
    """The names of the devices that PyTorch finds on this machine: "cpu", "cuda", "cuda:0", ..."""
    found = torch.accelerator.current_accelerator(check_available=True)
    if found is None:
        return ["cpu"]
    return ["cpu", found.type, *(f"{found.type}:{index}" for index in range(torch.accelerator.device_count()))]
