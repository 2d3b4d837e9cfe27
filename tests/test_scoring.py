"""`score_files`: COCO results against COCO captions, without a run."""

from __future__ import annotations

import hashlib
import json
import re
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from capfw.cli import main
from capfw.core.errors import DataError, PluginError, SpecError
from capfw.core.protocols import Captioned, Component, MetricConfig, Scores, hookimpl
from capfw.core.registry import Registry
from capfw.core.scoring import choose_metrics, score_files
from capfw.plugins.metrics import clip_score, coco_caption
from capfw.plugins.metrics.coco_caption import BleuConfig, CiderConfig, RougeLConfig
from capfw.plugins.metrics.coco_caption.document_frequencies import write_document_frequencies
from capfw.plugins.metrics.coco_caption.model import Bleu, Cider, RougeL

_TINY_CLIP_SCORE = json.dumps(
    [
        {
            "name": "clip-score",
            "weights": "random",
            "model": {
                "embed_dim": 8,
                "vision_cfg": {"image_size": 32, "patch_size": 16, "width": 16, "layers": 1, "head_width": 8},
                "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 8, "heads": 1, "layers": 1},
            },
        }
    ]
)


class Words:
    """Number of words of the candidate."""

    def score(self, captioned: Captioned) -> Scores:
        assert list(captioned.candidates) == list(captioned.references)
        counts = {image_id: float(len(caption.split())) for image_id, caption in captioned.candidates.items()}
        return Scores({"WORDS": sum(counts.values()) / len(counts)}, {"WORDS": counts})

    def signature(self) -> dict[str, str]:
        return {"variant": "words"}


def write(folder: Path, name: str, content: object) -> Path:
    (folder / name).write_text(json.dumps(content))
    return folder / name


def results(folder: Path, captions: Sequence[tuple[Any, str]]) -> Path:
    return write(folder, "results.json", [{"image_id": i, "caption": caption} for i, caption in captions])


def captions_file(folder: Path, captions: Sequence[tuple[Any, str]]) -> Path:
    annotations = [{"id": n, "image_id": i, "caption": caption} for n, (i, caption) in enumerate(captions)]
    return write(folder, "captions.json", {"images": [{"id": i} for i, _ in captions], "annotations": annotations})


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
        "metrics": [{"variant": "words"}],
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


@pytest.mark.parametrize("options", [{}, {"allow_missing": True, "allow_extra": True}])
def test_files_that_share_no_image_are_not_of_each_other(options: dict[str, bool], tmp_path: Path) -> None:
    candidates, references = results(tmp_path, [("a.jpg", "a dog")]), captions_file(tmp_path, [(5, "x")])
    with pytest.raises(DataError, match="no image of this file has references") as err:
        score_files(candidates, references, [Words()], **options)
    assert "here a.jpg; there 5." in str(err.value)


def test_ids_that_are_text_here_and_numbers_there_are_pointed_out(tmp_path: Path) -> None:
    candidates, references = results(tmp_path, [("1", "a dog")]), captions_file(tmp_path, [(1, "a dog")])
    with pytest.raises(DataError, match="text in one file and numbers in the other"):
        score_files(candidates, references, [Words()])


def test_two_candidates_for_an_image_are_an_error(tmp_path: Path) -> None:
    candidates = results(tmp_path, [(1, "a"), (2, "b"), (1, "c")])
    with pytest.raises(DataError, match=re.escape("1 image with more than one caption: 1.")):
        score_files(candidates, captions_file(tmp_path, [(1, "a"), (2, "b")]), [Words()])


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("[", "not JSON"),
        pytest.param("[" * 100_000, "not JSON", id="deep"),
        ("{}", "not a COCO results file"),
        ("[]", "or it is empty"),
        ('[{"image_id": 1}]', "entry 0: an entry needs"),
        ('[{"image_id": 1, "caption": "a"}, {"image_id": 1.5, "caption": "a"}]', "entry 1: an entry needs"),
        ('[{"image_id": true, "caption": "a"}]', "entry 0: an entry needs"),
    ],
)
def test_other_files_are_refused(tmp_path: Path, content: str, said: str) -> None:
    (tmp_path / "results.json").write_text(content)
    with pytest.raises(DataError, match=rf"results\.json.*{said}"):
        score_files(tmp_path / "results.json", captions_file(tmp_path, [(1, "a")]), [Words()])


def test_a_table_of_references_is_told_the_form_that_is_read(tmp_path: Path) -> None:
    (tmp_path / "captions.csv").write_text("file,caption\na.jpg,a dog\n")
    with pytest.raises(DataError, match="this is not JSON") as err:
        score_files(results(tmp_path, [("a.jpg", "a dog")]), tmp_path / "captions.csv", [Words()])
    assert '"annotations": [{"image_id": ..., "caption": ...}' in str(err.value)


def test_missing_and_wrong_reference_files_are_refused(tmp_path: Path) -> None:
    candidates = results(tmp_path, [(1, "a")])
    with pytest.raises(DataError, match=r"none\.json: cannot read the file"):
        score_files(candidates, tmp_path / "none.json", [Words()])
    with pytest.raises(DataError, match='a list "annotations"'):
        score_files(candidates, candidates, [Words()])


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
    assert facts == {"variant": "words", "num_candidates": "1"}


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


def capfw(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def test_the_command_gives_the_published_scores_without_java_or_torch(shared_data: Path, tmp_path: Path) -> None:
    folder = shared_data / "coco_val2017"
    files = [folder / "fakecap_results.json", "--references", folder / "captions_val2017.json"]
    code = (
        "import sys; from capfw.cli import main\n"
        "try: main(sys.argv[1:])\n"
        "except SystemExit as end: assert not end.code, end.code\n"
        "assert not {'torch', 'transformers', 'open_clip'} & sys.modules.keys()"
    )
    arguments = ["score", *map(str, files), "--allow-missing", "--json", "--per-image", str(tmp_path / "images.json")]
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments],
        capture_output=True,
        text=True,
        check=True,
        env={"PATH": str(tmp_path)},
    )
    found = json.loads(done.stdout)
    expected = json.loads((folder / "fakecap_expected.json").read_text("utf-8"))["ptb"]
    names = {f"BLEU-{n}": f"Bleu_{n}" for n in (1, 2, 3, 4)} | {"ROUGE-L": "ROUGE_L", "CIDEr": "CIDEr"}
    assert found["scores"] == pytest.approx({ours: expected[theirs] for ours, theirs in names.items()}, abs=1e-9)
    assert found["signature"]["num_images"] == 126
    images = json.loads((tmp_path / "images.json").read_text())
    assert len(images) == 126
    assert sum(image["CIDEr"] for image in images) / 126 == pytest.approx(expected["CIDEr"], abs=1e-9)


def test_the_command_refuses_what_does_not_pair_up_unless_told(tmp_path: Path) -> None:
    references = captions_file(tmp_path, [(1, "a red dog"), (2, "a cat")])
    candidates = results(tmp_path, [(1, "a dog"), (1, "a red dog"), (3, "a bird")])
    refused = capfw("score", candidates, "--references", references)
    assert refused.exit_code == 2
    assert "1 image with more than one caption: 1." in refused.stderr
    assert "--allow-duplicates" in refused.stderr
    refused = capfw("score", candidates, "--references", references, "--allow-duplicates")
    assert "1 image with no candidate: 2." in refused.stderr
    assert "--allow-missing" in refused.stderr
    allow = ["--allow-duplicates", "--allow-missing", "--allow-extra"]
    scored = capfw("score", candidates, "--references", references, *allow, "--metrics", "rouge-l,bleu", "--json")
    assert scored.exit_code == 0, scored.output
    assert list(json.loads(scored.stdout)["scores"]) == ["ROUGE-L", "BLEU-1", "BLEU-2", "BLEU-3", "BLEU-4"]
    assert json.loads(scored.stdout)["scores"]["BLEU-1"] < 1  # of the first candidate, "a dog"
    assert "Scored only the first of several candidates for 1 image: 1." in scored.stderr


def test_the_command_chooses_metrics_by_name_or_with_options(tmp_path: Path) -> None:
    references = captions_file(tmp_path, [(1, "a red dog"), (2, "a cat")])
    files = [results(tmp_path, [(1, "a dog"), (2, "a cat")]), "--references", references]
    by_default = capfw("score", *files, "--json")
    assert set(json.loads(by_default.stdout)["scores"]) >= {"BLEU-4", "ROUGE-L", "CIDEr"}
    assert "METEOR" not in by_default.stdout
    assert "fewer than 50" in by_default.stderr or "among 2 images" in by_default.stderr
    counts = tmp_path / "counts.json"
    write_document_frequencies(counts, {1: ("a red dog",), 2: ("a cat",)}, origin="two pets")
    chosen = json.dumps([{"name": "cider", "document_frequencies": str(counts)}])
    scored = capfw("score", *files, "--metrics", chosen, "--json")
    assert json.loads(scored.stdout)["signature"]["metrics"][0]["document_frequencies"] == "two pets, 2 images"
    assert 'Did you mean "cider"?' in capfw("score", *files, "--metrics", "cidr").stderr
    assert "needs the images" in capfw("score", *files, "--metrics", _TINY_CLIP_SCORE).stderr
    assert "not JSON" in capfw("score", *files, "--metrics", "[{").stderr


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


@pytest.mark.parametrize("link", ["", "symbolic", "hard", "spelling"])
@pytest.mark.parametrize("which", ["candidates", "references"])
def test_per_image_scores_never_take_the_place_of_an_input(tmp_path: Path, which: str, link: str) -> None:
    inputs = {
        "candidates": results(tmp_path, [(1, "a dog")]),
        "references": captions_file(tmp_path, [(1, "a dog")]),
    }
    taken, output = inputs[which], tmp_path / "by-image.json"
    before = taken.read_bytes()
    if link == "symbolic":
        output.symlink_to(taken)
    elif link == "hard":
        output.hardlink_to(taken)
    else:
        (tmp_path / "sub").mkdir()
        output = tmp_path / "sub" / ".." / taken.name if link else taken
    files = [inputs["candidates"], "--references", inputs["references"]]
    done = capfw("score", *files, "--metrics", "rouge-l", "--per-image", output)
    assert (done.exit_code, done.stdout) == (2, "")
    assert f"{output}: this is the file of the {which}" in done.stderr
    assert "--per-image" in done.stderr
    assert taken.read_bytes() == before


def test_the_command_counts_document_frequencies_for_cider(tmp_path: Path) -> None:
    references = captions_file(tmp_path, [(1, "a red dog"), (1, "a dog"), (2, "a cat"), (3, "the cat")])
    counts = tmp_path / "counts.json"
    done = capfw("score", "--references", references, "--write-document-frequencies", counts)
    assert (done.exit_code, done.stdout) == (0, f"Document frequencies of 3 images: {counts}\n")
    content = json.loads(counts.read_text())
    assert content["num_images"] == 3
    assert content["ngrams"] == {"a": 2, "cat": 2}  # "dog" is in two captions of one image
    files = [results(tmp_path, [(1, "a dog"), (2, "a cat"), (3, "the cat")]), "--references", references]
    chosen = json.dumps([{"name": "cider", "document_frequencies": str(counts)}])
    scored = capfw("score", *files, "--metrics", chosen, "--json")
    digest = hashlib.sha256(references.read_bytes()).hexdigest()
    origin = json.loads(scored.stdout)["signature"]["metrics"][0]["document_frequencies"]
    assert origin == f"captions.json, SHA-256 {digest}, 3 images"
    both = capfw("score", *files, "--write-document-frequencies", tmp_path / "again.json", "--json")
    assert set(json.loads(both.stdout)) == {"scores", "signature"}
    assert (tmp_path / "again.json").read_text() == counts.read_text()


@pytest.mark.parametrize("option", ["--per-image", "--write-document-frequencies"])
def test_an_output_never_takes_the_place_of_a_file_that_a_metric_reads(tmp_path: Path, option: str) -> None:
    references = captions_file(tmp_path, [(1, "a red dog"), (2, "a cat")])
    files = [results(tmp_path, [(1, "a dog"), (2, "a cat")]), "--references", references]
    counts = tmp_path / "counts.json"
    write_document_frequencies(counts, {1: ("a red dog",), 2: ("a cat",)}, origin="two pets")
    before = counts.read_text()
    chosen = json.dumps([{"name": "cider", "document_frequencies": str(counts)}])
    done = capfw("score", *files, "--metrics", chosen, option, counts)
    assert done.exit_code == 2
    assert str(counts) in done.stderr
    assert 'the file of "document_frequencies" of metric cider' in done.stderr
    assert f"Name another file: {option} FILE." in done.stderr
    assert counts.read_text() == before


def test_document_frequencies_need_a_metric_that_counts_and_a_folder(tmp_path: Path) -> None:
    asked = ["score", "--references", captions_file(tmp_path, [(1, "a dog")]), "--write-document-frequencies"]
    done = capfw(*asked, tmp_path / "counts.json", "--metrics", "rouge-l")
    assert done.exit_code == 2
    assert "none of the chosen metrics weighs words" in done.stderr
    assert "Leave out --metrics" in done.stderr
    done = capfw(*asked, tmp_path / "none" / "counts.json")
    assert done.exit_code == 2
    assert "Name a file in a folder that exists: --write-document-frequencies FILE." in done.stderr
    assert "Missing argument 'CANDIDATES'" in capfw(*asked[:-1]).stderr


def test_the_title_of_the_scores_is_on_one_line(tmp_path: Path) -> None:
    references = captions_file(tmp_path, [(1, "a red dog"), (2, "a cat")])
    files = [results(tmp_path, [(1, "a dog"), (2, "a cat")]), "--references", references]
    assert capfw("score", *files, "--metrics", "cider").stdout.startswith("Scores of 2 images\n")


def test_a_file_of_per_image_scores_that_cannot_be_written_is_an_error_before_scoring(tmp_path: Path) -> None:
    files = [results(tmp_path, [(1, "a dog")]), "--references", captions_file(tmp_path, [(1, "a dog")])]
    for place, reason in [("none/images.json", "No such file"), ("", "Is a directory")]:
        done = capfw("score", *files, "--metrics", "rouge-l", "--json", "--per-image", tmp_path / place)
        assert (done.exit_code, done.stdout) == (2, "")
        assert f"{tmp_path / place}: the scores per image cannot be written: {reason}" in done.stderr
        assert "--per-image FILE" in done.stderr


def test_per_image_scores_that_were_there_stay_when_scoring_is_refused(tmp_path: Path) -> None:
    files = [results(tmp_path, [(1, "a dog")]), "--references", captions_file(tmp_path, [(2, "a dog")])]
    (tmp_path / "old.json").write_text("of another time")
    for name in ("old.json", "new.json"):
        assert capfw("score", *files, "--per-image", tmp_path / name).exit_code == 2
    assert (tmp_path / "old.json").read_text() == "of another time"
    assert not (tmp_path / "new.json").exists()


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
