"""CHAIR: the paper's definitions on captions worked out by hand, and the files that it refuses."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from capfw.core.protocols import CapfwWarning, Captioned, ComponentError, DataError
from capfw.plugins.metrics.chair import ChairConfig
from capfw.plugins.metrics.chair.model import Chair
from capfw.plugins.metrics.chair.vocabulary import Vocabulary

CATEGORIES = ("person", "dog", "cat", "elephant", "tie", "toilet", "chair", "wine glass", "hot dog", "knife")
CATEGORIES += ("bench", "bowl")
SYNONYMS = "person, man, woman, baby\ndog, puppy\nchair, seat\nbowl, plate\n"


def objects_file(folder: Path, objects: dict[object, tuple[str, ...]]) -> Path:
    ids = {name: number for number, name in enumerate(CATEGORIES, 1)}
    content = {
        "images": [{"id": image_id} for image_id in objects],
        "categories": [{"id": number, "name": name} for name, number in ids.items()],
        "annotations": [{"image_id": i, "category_id": ids[name]} for i, names in objects.items() for name in names],
    }
    (folder / "instances.json").write_text(json.dumps(content))
    return folder / "instances.json"


def synonyms_file(folder: Path, *without: str) -> Path:
    own = [line for line in SYNONYMS.splitlines() if line.split(",")[0] not in without]
    other = [name for name in CATEGORIES if name not in (*without, "person", "dog", "chair", "bowl")]
    (folder / "synonyms.txt").write_text("\n".join([*own, *other]) + "\n\n")
    return folder / "synonyms.txt"


def test_values_worked_out_by_hand(tmp_path: Path) -> None:
    objects = objects_file(tmp_path, {1: ("dog",), 2: ("cat", "cat"), 3: (), "4": ()})
    chair = Chair(ChairConfig(objects=objects, synonyms=synonyms_file(tmp_path)))
    candidates = {
        1: "A puppy and two men.",  # the dog is annotated, a man is in a reference
        2: "a cat, a cat and a dog on a chair",  # dog and chair are wrong, the cat is named twice
        3: "a bird in the sky",  # no object that is known
        "4": "knives",  # wrong
    }
    references = {1: ("a man walks his dog", "someone outside"), 2: ("a cat",), 3: ("a bird",), "4": ("a spoon",)}
    scores = chair.score(Captioned(candidates, references))
    assert scores.corpus == pytest.approx({"CHAIRi": 3 / 7, "CHAIRs": 2 / 4})
    assert scores.per_image == {"CHAIRs": {1: 0.0, 2: 1.0, 3: 0.0, "4": 1.0}}
    assert scores.details == {"named_objects": "7"}


def test_without_synonyms_only_the_names_count(tmp_path: Path) -> None:
    chair = Chair(ChairConfig(objects=objects_file(tmp_path, {1: ()})))
    scores = chair.score(Captioned({1: "a puppy, a man and two wine glasses"}, {1: ("a table",)}))
    assert scores.corpus == {"CHAIRi": 1.0, "CHAIRs": 1.0}
    assert scores.details == {"named_objects": "1"}
    assert chair.signature()["synonyms"] == "the names of the categories"
    with pytest.warns(CapfwWarning, match="No candidate names an object that metric chair knows"):
        assert chair.score(Captioned({1: "a puppy"}, {})).corpus == {"CHAIRi": 0.0, "CHAIRs": 0.0}


@pytest.mark.parametrize(
    ("caption", "objects"),
    [
        ("two men and a woman", ["person", "person"]),
        ("a baby elephant and a baby", ["elephant", "person"]),
        ("adult dogs", ["dog"]),
        ("a man wears a bow tie", ["person", "tie"]),
        ("a toilet seat", ["toilet"]),
        ("a toilet with its seat up", ["toilet"]),
        ("a seat", ["chair"]),
        ("hot dogs on a plate", ["hot dog", "bowl"]),
        ("he slides to home plate", []),
        ("wine glasses and benches", ["wine glass", "bench"]),
        ("puppies", ["dog"]),
        ("knives", ["knife"]),
        ("a doghouse", []),
        ("", []),
    ],
)
def test_words_that_name_objects(caption: str, objects: list[str]) -> None:
    words = [line.split(", ") for line in SYNONYMS.splitlines()]
    words += [[name] for name in CATEGORIES if name not in ("person", "dog", "chair", "bowl")]
    assert Vocabulary(words).objects_in(caption) == objects


@pytest.mark.parametrize(
    ("name", "plural"),
    [
        *[("bus", "buses"), ("couch", "couches"), ("toothbrush", "toothbrushes"), ("person", "people")],
        *[("giraffe", "giraffes"), ("scarf", "scarves"), ("leaf", "leaves"), ("potted plant", "potted plants")],
        *[("toy", "toys"), ("pony", "ponies"), ("fireman", "firemen"), ("computer mouse", "computer mice")],
        *[
            ("fox", "foxes"),
            ("wine glass", "wine glasses"),
            ("roof", "roofs"),
            ("zebra", "zebras"),
            ("tomato", "tomatoes"),
        ],
    ],
)
def test_plurals(name: str, plural: str) -> None:
    assert Vocabulary([[name]]).objects_in(f"{plural} {name}") == [name, name]


def test_an_irregular_ending_inside_a_word_is_no_such_ending() -> None:
    assert Vocabulary([["human"]]).objects_in("two humans") == ["human"]


def test_files_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    objects = objects_file(tmp_path, {1: ("dog",)})
    with pytest.raises(ComponentError, match=r"synonyms\.txt has no line for knife, tie, which") as caught:
        Chair(ChairConfig(objects=objects, synonyms=synonyms_file(tmp_path, "tie", "knife")))
    assert caught.value.option == "synonyms"
    with pytest.raises(DataError, match="does not list image 7") as missing:
        Chair(ChairConfig(objects=objects)).score(Captioned({7: "a dog"}, {}))
    assert "the file of the split that is scored" in str(missing.value)
    with pytest.raises(DataError, match="no captions to score"):
        Chair(ChairConfig(objects=objects)).score(Captioned({}, {}))
    for content in ("[]", "no JSON", '{"images": []}', '{"images": [], "categories": [], "annotations": [{}]}'):
        objects.write_text(content)
        with pytest.raises(ComponentError, match=r"does not hold objects in the format of COCO's instances") as caught:
            Chair(ChairConfig(objects=objects))
        assert caught.value.option == "objects"
