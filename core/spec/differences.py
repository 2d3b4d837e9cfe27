"""The places at which two resolved specs differ."""

from __future__ import annotations

# A run may continue with other values of these options: they change where or how fast it works, but not its results.
FREE_PLACES = (
    "/$schema",
    "/description",
    "/run_dir",
    "/loggers",
    "/features/store",
    "/features/num_workers",
    "/train/num_examples",
    "/train/save_every_steps",
)


def differences(old: object, new: object) -> list[str]:
    """The JSON pointers at which two resolved specs differ, without the places that change no result."""
    return [place for place in _differences(old, new, "") if not place.startswith(FREE_PLACES)]


def _differences(old: object, new: object, pointer: str) -> list[str]:
    if isinstance(old, dict) and isinstance(new, dict):
        keys = [*old, *(key for key in new if key not in old)]
        return [p for key in keys for p in _differences(old.get(key), new.get(key), f"{pointer}/{key}")]
    if isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        return [p for i, (a, b) in enumerate(zip(old, new, strict=True)) for p in _differences(a, b, f"{pointer}/{i}")]
    return [] if old == new else [pointer]
