"""The heavy half of metric "text-similarity"."""

from __future__ import annotations

import json
import warnings
from collections.abc import Sequence
from pathlib import Path

import torch
import transformers
from huggingface_hub import try_to_load_from_cache
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import AutoModel, AutoTokenizer

from ....core.protocols import (
    BadCheckpoint,
    CapfwWarning,
    Captioned,
    ComponentError,
    DataError,
    HubWeights,
    PublishedWeights,
    Scores,
    fetch_weights,
    is_local_path,
    listed,
    weights_fingerprint,
)
from ...libraries.hub import CONFIG, MODEL, TOKENIZER, TOKENIZER_OTHERS
from ...libraries.transformers import NO_ADAPTER_LOOK_UP, first_line, load_pretrained
from . import TextSimilarityConfig

_POOLING = "1_Pooling/config.json"  # in a repository of sentence-transformers: how the encoder was trained to pool


class TextSimilarity(nn.Module):
    """max over the references of cos(candidate, reference) per image, and the mean over images.

    An embedding is the mean of the encoder's last hidden states over the tokens of a caption, special ones included, as in
    sentence-transformers. Warns (`CapfwWarning`) of an encoder that was trained with another pooling.
    """

    def __init__(self, config: TextSimilarityConfig) -> None:
        """Raises `MissingWeights`, `BadCheckpoint`, or `ComponentError` for a tokenizer that cannot pad."""
        super().__init__()
        (self.name,) = config.score_names()
        self.config = config
        fetch_weights(self.published_weights(config))
        self.model, self.tokenizer = _load(config.weights)
        if self.tokenizer.pad_token is None:
            raise ComponentError(
                f"the tokenizer of {config.weights} has no padding token.",
                option="weights",
                fix="Name a sentence encoder, such as sentence-transformers/all-MiniLM-L6-v2.",
            )
        _warn_of_other_pooling(config.weights)
        positions = getattr(self.model.config, "max_position_embeddings", None) or config.max_tokens
        self.max_tokens = min(config.max_tokens, self.tokenizer.model_max_length, positions)
        self._fingerprint = weights_fingerprint(self.model, sorted(self.tokenizer.get_vocab().items()))[:16]
        self.eval()

    @classmethod
    def published_weights(cls, config: TextSimilarityConfig) -> Sequence[PublishedWeights]:
        if is_local_path(config.weights):
            return ()
        others = (*TOKENIZER_OTHERS, _POOLING)
        return (HubWeights("weights", config.weights, config.weights, (CONFIG, MODEL, TOKENIZER), others),)

    def score(self, captioned: Captioned) -> Scores:
        """Raises `DataError` without captions, or for an image without references."""
        ids = list(captioned.candidates)
        references = [captioned.references.get(image_id, ()) for image_id in ids]
        if not ids:
            raise DataError("there are no captions to score.", fix="Score at least one image.")
        if not all(references):
            lacking = [image_id for image_id, captions in zip(ids, references, strict=True) if not captions]
            raise DataError(
                f"{len(lacking)} images have no references, the first image {lacking[0]}.",
                fix="Add references, or use a metric without them.",
            )
        candidates = self._embed([captioned.candidates[image_id] for image_id in ids])  # (B, D)
        known = self._embed([caption for captions in references for caption in captions])
        pairs = zip(candidates, known.split(list(map(len, references))), strict=True)
        values = [float((own @ candidate).max()) for candidate, own in pairs]
        return Scores({self.name: sum(values) / len(values)}, {self.name: dict(zip(ids, values, strict=True))})

    def signature(self) -> dict[str, str]:
        weights = self.config.weights
        name = Path(weights).name if is_local_path(weights) else weights
        return {
            "tokenizer": f"that of {name}, at most {self.max_tokens} tokens",
            "library": f"transformers {transformers.__version__}",
            "variant": f"{name}, mean pooling, normalised, nearest reference",
            "weights": self._fingerprint,
        }

    @torch.no_grad()
    def _embed(self, captions: Sequence[str]) -> Tensor:
        """Returns L2-normalised embeddings (B, D) float32, on the CPU."""
        device, embedded = next(self.parameters()).device, []
        for start in range(0, len(captions), self.config.batch_size):
            batch = list(captions[start : start + self.config.batch_size])
            tokens = self.tokenizer(
                batch, padding=True, truncation=True, max_length=self.max_tokens, return_tensors="pt"
            ).to(device)
            states = self.model(**tokens).last_hidden_state.float()  # (B, T, D)
            mask = tokens["attention_mask"][..., None].float()  # (B, T, 1)
            embedded.append(((states * mask).sum(dim=1) / mask.sum(dim=1).clamp(min=1)).cpu())  # (B, D)
        return F.normalize(torch.cat(embedded), dim=-1)


def _load(weights: str) -> tuple[nn.Module, transformers.PreTrainedTokenizerBase]:
    try:
        tokenizer = load_pretrained(AutoTokenizer.from_pretrained, weights, option="weights")
        # transformers' load report is hidden; its missing weights are checked below.
        model, found = load_pretrained(
            AutoModel.from_pretrained,
            weights,
            option="weights",
            dtype=torch.float32,
            output_loading_info=True,
            weights_only=True,
            **NO_ADAPTER_LOOK_UP,
        )
    except ComponentError:
        raise
    except Exception as err:  # transformers raises almost anything on damaged files
        again = "Save the model and its tokenizer again with save_pretrained."
        raise BadCheckpoint(
            f"{weights} cannot be loaded: {first_line(err)}",
            option="weights",
            fix=again if is_local_path(weights) else f"Download it again: hf download {weights}",
        ) from err
    missing = sorted(name for name in found["missing_keys"] if not name.startswith("pooler."))
    if missing:
        raise BadCheckpoint(
            f"{weights} lacks {len(missing)} weights of {type(model).__name__}: {listed(missing, 3)}.",
            option="weights",
            fix="Name the folder or repository of a whole text encoder.",
        )
    return model, tokenizer


def _warn_of_other_pooling(weights: str) -> None:
    """Warns where the files of sentence-transformers state another pooling than the mean."""
    file = Path(weights, _POOLING) if is_local_path(weights) else try_to_load_from_cache(weights, _POOLING)
    if not isinstance(file, str | Path) or not Path(file).is_file():
        return
    try:
        stated = json.loads(Path(file).read_text("utf-8"))
    except ValueError as err:
        raise BadCheckpoint(f"{file} is not JSON: {err}", option="weights", fix="Save the encoder again.") from err
    if isinstance(stated, dict) and not stated.get("pooling_mode_mean_tokens", True):
        warnings.warn(
            f"{weights} was trained with another pooling than the mean, which metric text-similarity uses: its scores may "
            "mean little. Choose an encoder with mean pooling.",
            CapfwWarning,
            stacklevel=3,
        )
