"""While a run trains: a few captions at every evaluation, and the alarm when captions collapse."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from capfw import Evaluation, load_spec, run
from capfw.core.engine.examples import Variety, collapse_notice, spread
from capfw.core.engine.generate import Caption, ImageCaptions
from capfw.core.engine.observing.progress import ProgressDisplay
from capfw.core.protocols import CaptionedImage, Evaluated, MemorySource, Sample
from capfw.core.registry import Registry

Write = Callable[..., Path]


def log_of(run_dir: Path, event: str) -> list[dict[str, Any]]:
    lines = map(json.loads, (run_dir / "log.jsonl").read_text().splitlines())
    return [line for line in lines if line["event"] == event]


def test_log_has_the_captions_of_the_same_images_at_every_evaluation(tiny: Write, registry: Registry) -> None:
    spec = load_spec(tiny(train={"num_examples": 2}), registry=registry)
    result = run(spec, registry=registry)

    val = spec.data.build().samples("val")
    first, second, final = log_of(result.run_dir, "evaluated")
    assert (first["split"], second["split"], final["split"]) == ("val", "val", "test")
    for evaluated in (first, second):
        assert [each["image_id"] for each in evaluated["examples"]] == [val[0].image_id, val[2].image_id]
        assert [each["references"] for each in evaluated["examples"]] == [list(val[i].references) for i in (0, 2)]
    stored = {
        each["image_id"]: each["caption"] for each in json.loads((result.run_dir / "candidates/test.json").read_text())
    }
    assert [each["caption"] for each in final["examples"]] == [stored[each["image_id"]] for each in final["examples"]]
    assert 0 < final["distinct_share"] <= 1
    assert "results" not in final  # candidates/ and scores/ have them


def test_report_shows_the_captions_of_each_epoch(tiny: Write, registry: Registry) -> None:
    result = run(load_spec(tiny(train={"num_examples": 1}), registry=registry), registry=registry)

    page = (result.run_dir / "report.html").read_text()
    [table] = page.split('<table class="text examples">')[1:]
    rows = table.partition("</table>")[0].split("<tr")[1:]
    captions = [
        each["examples"][0]["caption"] for each in log_of(result.run_dir, "evaluated") if each["split"] == "val"
    ]
    assert len(rows) == 1 + 2 + 1  # heading, epochs, reference
    for number, (row, caption) in enumerate(zip(rows[1:3], captions, strict=True), 1):
        assert f"<td>{number}</td>" in row
        assert f"<td>{caption}</td>" in row


def test_no_examples_on_request_and_a_run_continues_with_another_number(tiny: Write, registry: Registry) -> None:
    result = run(load_spec(tiny(train={"num_examples": 0}), registry=registry), registry=registry, until="train")
    assert [each["examples"] for each in log_of(result.run_dir, "evaluated")] == [[], []]
    run(load_spec(tiny(train={"num_examples": 3}), registry=registry), registry=registry)
    assert [len(each["examples"]) for each in log_of(result.run_dir, "evaluated")] == [0, 0, 3]
    assert '<table class="text examples">' not in (result.run_dir / "report.html").read_text()


def test_terminal_shows_examples_and_obeys_no_control_characters() -> None:
    shown = io.StringIO()
    image = CaptionedImage(7, ("a \x1b[31mred\x1b[0m \u202edog [b]",), (-1.0,), ("one", "two"), {}, MemorySource(b""))
    plain = replace(image, image_id="8", captions=("a cat",), references=())
    display = ProgressDisplay(Console(file=shown, force_terminal=False, width=200))
    display.evaluated(Evaluated("val", 20, {"CIDEr": 0.5}, True, examples=[image, plain]))
    assert shown.getvalue().splitlines() == [
        "val at step 20: CIDEr 0.500 (best so far)",
        '  image 7: "a \\u001b[31mred\\u001b[0m \\u202edog [b]" (reference: "one")',
        '  image 8: "a cat"',
    ]


@pytest.mark.parametrize(
    ("length", "count", "chosen"), [(10, 4, [0, 2, 5, 7]), (3, 4, [0, 1, 2]), (5, 0, []), (0, 4, [])]
)
def test_examples_are_spread_over_the_split(length: int, count: int, chosen: list[int]) -> None:
    assert spread(range(length), count) == chosen


def variety_of(captions: Sequence[str], references: Sequence[str]) -> Variety:
    samples = [Sample(i, MemorySource(b""), (text,)) for i, text in enumerate(references)]
    made = {i: ImageCaptions([Caption(text, -1.0)]) for i, text in enumerate(captions)}
    return Variety.of(Evaluation("val", 1, {}, {}, made, {}), samples)


DIFFERENT = [f"caption {i}" for i in range(40)]


@pytest.mark.parametrize(
    ("captions", "references", "is_collapsed"),
    [
        (DIFFERENT, DIFFERENT, False),
        (["a man"] * 40, DIFFERENT, True),
        (["a man", "a dog"] * 20, DIFFERENT, True),  # half of the images have one caption
        (["a man"] * 19 + DIFFERENT[:21], DIFFERENT, False),
        (["a low tone", "a high tone"] * 20, ["low", "high"] * 20, False),  # the data themselves repeat
        (["a man"] * 19, DIFFERENT[:19], False),  # too few images to tell
    ],
)
def test_collapse_is_one_caption_for_most_images(
    captions: list[str], references: list[str], is_collapsed: bool
) -> None:
    assert variety_of(captions, references).is_collapsed == is_collapsed


def test_few_captions_for_many_images_are_a_collapse() -> None:
    few = [f"caption {i % 10}" for i in range(400)]
    assert variety_of(few, [f"reference {i}" for i in range(400)]).is_collapsed
    assert not variety_of(few, [f"reference {i % 100}" for i in range(400)]).is_collapsed


def test_a_run_whose_captions_collapse_says_so_once_with_one_fix(tiny: Write, registry: Registry) -> None:
    data = {"num_val": 24, "num_test": 24}
    spec = tiny(data={"name": "shapes", "num_train": 16, "image_size": 32, **data}, train={"lr": 1e-9, "epochs": 3})
    result = run(load_spec(spec, registry=registry), registry=registry)

    notices = [each["text"] for each in log_of(result.run_dir, "notice") if "collapsed" in each["text"]]
    assert len(notices) == 2  # of val once in three evaluations, and of the final split
    assert re.match(
        r'val: captions have collapsed: \d different captions for 24 images \(\d+%\), 2\d times "', notices[0]
    )
    assert notices[0].endswith("if it stays so, set /features/standardize to true in another /run_dir.")
    assert notices[1].startswith("test: captions have collapsed")


def test_the_fix_is_another_where_features_are_standardized(tiny: Write, registry: Registry) -> None:
    spec = load_spec(tiny(features={"standardize": True}), registry=registry)
    notice = collapse_notice("val", variety_of(["a man"] * 40, DIFFERENT), spec)
    assert notice == (
        'val: captions have collapsed: 1 different captions for 40 images (2%), 40 times "a man". The model hardly uses the '
        "image. Early in training this is normal; if it stays so, raise /train/lr."
    )
