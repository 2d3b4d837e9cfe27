"""The sections of a spec that belong to the engine: features and training."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator

from ..protocols import InputFolder, OutputPath
from .part import PartField


class _Settings(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, strict=True, serialize_by_alias=True)


class FeatureSettings(_Settings):
    """How images are encoded and where their features are kept."""

    batch_size: int = Field(64, ge=1, description="Images encoded at once.")
    dtype: Literal["float16", "float32"] = Field("float16", description="What is stored.")
    num_workers: int = Field(2, ge=0, description="Processes that decode images; 0 decodes in the main process.")
    on_bad_image: Literal["skip", "fail"] = Field(
        "skip", description='What to do with an image that cannot be read: "skip" it and list it, or "fail".'
    )
    standardize: bool = Field(
        False, description="Subtract the training features' mean and divide by their deviation, per dimension."
    )
    store: OutputPath | None = Field(
        None,
        strict=False,  # JSON has no paths, only strings
        description="Folder of the feature store, shared between runs; by default `features` beside the run directory.",
    )


class PartTuning(_Settings):
    """How one part is tuned."""

    lr: float | None = Field(None, gt=0, description="Peak learning rate of this part; null: /train/lr.")
    only: tuple[str, ...] | None = Field(
        None,
        strict=False,  # JSON has no tuples
        description="Names of the parameters that train, or their beginnings; null: all that the part leaves trainable.",
    )


class TuneSettings(_Settings):
    """Which parts are trained; null freezes a part."""

    encoder: PartTuning | None = Field(None, description="How the encoder is tuned; its features are then not stored.")
    mapper: PartTuning | None = Field(PartTuning(), description="How the mapper is tuned.")
    decoder: PartTuning | None = Field(PartTuning(), description="How the decoder is tuned.")


class TrainSettings(_Settings):
    """How the trainable parts are trained."""

    epochs: int = Field(3, ge=1, description="Passes over the training captions.")
    max_steps: int | None = Field(None, ge=1, description="Stop after this many steps, if `epochs` do not end sooner.")
    batch_size: int = Field(128, ge=1, description="Captions per optimizer step, over all devices.")
    micro_batch_size: int | None = Field(
        None, ge=1, description="Captions per forward and backward on one device; null takes a device's share at once."
    )
    objective: PartField = Field(description="The loss that is minimised.")
    tune: TuneSettings = Field(TuneSettings(), description="Which parts are trained, and how.")
    from_: InputFolder | None = Field(
        None,
        alias="from",
        strict=False,  # JSON has no paths, only strings
        description="Run directory whose weights, assets and feature statistics this run begins with; null: from none.",
    )
    lr: float = Field(1e-4, gt=0, description="Peak learning rate of AdamW.")
    weight_decay: float = Field(0.01, ge=0, description="Weight decay of AdamW, on matrices only.")
    warmup_steps: int = Field(0, ge=0, description="Steps over which the learning rate rises from 0.")
    schedule: Literal["linear", "cosine", "constant"] = Field("linear", description="Decay after warm-up, down to 0.")
    clip_norm: float | None = Field(1.0, gt=0, description="Largest norm of the gradient; null does not clip.")
    max_caption_tokens: int = Field(50, ge=2, description="Captions are cut to this many tokens, EOS included.")
    precision: Literal["auto", "float32", "bf16"] = Field(
        "auto", description="Arithmetic of the trained part; auto is bf16 on CUDA and float32 on a CPU."
    )
    evaluate_every_epochs: int = Field(1, ge=1, description="Epochs between evaluations of the val split.")
    save_every_steps: int = Field(500, ge=1, description="Steps between checkpoints; every epoch ends with one too.")
    best_by: str = Field(
        "CIDEr",
        description="Validation score that picks the best checkpoint; its metric declares whether less or more is better. "
        '"loss" picks the lowest validation loss.',
    )

    @field_validator("micro_batch_size")
    @classmethod
    def _at_most_a_step(cls, micro_batch_size: int | None, info: ValidationInfo) -> int | None:
        batch_size = info.data.get("batch_size")  # absent when it was wrong itself
        if micro_batch_size is not None and batch_size is not None and micro_batch_size > batch_size:
            raise ValueError(f"{micro_batch_size} is more than batch_size, {batch_size}, of which it is a part")
        return micro_batch_size
