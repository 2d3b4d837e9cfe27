"""Scenes: their things, positions and references, and the combinations of each split."""

from __future__ import annotations

import random
from dataclasses import dataclass
from itertools import combinations, product

SHAPES = ("circle", "square", "triangle", "cross")
COLOURS = {
    "red": (215, 40, 40),
    "green": (45, 160, 60),
    "blue": (50, 85, 220),
    "yellow": (235, 215, 50),
    "purple": (145, 55, 170),
    "white": (250, 250, 250),
}
RADII = {"small": 0.11, "large": 0.19}  # of the image's width
PLACES = {  # the centre of a single thing, as shares of width and height
    "in the top left corner": (0.25, 0.25),
    "in the top right corner": (0.75, 0.25),
    "in the middle": (0.5, 0.5),
    "in the bottom left corner": (0.25, 0.75),
    "in the bottom right corner": (0.75, 0.75),
}
RELATIONS = {  # of the first thing to the second, and the inverse of each
    "to the left of": "to the right of",
    "above": "below",
}


@dataclass(frozen=True)
class Thing:
    """One coloured shape; `centre` and `radius` are shares of the image's width, `tint` is its RGB colour."""

    shape: str
    colour: str
    size: str
    centre: tuple[float, float]
    radius: float
    tint: tuple[int, int, int]

    def __str__(self) -> str:
        return f"{self.size} {self.colour} {self.shape}"


@dataclass(frozen=True)
class Scene:
    """One thing at a named place, or two things in a relation, and five references."""

    things: tuple[Thing, ...]
    references: tuple[str, ...]


Kind = tuple[str, str, str]  # (size, colour, shape)
Combination = tuple[Kind, str] | tuple[Kind, Kind]  # one thing at a place, or two things together in any relation


def allotted(seed: int, split: str) -> list[Combination]:
    """Returns the combinations of `split`: 80 % of all for train, 10 % for val, 10 % for test, without overlap.

    Every kind of thing is in 52 combinations and every place in 48, so the training images still show each of them.
    """
    kinds = list(product(RADII, COLOURS, SHAPES))
    every: list[Combination] = [*product(kinds, PLACES), *combinations(kinds, 2)]
    random.Random(f"combinations {seed}").shuffle(every)
    tenth = len(every) // 10
    return {"val": every[:tenth], "test": every[tenth : 2 * tenth], "train": every[2 * tenth :]}[split]


def draw_scenes(seed: int, split: str, count: int) -> list[Scene]:
    """Draws the first `count` scenes of a split; a larger count begins with the same scenes."""
    rng = random.Random(f"scenes {seed} {split}")
    every = allotted(seed, split)
    single: list[Combination] = [combination for combination in every if isinstance(combination[1], str)]
    double: list[Combination] = [combination for combination in every if not isinstance(combination[1], str)]
    return [_scene(rng.choice(single if rng.random() < 0.25 else double), rng) for _ in range(count)]


def _scene(combination: Combination, rng: random.Random) -> Scene:
    first, second = combination
    if isinstance(second, str):
        thing = _thing(first, PLACES[second], rng)
        return Scene((thing,), _references_of_one(thing, second, rng))
    left_or_upper, other = rng.sample([first, second], 2)
    relation = rng.choice(list(RELATIONS))
    across = rng.uniform(0.3, 0.7)  # position on the other axis, nearly the same for both
    near, far = (0.26, across), (0.74, across + rng.uniform(-0.08, 0.08))
    if relation == "above":
        near, far = near[::-1], far[::-1]
    things = (_thing(left_or_upper, near, rng), _thing(other, far, rng))
    return Scene(things, _references_of_two(*things, relation, rng))


def _thing(kind: Kind, centre: tuple[float, float], rng: random.Random) -> Thing:
    size, colour, shape = kind
    x, y = (c + rng.uniform(-0.03, 0.03) for c in centre)
    red, green, blue = (min(255, max(0, c + rng.randint(-12, 12))) for c in COLOURS[colour])
    return Thing(shape, colour, size, (x, y), RADII[size] * rng.uniform(0.94, 1.06), (red, green, blue))


def _references_of_one(thing: Thing, place: str, rng: random.Random) -> tuple[str, ...]:
    verb = rng.choice(("is", "sits"))
    return (
        f"a {thing} {place}",
        f"a {thing} {verb} {place} of the picture",
        f"there is a {thing} {place}",
        f"a picture of a {thing} {place}",
        f"a {thing.colour} {thing.shape} {place}",
    )


def _references_of_two(first: Thing, second: Thing, relation: str, rng: random.Random) -> tuple[str, ...]:
    verb = rng.choice(("is", "sits"))
    return (
        f"a {first} {relation} a {second}",
        f"a {first} {verb} {relation} a {second}",
        f"there is a {first} {relation} a {second}",
        f"a {second} {RELATIONS[relation]} a {first}",
        f"a {first.colour} {first.shape} {relation} a {second.colour} {second.shape}",
    )
