"""Checks of importers."""

from __future__ import annotations

from typing import cast

from ..protocols import Importer
from .checks import check, require
from .subjects import Subject


@check(
    "leaves-strangers-alone",
    "importer",
    advice="Return None for a file of another project, so that another importer can read it; raise only for a damaged "
    "file of your project.",
)
def leaves_strangers_alone(subject: Subject) -> None:
    """It returns None for a checkpoint and a features file of another project, with or without the decoder's width."""
    importer = cast("Importer", subject.sound())
    file = subject.folder("stranger") / "features.of-nobody"
    file.write_bytes(b"no format of any project")
    for embed_dim in (None, 64):
        found = importer.checkpoint({"of.nobody.weight": (3, 4)}, embed_dim)
        require(found is None, f"it accepted a checkpoint of another project: {found!r:.80}")
    read = importer.features(file)
    require(read is None, f"it accepted a file of another project: {read!r:.80}")
