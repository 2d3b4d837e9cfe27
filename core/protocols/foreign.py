"""What an importer reads from another project's files."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from pydantic import JsonValue

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class ForeignCheckpoint:
    """How another project's checkpoint reads as a spec.

    sections: the sections of a spec that the file itself says, or that its project is known by, as JSON values.
    feature_dim: D of the pooled embeddings its mapper reads. needed: what the file does not say and a person must, by
    JSON pointer, each with words that tell what to write. notices: what was assumed, and how to say otherwise.
    """

    sections: Mapping[str, JsonValue]
    feature_dim: int
    needed: Mapping[str, str] = field(default_factory=dict)
    notices: tuple[str, ...] = ()


@dataclass(frozen=True)
class ForeignFeatures:
    """Pooled embeddings (n, D) that another project made, row by row with the file names or image ids they belong to.

    One of `file_names` and `image_ids` may be empty. Where both stand, a file name counts before an id.
    """

    embeddings: Tensor
    file_names: tuple[str, ...] = ()
    image_ids: tuple[str, ...] = ()
