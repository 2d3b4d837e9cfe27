"""Sampled captions depend on the run's seed and the image's id; a captioner serves several threads."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from click.testing import CliRunner
from PIL import Image

from capfw import Captioner, Registry, load_spec, run
from capfw.cli import main
from capfw.core.engine.evaluation import Evaluation
from capfw.core.engine.generate import Caption
from capfw.core.engine.run import evaluate_run
from capfw.core.errors import RequestError
from capfw.core.protocols import ImageId, NucleusOptions

Write = Callable[..., Path]
SAMPLING = {"method": "nucleus", "max_tokens": 8, "top_p": 1.0, "temperature": 1.5, "num_captions": 2}


@pytest.fixture
def run_dir(tiny: Write, registry: Registry) -> Path:
    """A trained run that samples."""
    spec = tiny(train={"epochs": 1}, generate={**SAMPLING}, metrics=[{"name": "cider"}])
    return run(load_spec(spec, registry=registry), registry=registry).run_dir


def words(made: Sequence[Sequence[Caption]]) -> list[list[str]]:
    return [[each.text for each in captions] for captions in made]


def texts(evaluation: Evaluation) -> dict[ImageId, list[str]]:
    return dict(zip(evaluation.captions, words(list(evaluation.captions.values())), strict=True))


def test_batches_change_no_sampled_caption_and_the_seed_changes_them(run_dir: Path, tmp_path: Path) -> None:
    written = texts(evaluate_run(run_dir, "test"))
    for size in (1, 3):
        overrides = {"/generate/batch_size": size}
        assert texts(evaluate_run(run_dir, "test", overrides=overrides, output=tmp_path / "sizes")) == written
    arguments = ["evaluate", str(run_dir), "--set", "/seed=7", "--output", str(tmp_path / "seven")]
    done = CliRunner().invoke(main, arguments)  # the frozen random encoder stays that of the run's own seed
    assert done.exit_code == 0, done.output
    drawn = json.loads((tmp_path / "seven" / "candidates" / "test.json").read_text())
    assert {each["image_id"]: each["caption"] for each in drawn} != {i: made[0] for i, made in written.items()}


def test_a_captioner_with_the_ids_of_the_data_set_samples_what_the_evaluation_samples(run_dir: Path) -> None:
    captioner = Captioner.load(run_dir, device="cpu")
    samples = list(captioner.spec.data.build().samples("test"))
    images, ids = [sample.source for sample in samples], [sample.image_id for sample in samples]
    made = words(captioner.caption(images, ids=ids))
    assert dict(zip(ids, made, strict=True)) == texts(evaluate_run(run_dir, "test"))


def test_six_equal_images_get_six_draws_under_six_ids_and_one_without(run_dir: Path) -> None:
    captioner, image = Captioner.load(run_dir, device="cpu"), Image.new("RGB", (16, 16), "red")
    options = NucleusOptions(**SAMPLING)
    drawn = words(captioner.caption([image] * 6, options, ids=range(6)))
    assert len({str(captions) for captions in drawn}) == 6
    assert len({str(captions) for captions in words(captioner.caption([image] * 6, options))}) == 1
    assert words(captioner.caption([image], options, ids=[4])) == drawn[4:5]
    for ids in ([1], [1, 2, 3]):
        with pytest.raises(RequestError, match=r"(more|fewer) ids than images"):
            captioner.caption([image] * 2, options, ids=ids)


def test_a_file_and_its_bytes_sample_alike(run_dir: Path, tmp_path: Path) -> None:
    file = tmp_path / "red.png"
    Image.new("RGB", (16, 16), "red").save(file)
    captioner = Captioner.load(run_dir, device="cpu")
    assert captioner.caption([file]) == captioner.caption([file.read_bytes()])


def test_a_captioner_serves_several_threads(run_dir: Path) -> None:
    captioner = Captioner.load(run_dir, device="cpu")
    images = [Image.new("RGB", (16, 16), (5 * number, 100, 50)) for number in range(40)]
    expected = [words(captioner.caption([image])) for image in images]
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(lambda image: words(captioner.caption([image])), images)) == expected


def test_parts_that_are_not_tuned_are_frozen_and_stay_in_eval_mode(tiny: Write, registry: Registry) -> None:
    whole = {"mapper": {}, "decoder": None}
    prompt = {"mapper": None, "decoder": {"only": ["task_prompt"]}}
    for number, (tune, trained) in enumerate([(whole, "mapper."), (prompt, "decoder.task_prompt")]):
        spec = tiny(
            train={"epochs": 1, "tune": tune},
            decoder={"task_prompt": "a red", "dropout": 0.5},
            metrics=[{"name": "cider"}],
            run_dir=f"run-{number}",
        )
        model = Captioner.load(run(load_spec(spec, registry=registry), registry=registry).run_dir, device="cpu").model
        assert all(name.startswith(trained) for name, _ in model.trainable())
        assert model.train().training
        assert not any(module.training for module in model.decoder.model.modules())
