"""Options that users build in Python: their errors have the words of a spec, and keywords choose a method."""

from __future__ import annotations

from typing import Any, get_type_hints

import pytest
from pydantic import Field

from capfw import CapfwError
from capfw.core.errors import SpecError
from capfw.core.protocols import (
    AverageBeamOptions,
    BeamOptions,
    ComponentConfig,
    GenerateOptions,
    GreedyOptions,
    NucleusOptions,
    OptionChanges,
    changed_options,
)


class Widths(ComponentConfig):
    width: int = Field(ge=1, description="Width.")


class Outer(ComponentConfig):
    inner: Widths | None = Field(None, description="An object with options.")
    names: tuple[str, ...] = Field((), description="Names.")


def problems_of(caught: pytest.ExceptionInfo[SpecError]) -> dict[str, str]:
    return {problem.pointer: f"{problem.message} {problem.fix}" for problem in caught.value.problems}


def test_wrong_options_raise_every_problem_in_the_words_of_a_spec() -> None:
    with pytest.raises(SpecError, match=r"^BeamOptions: 2 problems") as caught:
        BeamOptions(num_beams=1, num_captons=2)  # type: ignore[call-arg]  # wrong on purpose
    assert problems_of(caught) == {
        "/num_beams": "must be a whole number, at least 2; got 1. Captions kept at every step.",
        "/num_captons": 'unknown key "num_captons". Keys here: max_tokens, batch_size, use_cache, method, num_beams, '
        'length_penalty, num_captions.  Did you mean "num_captions"?',
    }
    with pytest.raises(SpecError, match="2 beams cannot give 3 captions; raise num_beams"):
        BeamOptions(num_beams=2, num_captions=3)


def test_options_of_a_component_do_the_same_and_name_the_place_inside() -> None:
    with pytest.raises(SpecError, match=r"^Widths: 1 problem\n\n/width: this is required"):
        Widths()  # type: ignore[call-arg]  # wrong on purpose
    with pytest.raises(SpecError) as caught:
        Outer(inner={"width": 0, "depth": 2}, names=("a", 1))  # type: ignore[arg-type]  # wrong on purpose
    assert set(problems_of(caught)) == {"/inner/width", "/inner/depth", "/names/1"}
    assert Outer(inner={"width": 3}).inner == Widths(width=3)  # type: ignore[arg-type]  # pydantic takes a mapping


@pytest.mark.parametrize(
    ("given", "changes", "expected"),
    [
        (GreedyOptions(max_tokens=7), {}, GreedyOptions(max_tokens=7)),
        (GreedyOptions(max_tokens=7), {"batch_size": 2}, GreedyOptions(max_tokens=7, batch_size=2)),
        (GreedyOptions(max_tokens=7), {"num_beams": 4}, BeamOptions(max_tokens=7, num_beams=4)),
        (GreedyOptions(), {"num_captions": 2}, BeamOptions(num_captions=2)),
        (GreedyOptions(), {"temperature": 0.5}, NucleusOptions(temperature=0.5)),
        (GreedyOptions(), {"temperature": 0.5, "num_beams": 2}, AverageBeamOptions(temperature=0.5, num_beams=2)),
        (AverageBeamOptions(num_beams=2), {"num_captions": 2}, AverageBeamOptions(num_beams=2, num_captions=2)),
        (NucleusOptions(top_p=0.5, use_cache=False), {"num_beams": 2}, BeamOptions(num_beams=2, use_cache=False)),
        (BeamOptions(num_beams=4, max_tokens=7), {"method": "greedy"}, GreedyOptions(max_tokens=7)),
        (BeamOptions(num_beams=4), {"method": "beam", "num_captions": 4}, BeamOptions(num_beams=4, num_captions=4)),
    ],
)
def test_keywords_change_options_and_choose_the_method_that_has_them(
    given: GenerateOptions, changes: dict[str, Any], expected: GenerateOptions
) -> None:
    assert changed_options(given, changes) == expected


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"num_beam": 3}, r'^num_beam: no option of generation is called "num_beam"\.\n.*Did you mean "num_beams"\?'),
        ({"method": "beams"}, r"^method: .* called 'beams'\.\n  Methods: greedy, beam, .* Did you mean \"beam\"\?"),
        ({"num_beams": 1}, "/num_beams: must be a whole number, at least 2; got 1"),
        ({"num_beams": "3"}, '/num_beams: must be a whole number, at least 2; got "3"'),
        ({"method": "greedy", "top_p": 0.5}, r'GreedyOptions: 1 problem\n\n/top_p: unknown key "top_p"'),
        (
            {"top_p": 0.5, "length_penalty": 2.0},
            r"^top_p, length_penalty: no method .* has all .*\n  top_p: nucleus\n  length_penalty: beam$",
        ),
    ],
)
def test_wrong_keywords_are_named_with_the_right_ones(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(CapfwError, match=message):
        changed_options(GreedyOptions(), changes)


def test_the_keywords_are_the_options_of_all_methods() -> None:
    models = (GreedyOptions, BeamOptions, AverageBeamOptions, NucleusOptions)
    assert set(get_type_hints(OptionChanges)) == {name for model in models for name in model.model_fields}
