"""`score_files`: COCO results against COCO captions, without a run."""

from __future__ import annotations

import hashlib
import json
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from capfw.core.errors import DataError, PluginError, SpecError
from capfw.core.protocols import Captioned, Component, MetricConfig, Scores, hookimpl
from capfw.core.registry import Registry
from capfw.core.scoring import choose_metrics, score_files
from capfw.plugins.metrics import clip_score, coco_caption
from capfw.plugins.metrics.coco_caption import BleuConfig, CiderConfig, RougeLConfig
from capfw.plugins.metrics.coco_caption.model import Bleu, Cider, RougeL

from .scored_files import Words, captions_file, results


def test_scores_signature_and_per_image_values(tmp_path: Path) -> None:
    candidates = results(tmp_path, [(2, "two words"), ("x", "one more word here")])
    references = captions_file(tmp_path, [("x", "a"), (2, "b"), ("x", "c")])
    found = score_files(candidates, references, [Words()])
    assert found.scores == {"WORDS": 3.0}
    assert found.per_image == {"WORDS": {"x": 4.0, 2: 2.0}}
    assert found.notices == ()
    assert found.signature == {
        "num_images": 2,
        "num_left_out": 0,
        "candidates": {"file": "results.json", "sha256": hashlib.sha256(candidates.read_bytes()).hexdigest()},
        "references": {"file": "captions.json", "sha256": hashlib.sha256(references.read_bytes()).hexdigest()},
        "metrics": [{"scores": ["WORDS"], "variant": "words"}],
    }
    assert json.loads(json.dumps(found.signature)) == found.signature


def test_images_without_candidate_are_an_error_or_left_out(tmp_path: Path) -> None:
    candidates = results(tmp_path, [(7, "a dog")])
    references = captions_file(tmp_path, [(i, "a dog") for i in range(9)])
    with pytest.raises(DataError, match=re.escape("8 images with no candidate: 0, 1, 2, 3, 4 and 3 more.")) as err:
        score_files(candidates, references, [Words()])
    assert err.value.where == str(candidates)
    assert "allow_missing" in str(err.value)
    found = score_files(candidates, references, [Words()], allow_missing=True)
    assert found.per_image["WORDS"] == {7: 2.0}
    assert (found.signature["num_images"], found.signature["num_left_out"]) == (1, 8)
    assert found.notices == ("Left out: 8 images with no candidate.",)


def test_candidates_without_references_are_an_error_or_left_out(tmp_path: Path) -> None:
    candidates = results(tmp_path, [(1, "a dog"), (2, "a cat")])
    references = captions_file(tmp_path, [(1, "a dog")])
    with pytest.raises(DataError, match=re.escape("1 image with no references: 2.")) as err:
        score_files(candidates, references, [Words()])
    assert err.value.where == str(references)
    assert score_files(candidates, references, [Words()], allow_extra=True).per_image["WORDS"] == {1: 2.0}


def test_only_a_name_without_a_counterpart_is_suggested(tmp_path: Path) -> None:
    references = captions_file(tmp_path, [("dog_1.jpg", "a"), ("dog_2.jpg", "b")])
    with pytest.raises(DataError, match=r"1 image with no candidate: dog_2\.jpg") as err:
        score_files(results(tmp_path, [("dog_1.jpg", "a")]), references, [Words()])
    assert "Did you mean" not in str(err.value)
    with pytest.raises(DataError, match=r'For dog_2\.jpg: Did you mean "dgo_2\.jpg"'):
        score_files(results(tmp_path, [("dog_1.jpg", "a"), ("dgo_2.jpg", "b")]), references, [Words()])


def test_candidates_of_one_split_are_offered_that_split(tmp_path: Path) -> None:
    (tmp_path / "known.csv").write_text("file,caption,split\na.jpg,a dog,train\nb.jpg,a cat,Test\n")
    with pytest.raises(DataError, match="all 1 candidates are of split Test") as err:
        score_files(results(tmp_path, [("b.jpg", "a cat")]), tmp_path / "known.csv", [Words()])
    assert "--split Test" in str(err.value)


@pytest.mark.parametrize("options", [{}, {"allow_missing": True, "allow_extra": True}])
def test_files_that_share_no_image_are_not_of_each_other(options: dict[str, bool], tmp_path: Path) -> None:
    candidates, references = results(tmp_path, [("a.jpg", "a dog")]), captions_file(tmp_path, [(5, "x")])
    with pytest.raises(DataError, match="no image of this file has references") as err:
        score_files(candidates, references, [Words()], **options)
    assert "here a.jpg; there 5." in str(err.value)


def test_an_id_may_be_text_here_and_a_number_there(tmp_path: Path) -> None:
    candidates, references = results(tmp_path, [("1", "a dog")]), captions_file(tmp_path, [(1, "a dog")])
    found = score_files(candidates, references, [Words()])
    assert (found.per_image, found.notices) == ({"WORDS": {1: 2.0}}, ())


def test_two_candidates_for_an_image_are_an_error(tmp_path: Path) -> None:
    candidates = results(tmp_path, [(1, "a"), (2, "b"), (1, "c")])
    with pytest.raises(DataError, match=re.escape("1 image with more than one caption: 1.")):
        score_files(candidates, captions_file(tmp_path, [(1, "a"), (2, "b")]), [Words()])


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("[", "no data set reads captions in the format of this file"),
        pytest.param("[" * 100_000, "no data set reads", id="deep"),
        ("{}", "no data set reads"),
        ("[]", "or it is empty"),
        ('{"annotations": []}', "or it is empty"),
        ('[{"image_id": 1}]', "entry 0: an entry needs"),
        ('[{"image_id": 1, "caption": "a"}, {"image_id": 1.5, "caption": "a"}]', "entry 1: an entry needs"),
        ('[{"image_id": true, "caption": "a"}]', "entry 0: an entry needs"),
    ],
)
def test_other_files_are_refused(tmp_path: Path, content: str, said: str) -> None:
    (tmp_path / "results.json").write_text(content)
    with pytest.raises(DataError, match=rf"results\.json.*{said}"):
        score_files(tmp_path / "results.json", captions_file(tmp_path, [(1, "a")]), [Words()])


def test_missing_and_wrong_reference_files_are_refused(tmp_path: Path) -> None:
    candidates = results(tmp_path, [(1, "a")])
    with pytest.raises(DataError, match=r"none\.json: cannot read the file"):
        score_files(candidates, tmp_path / "none.json", [Words()])
    (tmp_path / "notes.txt").write_text("a dog\n")
    with pytest.raises(DataError, match="no data set reads captions") as err:
        score_files(candidates, tmp_path / "notes.txt", [Words()])
    assert '"annotations": [{"image_id": ..., "caption": ...}' in str(err.value)


def test_warnings_of_metrics_become_notices(tmp_path: Path) -> None:
    candidates, references = results(tmp_path, [(1, "a dog")]), captions_file(tmp_path, [(1, "a dog")])
    found = score_files(candidates, references, [Cider(CiderConfig())])
    assert len(found.notices) == 1
    assert "among 1 image;" in found.notices[0]


def test_a_metric_that_needs_images_says_so(tmp_path: Path) -> None:
    class NeedsImages(Words):
        def score(self, captioned: Captioned) -> Scores:
            captioned.require_sources(needed_by="brightness")
            return super().score(captioned)

    candidates, references = results(tmp_path, [(1, "a dog")]), captions_file(tmp_path, [(1, "a dog")])
    with pytest.raises(DataError, match="metric brightness needs the images, but a file of captions has none"):
        score_files(candidates, references, [NeedsImages()])


def test_details_of_a_metric_stand_beside_its_signature(tmp_path: Path) -> None:
    class Counts(Words):
        def score(self, captioned: Captioned) -> Scores:
            return replace(super().score(captioned), details={"num_candidates": str(len(captioned.candidates))})

    candidates, references = results(tmp_path, [(1, "a dog")]), captions_file(tmp_path, [(1, "a dog")])
    [facts] = score_files(candidates, references, [Counts()]).signature["metrics"]
    assert facts == {"scores": ["WORDS"], "variant": "words", "num_candidates": "1"}


def test_the_published_example_of_coco_caption(shared_data: Path) -> None:
    folder = shared_data / "coco_val2017"
    found = score_files(
        folder / "fakecap_results.json",
        folder / "captions_val2017.json",
        [Bleu(BleuConfig()), RougeL(RougeLConfig()), Cider(CiderConfig())],
        allow_missing=True,
    )
    expected = json.loads((folder / "fakecap_expected.json").read_text("utf-8"))["ptb"]
    assert found.scores["BLEU-4"] == pytest.approx(expected["Bleu_4"], abs=1e-9)
    assert found.scores["ROUGE-L"] == pytest.approx(expected["ROUGE_L"], abs=1e-9)
    assert found.scores["CIDEr"] == pytest.approx(expected["CIDEr"], abs=1e-9)
    assert found.notices == ("Left out: 4874 images with no candidate.",)


def test_scoring_loads_no_torch() -> None:
    code = (
        "import sys, capfw.core.scoring, capfw.plugins.metrics.coco_caption.model\n"
        "print({'torch', 'transformers', 'open_clip'} & sys.modules.keys())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


class Needy(MetricConfig):
    folder: str


class NeedyPlugin:
    """A stranger's metric with an option that must be given."""

    @hookimpl
    def register_metrics(self) -> list[Component]:
        return [Component("needy", Needy, f"{__name__}:Words", "Counts words.", Needy(folder="x"))]


def test_by_default_a_metric_that_must_be_told_something_is_left_out() -> None:
    registry = Registry([coco_caption, NeedyPlugin()])
    names = [type(metric).__name__ for metric in choose_metrics(registry)]
    assert names == ["Bleu", "Cider", "RougeL"]
    with pytest.raises(SpecError, match="--metrics") as caught:
        choose_metrics(registry, "needy")
    assert [problem.pointer for problem in caught.value.problems] == ["/0/folder"]


def test_every_problem_of_the_chosen_metrics_is_reported_and_an_empty_list_refused() -> None:
    registry = Registry([coco_caption, clip_score])
    with pytest.raises(SpecError) as caught:  # "openai" is not fetched for it
        choose_metrics(registry, '[{"name": "cider", "sigmaa": 3}, "bleuu", "clip-score"]')
    assert [problem.pointer for problem in caught.value.problems] == ["/0/sigmaa", "/1/name", "/2"]
    with pytest.raises(DataError, match="no metric in this list"):
        choose_metrics(registry, "[]")


def test_a_metric_that_fails_is_named(tmp_path: Path) -> None:
    class Divides(Words):
        def score(self, captioned: Captioned) -> Scores:
            raise ZeroDivisionError("division by zero")

    candidates, references = results(tmp_path, [(1, "a dog")]), captions_file(tmp_path, [(1, "a dog")])
    with pytest.raises(PluginError, match=r"metric Divides \(.*\) failed: ZeroDivisionError: division by zero"):
        score_files(candidates, references, [Divides()])


def test_two_metrics_of_one_score_are_refused_rather_than_one_overwriting_the_other(tmp_path: Path) -> None:
    candidates, references = results(tmp_path, [(1, "a dog")]), captions_file(tmp_path, [(1, "a dog")])
    with pytest.raises(PluginError, match="Words yields WORDS, but so does an earlier metric"):
        score_files(candidates, references, [Words(), Words()])


def test_candidates_without_a_word_are_counted_in_a_notice(tmp_path: Path) -> None:
    captions = [(1, ""), (2, " \n"), (3, "..."), (4, "a dog"), (5, "\u200b!"), (6, "-"), (7, "\u3002"), (8, "犬")]
    candidates = results(tmp_path, captions)
    references = captions_file(tmp_path, [(i, "a dog") for i, _ in captions])
    found = score_files(candidates, references, [RougeL(RougeLConfig())])
    assert found.notices == (
        "Found no word in 6 of 8 candidates (empty, or only white space and punctuation): 1, 2, 3, 5, 6 and 1 more. "
        "They are scored unchanged.",
    )
    assert len(found.per_image["ROUGE-L"]) == 8
