"""The importer of CLIP_prefix_caption."""

from __future__ import annotations

from pathlib import Path

from pydantic import JsonValue

from ....core.protocols import BadCheckpoint, ForeignCheckpoint, ForeignFeatures
from ...libraries.clipcap import CLIPCAP
from . import ClipCapConfig
from .layout import METRICS, Shapes, decoder_section, mapping_network, train_section
from .pickles import read_pickle

_MODELS = {512: "ViT-B-32", 640: "RN50x4"}  # the models of its published checkpoints, by the width of the embeddings


class ClipCapImporter:
    """Reads checkpoints and features of CLIP_prefix_caption (ClipCap's own code).

    ClipCap trains captions without EOS and ends them at "."; it generates with 5 beams and up to 67 tokens.
    """

    def __init__(self, config: ClipCapConfig) -> None:
        """Reads nothing yet."""

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
            needed = f"The file reads CLIP embeddings of width {network.feature_dim} and does not name their model."
            return ForeignCheckpoint(sections, network.feature_dim, needed={"/encoder": needed})
        # ClipCap's MLP reads embeddings as CLIP returns them; its published Transformer reads L2-normalised ones.
        sections["encoder"] = {"name": "clip", "model": model, "weights": "openai", "normalize": not network.is_mlp}
        notice = (
            f"the file does not name its encoder. capfw assumes OpenAI's CLIP {model}, as in the published checkpoints "
            f"with embeddings of width {network.feature_dim} and {'without' if network.is_mlp else 'with'} L2 "
            "normalisation. Change this with --set /encoder=... or --set /encoder/normalize=true or false."
        )
        return ForeignCheckpoint(sections, network.feature_dim, notices=(notice,))

    def features(self, file: Path) -> ForeignFeatures | None:
        """Returns one row per image id, also for an image with several captions."""
        if file.suffix != ".pkl":
            return None
        content = read_pickle(file)
        try:
            rows = {str(entry["image_id"]): int(entry["clip_embedding"]) for entry in content["captions"]}
            num_rows, _ = content["clip_embedding"].shape
            if not all(0 <= row < num_rows for row in rows.values()):
                raise IndexError(f"a caption names a row outside the {num_rows} rows")
            return ForeignFeatures(content["clip_embedding"][list(rows.values())], image_ids=tuple(rows))
        except (KeyError, TypeError, ValueError, IndexError, AttributeError) as err:
            raise BadCheckpoint(
                f"{file} does not hold ClipCap's features: {err!r}.",
                fix='The file needs "clip_embedding", a tensor (n, D), and "captions", each with its image_id and row.',
            ) from err
