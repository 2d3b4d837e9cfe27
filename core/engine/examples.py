"""Views of an evaluation for people: all its images, a few examples, and whether its captions differ."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self, TypeVar

from ..protocols import CaptionedImage, CaptionedSplit, Sample
from ..spec import RunSpec
from .evaluation import Evaluation

_FEWEST = 20  # images: in fewer, equal captions prove nothing
ItemT = TypeVar("ItemT")


def captioned_images(evaluation: Evaluation, samples: Sequence[Sample]) -> list[CaptionedImage]:
    """The samples, in their order, with the captions and scores of an evaluation of them."""
    return [
        CaptionedImage(
            sample.image_id,
            tuple(caption.text for caption in evaluation.captions[sample.image_id]),
            tuple(caption.log_prob for caption in evaluation.captions[sample.image_id]),
            sample.references,
            {
                name: values[sample.image_id]
                for name, values in evaluation.per_image.items()
                if sample.image_id in values
            },
            sample.source,
            sample.file_name,
        )
        for sample in samples
    ]


def captioned_split(
    evaluation: Evaluation, samples: Sequence[Sample], spec: RunSpec, *, run_name: str
) -> CaptionedSplit:
    """All of an evaluation, as loggers and exporters receive it."""
    images = captioned_images(evaluation, samples)
    facts = spec.without_loggers()
    return CaptionedSplit(run_name, evaluation.split, evaluation.step, evaluation.scores, images, facts)


def spread(items: Sequence[ItemT], count: int) -> list[ItemT]:
    """At most `count` items at equal distances: the same ones in every call."""
    most = min(count, len(items))
    return [items[place * len(items) // most] for place in range(most)]


@dataclass(frozen=True)
class Variety:
    """How different the captions of a split are: the numbers of images and of distinct captions, and the most frequent one.

    `num_distinct_references` and `num_most_frequent_reference` are those of the first references of the same images.
    """

    num_images: int
    num_distinct: int
    most_frequent: str
    num_most_frequent: int
    num_distinct_references: int
    num_most_frequent_reference: int

    @classmethod
    def of(cls, evaluation: Evaluation, samples: Sequence[Sample]) -> Self:
        """The variety of the best captions of an evaluation of these samples."""
        captions = Counter(evaluation.captions[sample.image_id].text for sample in samples)
        references = Counter(sample.references[0] for sample in samples if sample.references)
        [(most_frequent, count)] = captions.most_common(1) or [("", 0)]
        return cls(
            len(samples), len(captions), most_frequent, count, len(references), max(references.values(), default=0)
        )

    @property
    def distinct_share(self) -> float:
        """The number of distinct captions divided by the number of images."""
        return self.num_distinct / max(1, self.num_images)

    @property
    def is_collapsed(self) -> bool:
        """Whether one caption stands for most images, or few captions for all, though their references differ.

        Data whose references themselves repeat (three sounds, a fixed template) are not collapsed.
        """
        if self.num_images < _FEWEST:
            return False
        is_one_for_most = self.num_most_frequent * 2 >= self.num_images > self.num_most_frequent_reference * 4
        return is_one_for_most or self.num_distinct * 20 <= self.num_distinct_references

    def in_words(self) -> str:
        """The numbers, and the most frequent caption."""
        return (
            f"{self.num_distinct} different captions for {self.num_images} images "
            f'({self.distinct_share:.0%}), {self.num_most_frequent} times "{self.most_frequent}"'
        )


def collapse_notice(split: str, variety: Variety, spec: RunSpec) -> str:
    """The notice of captions that have collapsed, with one fix."""
    can_standardize = spec.train.tune.encoder is None and not spec.features.standardize
    fix = "set /features/standardize to true in another /run_dir" if can_standardize else "raise /train/lr"
    return (
        f"{split}: captions have collapsed: {variety.in_words()}. The model hardly uses the image. Early in training this "
        f"is normal; if it stays so, {fix}."
    )
