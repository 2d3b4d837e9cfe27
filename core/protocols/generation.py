"""How captions are generated: one options model per method, so that an option that has no effect cannot be given."""

from __future__ import annotations

from typing import Annotated, Literal, TypeAlias

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationInfo


class _Options(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, strict=True)

    max_tokens: int = Field(50, ge=1, description="Longest caption, in tokens, EOS included.")
    batch_size: int = Field(64, ge=1, description="Images captioned at once.")
    use_cache: bool = Field(True, description="Keep keys and values of earlier positions (same captions, faster).")


class GreedyOptions(_Options):
    """Argmax at every step."""

    method: Literal["greedy"] = Field("greedy", description="Argmax at every step.")

    @property
    def num_captions(self) -> int:
        """One: there is only one likeliest token."""
        return 1


def _at_most_the_beams(num_captions: int, info: ValidationInfo) -> int:
    num_beams = info.data.get("num_beams", num_captions)  # absent when it was wrong itself
    if num_captions > num_beams:
        raise ValueError(f"{num_captions} captions cannot come out of {num_beams} beams")
    return num_captions


_CaptionsOfBeams: TypeAlias = Annotated[int, AfterValidator(_at_most_the_beams)]


class BeamOptions(_Options):
    """Beam search; a finished caption ranks by log-probability / length ** length_penalty."""

    method: Literal["beam"] = Field("beam", description="Beam search.")
    num_beams: int = Field(3, ge=2, description="Captions kept at every step.")
    length_penalty: float = Field(1.0, description="Power of the length by which a log-probability is divided.")
    num_captions: _CaptionsOfBeams = Field(1, ge=1, description="Captions returned per image; at most `num_beams`.")


class AverageBeamOptions(_Options):
    """ClipCap's beam search: beams rank by their mean log-probability per token, finished ones among the open."""

    method: Literal["average-beam"] = Field("average-beam", description="ClipCap's beam search.")
    num_beams: int = Field(5, ge=2, description="Captions kept at every step, finished ones among them.")
    temperature: float = Field(1.0, gt=0, description="Divides the logits the beams are ranked by.")
    num_captions: _CaptionsOfBeams = Field(1, ge=1, description="Captions returned per image; at most `num_beams`.")


class NucleusOptions(_Options):
    """Sampling from the smallest set of tokens whose probability reaches `top_p` (Holtzman et al., 2020)."""

    method: Literal["nucleus"] = Field("nucleus", description="Sampling from the likeliest tokens.")
    top_p: float = Field(0.9, gt=0, le=1, description="Probability mass that is sampled from.")
    temperature: float = Field(1.0, gt=0, description="Divides the logits before sampling.")
    num_captions: int = Field(1, ge=1, description="Captions sampled per image.")


GenerateOptions: TypeAlias = Annotated[
    GreedyOptions | BeamOptions | AverageBeamOptions | NucleusOptions, Field(discriminator="method")
]
