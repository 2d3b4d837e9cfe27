"""Options of caption generation. Each method has its own model, so a spec cannot give an option without effect."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal, TypeAlias, TypedDict

from pydantic import AfterValidator, ConfigDict, Field, ValidationInfo

from ..errors import RequestError, choices
from ..options import Options


class _Options(Options):
    model_config = ConfigDict(strict=True)

    max_tokens: int = Field(50, ge=1, description="Longest caption, in tokens, EOS included.")
    batch_size: int = Field(64, ge=1, description="Images captioned at once.")
    use_cache: bool = Field(True, description="Keep the keys and values of earlier positions (same captions, faster).")

    @property
    def is_sampled(self) -> bool:
        """Whether captions are drawn at random, so that they depend on a seed."""
        return False


class GreedyOptions(_Options):
    """Argmax at every step."""

    method: Literal["greedy"] = Field("greedy", description="Argmax at every step.")

    @property
    def num_captions(self) -> int:
        """One: greedy search has a single result."""
        return 1


def _at_most_the_beams(num_captions: int, info: ValidationInfo) -> int:
    num_beams = info.data.get("num_beams", num_captions)  # absent when `num_beams` itself was wrong
    if num_captions > num_beams:
        raise ValueError(f"{num_beams} beams cannot give {num_captions} captions; raise num_beams")
    return num_captions


_CaptionsOfBeams: TypeAlias = Annotated[int, AfterValidator(_at_most_the_beams)]


class BeamOptions(_Options):
    """Beam search; it ranks finished captions by log-probability / length ** length_penalty."""

    method: Literal["beam"] = Field("beam", description="Beam search.")
    num_beams: int = Field(3, ge=2, description="Captions kept at every step.")
    length_penalty: float = Field(1.0, description="Power of the length by which a log-probability is divided.")
    num_captions: _CaptionsOfBeams = Field(1, ge=1, description="Captions returned per image; at most `num_beams`.")


class AverageBeamOptions(_Options):
    """ClipCap's beam search: it ranks finished and unfinished beams together, by mean log-probability per token."""

    method: Literal["average-beam"] = Field("average-beam", description="ClipCap's beam search.")
    num_beams: int = Field(5, ge=2, description="Captions kept at every step, including finished ones.")
    temperature: float = Field(1.0, gt=0, description="Divides the logits that rank the beams.")
    num_captions: _CaptionsOfBeams = Field(1, ge=1, description="Captions returned per image; at most `num_beams`.")


class NucleusOptions(_Options):
    """Sampling from the smallest set of tokens whose probability reaches `top_p` (Holtzman et al., 2020)."""

    method: Literal["nucleus"] = Field("nucleus", description="Sampling from the most likely tokens.")
    top_p: float = Field(0.9, gt=0, le=1, description="Probability mass of the tokens that are sampled from.")
    temperature: float = Field(1.0, gt=0, description="Divides the logits before sampling.")
    num_captions: int = Field(1, ge=1, description="Captions sampled per image.")

    @property
    def is_sampled(self) -> bool:
        """True."""
        return True


GenerateOptions: TypeAlias = Annotated[
    GreedyOptions | BeamOptions | AverageBeamOptions | NucleusOptions, Field(discriminator="method")
]


class OptionChanges(TypedDict, total=False):
    """The options of all methods, as keywords of a call."""

    method: Literal["greedy", "beam", "nucleus", "average-beam"]
    max_tokens: int
    batch_size: int
    use_cache: bool
    num_beams: int
    num_captions: int
    length_penalty: float
    top_p: float
    temperature: float


SHARED_OPTIONS = frozenset(_Options.model_fields)
"""The options that every method has."""

# In this order, a method that the caller does not name is chosen by its options.
_METHODS = (GreedyOptions, BeamOptions, NucleusOptions, AverageBeamOptions)


def changed_options(options: GenerateOptions, changes: Mapping[str, object]) -> GenerateOptions:
    """`options` with the values in `changes`.

    An option that the method lacks chooses the first method that has all of them: beam search for `num_beams`, for
    `num_captions` above 1 and for `length_penalty`, sampling for `top_p` and `temperature`. The options that every method
    has then stay. Where the beams are fewer than `num_captions`, and not named, there are as many.

    Raises `CapfwError` for an unknown option, for options that no method has together, and for a wrong value.
    """
    if not changes:
        return options
    known = {name for method in _METHODS for name in method.model_fields}
    if unknown := [name for name in changes if name not in known]:
        what = f'no option of generation is called "{unknown[0]}".'
        raise RequestError(what, where=unknown[0], fix=choices("Options", sorted(known), unknown[0]))
    if changes.get("num_captions") == 1 and "num_captions" not in type(options).model_fields:
        changes = {name: value for name, value in changes.items() if name != "num_captions"}
    chosen = _method_of(options, changes)
    kept = options.model_dump(include=None if chosen is type(options) else set(SHARED_OPTIONS))
    wanted = changes.get("num_captions")
    if "num_beams" in chosen.model_fields and "num_beams" not in changes and isinstance(wanted, int):
        kept["num_beams"] = max(wanted, kept.get("num_beams", chosen.model_fields["num_beams"].default))
    return chosen(**{**kept, **changes})


def _method_of(options: GenerateOptions, changes: Mapping[str, object]) -> type[GenerateOptions]:
    """The model of the method that `changes` name, or of the first one that has all of them."""
    tags = {method.model_fields["method"].default: method for method in _METHODS}
    if "method" in changes:
        if changes["method"] not in tags:
            raise RequestError(
                f"no method of generation is called {changes['method']!r}.",
                where="method",
                fix=choices("Methods", tags, changes["method"]),
            )
        return tags[changes["method"]]
    for method in (type(options), *_METHODS):
        if changes.keys() <= method.model_fields.keys():
            return method
    lines = (
        f"{name}: {', '.join(tag for tag, method in tags.items() if name in method.model_fields)}" for name in changes
    )
    raise RequestError(
        "no method of generation has all of these options.", where=", ".join(changes), fix="\n".join(lines)
    )
