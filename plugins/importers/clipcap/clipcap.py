"""The importer of CLIP_prefix_caption."""

from __future__ import annotations

from pathlib import Path

from pydantic import JsonValue

from ....core.protocols import BadCheckpoint, ForeignCheckpoint, ForeignFeatures
from ...libraries.clipcap import CLIPCAP
from . import ClipCapConfig
from .layout import METRICS, Shapes, decoder_section, mapping_network, train_section
from .pickles import read_pickle

_MODELS = {512: "ViT-B-32", 640: "RN50x4"}  # of its two published checkpoints, by the width of their embeddings


class ClipCapImporter:
    """Reads what CLIP_prefix_caption (ClipCap's own code) writes.

    Its captions were trained without EOS and end at "."; they are searched for with five beams of up to 67 tokens.
    """

    def __init__(self, config: ClipCapConfig) -> None:
        """Nothing is read yet."""

    def checkpoint(self, shapes: Shapes, embed_dim: int | None) -> ForeignCheckpoint | None:
        if not any(name.startswith(CLIPCAP) for name in shapes):
            return None
        network = mapping_network(shapes, CLIPCAP, embed_dim)
        sections: dict[str, JsonValue] = {
            "mapper": {"name": "mlp" if network.is_mlp else "clipcap-transformer", **network.options},
            "decoder": decoder_section(stop_token="."),
            "train": train_section(shapes),
            "generate": {"method": "average-beam", "num_beams": 5, "max_tokens": 67},
            "metrics": METRICS,
        }
        model = _MODELS.get(network.feature_dim)
        if model is None:
            needed = f"It read CLIP embeddings of width {network.feature_dim}, from a model that it does not name."
            return ForeignCheckpoint(sections, network.feature_dim, needed={"/encoder": needed})
        # ClipCap's MLP took embeddings as CLIP gives them; its published Transformer, divided by their length.
        sections["encoder"] = {"name": "clip", "model": model, "weights": "openai", "normalize": not network.is_mlp}
        notice = (
            f"the encoder is not in the file: embeddings of width {network.feature_dim} are taken for those of OpenAI's "
            f"CLIP {model}, {'as they are' if network.is_mlp else 'divided by their length'}, which is how the published "
            "checkpoints were trained. Say otherwise with --set /encoder=... or --set /encoder/normalize=true or false."
        )
        return ForeignCheckpoint(sections, network.feature_dim, notices=(notice,))

    def features(self, file: Path) -> ForeignFeatures | None:
        """Rows by image id; an image of several captions stands once."""
        if file.suffix != ".pkl":
            return None
        content = read_pickle(file)
        try:
            rows = {str(entry["image_id"]): int(entry["clip_embedding"]) for entry in content["captions"]}
            num_rows, _ = content["clip_embedding"].shape
            if not all(0 <= row < num_rows for row in rows.values()):
                raise IndexError(f"a row that is not among the {num_rows}")
            return ForeignFeatures(content["clip_embedding"][list(rows.values())], image_ids=tuple(rows))
        except (KeyError, TypeError, ValueError, IndexError, AttributeError) as err:
            raise BadCheckpoint(
                f"{file} does not hold ClipCap's features: {err!r}.",
                fix='It needs "clip_embedding", a tensor (n, D), and "captions", each with its image_id and row.',
            ) from err
