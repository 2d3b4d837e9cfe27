"""The values that an importer reads from another project's files."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from pydantic import JsonValue

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class ForeignCheckpoint:
    """The spec of another project's checkpoint, as far as it is known.

    sections: the sections of the spec that follow from the file or from the project, as JSON values. feature_dim: D of
    the pooled embeddings that its mapper reads. needed: the options that the user must give, by JSON pointer, each with
    words that explain what to write. notices: each assumption, and how to override it.
    """

    sections: Mapping[str, JsonValue]
    feature_dim: int
    needed: Mapping[str, str] = field(default_factory=dict)
    notices: tuple[str, ...] = ()


@dataclass(frozen=True)
class ForeignFeatures:
    """Pooled embeddings (n, D) of another project, with the file name or the image id of each row.

    One of `file_names` and `image_ids` may be empty. Where both are given, the file name takes precedence.
    """

    embeddings: Tensor
    file_names: tuple[str, ...] = ()
    image_ids: tuple[str, ...] = ()
