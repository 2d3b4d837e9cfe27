"""The sections of a spec that belong to the engine: features and training."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator

from ..protocols import InputFolder, OutputPath
from .part import PartField


class _Settings(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, strict=True, serialize_by_alias=True)


class FeatureSettings(_Settings):
    """Encoding of images, and storage of their features."""

    batch_size: int = Field(64, ge=1, description="Images encoded at once.")
    dtype: Literal["float16", "float32"] = Field("float16", description="Data type of stored features.")
    num_workers: int = Field(2, ge=0, description="Processes that decode images; 0 decodes in the main process.")
    on_bad_image: Literal["skip", "fail"] = Field(
        "skip", description='Action for an unreadable image: "skip" it with a warning, or "fail".'
    )
    standardize: bool = Field(
        False,
        description="Subtract the mean of the training features and divide by their standard deviation, per dimension.",
    )
    store: OutputPath | None = Field(
        None,
        strict=False,  # JSON has no paths, only strings
        description="Folder of the feature store, shared between runs; by default `features` beside the run directory.",
    )


class PartTuning(_Settings):
    """Training of one part."""

    lr: float | None = Field(None, gt=0, description="Peak learning rate of this part; null: /train/lr.")
    only: tuple[str, ...] | None = Field(
        None,
        strict=False,  # JSON has no tuples
        description="Names of the trained parameters, or their prefixes; null: all that the part itself does not freeze.",
    )


class TuneSettings(_Settings):
    """The parts that are trained; null freezes a part."""

    encoder: PartTuning | None = Field(None, description="How the encoder is tuned. Its features are then not stored.")
    mapper: PartTuning | None = Field(PartTuning(), description="How the mapper is tuned.")
    decoder: PartTuning | None = Field(PartTuning(), description="How the decoder is tuned.")


class TrainSettings(_Settings):
    """Training of the tuned parts."""

    epochs: int = Field(3, ge=1, description="Passes over the training captions.")
    max_steps: int | None = Field(None, ge=1, description="Limit on the steps, beside `epochs`; null: `epochs` alone.")
    batch_size: int = Field(128, ge=1, description="Captions per optimizer step, over all devices.")
    micro_batch_size: int | None = Field(
        None, ge=1, description="Captions per forward and backward pass on one device; null: the device's whole share."
    )
    objective: PartField = Field(description="The objective that training minimises.")
    tune: TuneSettings = Field(TuneSettings(), description="Which parts are trained, and how.")
    from_: InputFolder | None = Field(
        None,
        alias="from",
        strict=False,  # JSON has no paths, only strings
        description="Run directory that supplies the initial weights, assets and feature statistics; null: none.",
    )
    lr: float = Field(1e-4, gt=0, description="Peak learning rate of AdamW.")
    weight_decay: float = Field(0.01, ge=0, description="Weight decay of AdamW, on matrices only.")
    warmup_steps: int = Field(0, ge=0, description="Steps in which the learning rate rises from 0.")
    schedule: Literal["linear", "cosine", "constant"] = Field("linear", description="Decay after warm-up, down to 0.")
    clip_norm: float | None = Field(1.0, gt=0, description="Largest norm of the gradient; null: no clipping.")
    max_caption_tokens: int = Field(50, ge=2, description="Captions are truncated to this many tokens, EOS included.")
    precision: Literal["auto", "float32", "bf16"] = Field(
        "auto", description="Precision of the trained part; auto is bf16 on CUDA and float32 on a CPU."
    )
    evaluate_every_epochs: int = Field(1, ge=1, description="Epochs between evaluations of the val split.")
    num_examples: int = Field(
        4, ge=0, description="Images of a split whose captions are shown and logged at every evaluation."
    )
    save_every_steps: int = Field(500, ge=1, description="Steps between checkpoints; each epoch also ends with one.")
    best_by: str = Field(
        "CIDEr",
        description="Validation score that selects the best checkpoint; its metric declares whether lower is better. "
        '"loss" selects the lowest validation loss.',
    )

    @field_validator("micro_batch_size")
    @classmethod
    def _at_most_a_step(cls, micro_batch_size: int | None, info: ValidationInfo) -> int | None:
        batch_size = info.data.get("batch_size")  # absent when `batch_size` itself was wrong
        if micro_batch_size is not None and batch_size is not None and micro_batch_size > batch_size:
            raise ValueError(f"{micro_batch_size} is more than batch_size, {batch_size}; lower it")
        return micro_batch_size
