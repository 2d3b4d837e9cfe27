"""Checks of importers."""

from __future__ import annotations

from typing import cast

from ..protocols import Importer
from .checks import check, require
from .subjects import Subject


@check(
    "leaves-strangers-alone",
    "importer",
    advice="Return None for a file that is not of your project, so that another importer can have it; raise only for "
    "one that is, and is damaged.",
)
def leaves_strangers_alone(subject: Subject) -> None:
    """A checkpoint and a features file of nobody are None to it, whether or not the decoder's width is known."""
    importer = cast("Importer", subject.sound())
    file = subject.folder("stranger") / "features.of-nobody"
    file.write_bytes(b"nothing that anybody wrote")
    for embed_dim in (None, 64):
        found = importer.checkpoint({"of.nobody.weight": (3, 4)}, embed_dim)
        require(found is None, f"it took a checkpoint of nobody for its own: {found!r:.80}")
    read = importer.features(file)
    require(read is None, f"it took a file of nobody for its own: {read!r:.80}")
