"""CHAIR of captions, from the objects of the images and of their references."""

from __future__ import annotations

import hashlib
import json
import warnings
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ....core.protocols import CapfwWarning, Captioned, ComponentError, DataError, ImageId, Scores, listed
from ...libraries.ptb import TOKENIZER, tokenize_all
from . import ChairConfig
from .vocabulary import Vocabulary

_NUM_SHOWN = 5


class Chair:
    """CHAIRi and CHAIRs. An image has the objects of its annotations, and those that its references name.

    CHAIRi has no value per image: it divides by the number of objects that all captions name.
    """

    def __init__(self, config: ChairConfig) -> None:
        """Raises `ComponentError` for a file that does not hold objects or synonyms, or where the two do not fit."""
        self.objects, categories = _read_objects(config.objects)
        words = _read_synonyms(config.synonyms) if config.synonyms else [(name,) for name in categories]
        self.vocabulary = Vocabulary(words)
        unknown = sorted(name for name in categories if name.lower() not in self.vocabulary.names)
        if unknown:
            raise ComponentError(
                f"{config.synonyms} has no line for {listed(unknown, _NUM_SHOWN)}, which {config.objects} names.",
                option="synonyms",
                fix="Add a line that begins with, or contains, each of these names.",
            )
        self._facts = {"objects": _named(config.objects)}
        self._facts["synonyms"] = _named(config.synonyms) if config.synonyms else "the names of the categories"

    def score(self, captioned: Captioned) -> Scores:
        """Raises `DataError` without captions, or for an image whose objects the file does not list."""
        ids = list(captioned.candidates)
        if not ids:
            raise DataError("there are no captions to score.", fix="Score at least one image.")
        present = {image_id: self._present(image_id, captioned) for image_id in ids}
        named = dict(
            zip(ids, map(self.vocabulary.objects_in, tokenize_all(captioned.candidates.values())), strict=True)
        )
        wrong = {i: [each for each in named[i] if each not in present[i]] for i in ids}
        num_named, num_wrong = (sum(map(len, each.values())) for each in (named, wrong))
        if not num_named:
            warnings.warn(
                "No candidate names an object that metric chair knows, so CHAIRi and CHAIRs are 0 and show nothing.",
                CapfwWarning,
                stacklevel=2,
            )
        per_image = {image_id: float(bool(wrong[image_id])) for image_id in ids}
        corpus = {"CHAIRi": num_wrong / max(1, num_named), "CHAIRs": sum(per_image.values()) / len(ids)}
        counts = {i: [float(len(wrong[i])), float(len(named[i]))] for i in ids}
        return Scores(corpus, {"CHAIRs": per_image}, {"named_objects": str(num_named)}, counts)

    @staticmethod
    def corpus_of(sums: NDArray[np.float64]) -> dict[str, NDArray[np.float64]]:
        """CHAIRi, from the numbers of wrong and of named objects."""
        return {"CHAIRi": sums[..., 0] / np.maximum(1, sums[..., 1])}

    def signature(self) -> dict[str, str]:
        variant = "objects of the annotations and of the references; regular plurals"
        return {"tokenizer": TOKENIZER, "library": "capfw", "variant": variant, **self._facts}

    def _present(self, image_id: ImageId, captioned: Captioned) -> set[str]:
        key = str(image_id)
        if key not in self.objects:
            raise DataError(
                f"the file of objects does not list image {image_id}.",
                where='"objects" of metric chair',
                fix="Name the file of the split that is scored, with all of its images in `images`.",
            )
        annotated = {self.vocabulary.names[name.lower()] for name in self.objects[key]}
        references = tokenize_all(captioned.references.get(image_id, ()))
        return annotated.union(*map(self.vocabulary.objects_in, references))


def _read_objects(file: Path) -> tuple[dict[str, set[str]], tuple[str, ...]]:
    """The names of the objects of each image, by its id as text, and the names of all categories."""
    try:
        content = json.loads(file.read_text("utf-8"))
        names = {each["id"]: str(each["name"]) for each in content["categories"]}
        objects: dict[str, set[str]] = {str(each["id"]): set() for each in content["images"]}
        for each in content["annotations"]:
            objects[str(each["image_id"])].add(names[each["category_id"]])
    except (OSError, ValueError, KeyError, TypeError) as err:
        raise ComponentError(
            f"{file} does not hold objects in the format of COCO's instances: {err!r}.",
            option="objects",
            fix='Use a file such as instances_val2014.json, with "images", "annotations" and "categories".',
        ) from err
    return objects, tuple(names.values())


def _read_synonyms(file: Path) -> list[tuple[str, ...]]:
    try:
        lines = file.read_text("utf-8").splitlines()
    except (OSError, ValueError) as err:
        raise ComponentError(f"{file} cannot be read: {err}", option="synonyms", fix="Save it as UTF-8 text.") from err
    return [tuple(word.strip() for word in line.split(",") if word.strip()) for line in lines if line.strip(" ,")]


def _named(file: Path) -> str:
    return f"{file.name}, SHA-256 {hashlib.sha256(file.read_bytes()).hexdigest()[:16]}"
