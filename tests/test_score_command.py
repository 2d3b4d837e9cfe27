"""`capfw score`: scores, choices, and outputs that overwrite nothing."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from capfw.cli import main
from capfw.plugins.libraries.document_frequencies import write_document_frequencies

from .scored_files import captions_file, results

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


def test_the_command_scores_sets_of_captions_and_their_novelty(tmp_path: Path) -> None:
    references = captions_file(tmp_path, [(1, "a red dog"), (2, "a cat")])
    candidates = results(tmp_path, [(1, "a dog"), (1, "a red dog"), (2, "a cat"), (2, "a cat")])
    training = tmp_path / "known.csv"
    training.write_text("file,caption,split\n5.jpg,A cat.,train\n6.jpg,a dog,test\n")
    arguments = ["score", candidates, "--references", references, "--metrics", "diversity", "--allow-duplicates"]
    scored = capfw(*arguments, "--training-captions", training, "--json")
    assert scored.exit_code == 0, scored.output
    found = json.loads(scored.stdout)
    assert found["scores"]["Novel"] == 0.5  # "a dog" is a caption of the test split
    assert found["scores"]["Div-1"] == pytest.approx((3 / 5 + 2 / 4) / 2)
    assert found["signature"]["training"]["sha256"] == hashlib.sha256(training.read_bytes()).hexdigest()
    assert found["signature"]["metrics"][0]["captions_per_image"] == "2"
    scored = capfw(*arguments)
    assert "left scores out: Novel needs the captions of the training images." in scored.stderr
    assert "Novel" not in scored.stdout
    taken = capfw(*arguments, "--training-captions", training, "--per-image", training)
    assert (taken.exit_code, "this is the file of the training captions" in taken.stderr) == (2, True)


def test_the_command_scores_tables_by_their_columns_and_one_split(tmp_path: Path) -> None:
    (tmp_path / "made.csv").write_text("file;prediction\nphotos/1.jpg;a red dog\nphotos/2.jpg;a cat\n")
    rows = ["1.jpg\ta red dog\ttest", "2.jpg\ta black cat\tTest", "3.jpg\ta bird\ttrain"]
    (tmp_path / "known.tsv").write_text("\n".join(["Bild\tcaption\tsplit", *rows]))
    arguments = [tmp_path / "made.csv", "--references", tmp_path / "known.tsv", "--metrics", "rouge-l", "--json"]
    refused = capfw("score", *arguments)
    assert (refused.exit_code, "Name yours: --reference-column file=NAME" in refused.stderr) == (2, True)
    arguments += ["--reference-column", "file=Bild", "--column", "caption=prediction"]
    refused = capfw("score", *arguments)
    assert "1 image with no candidate: 3.jpg." in refused.stderr
    scored = capfw("score", *arguments, "--split", "test")
    assert scored.exit_code == 0, scored.output
    assert json.loads(scored.stdout)["signature"]["num_images"] == 2
    assert "Matched 2 images by file name, such as photos/1.jpg with 1.jpg." in scored.stderr
    assert "is not ROLE=NAME" in capfw("score", *arguments, "--column", "file").stderr


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
    assert set(json.loads(both.stdout)) == {"scores", "intervals", "interval_method", "signature"}
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


def test_the_table_and_the_json_have_an_interval_of_each_score_that_can_have_one(tmp_path: Path) -> None:
    references = captions_file(tmp_path, [(1, "a red dog"), (2, "a cat"), (3, "a bird in a tree")])
    files = [results(tmp_path, [(1, "a dog"), (2, "a cat"), (3, "two birds")]), "--references", references]
    arguments = ["score", *files, "--metrics", "bleu,rouge-l"]
    found = json.loads(capfw(*arguments, "--json").stdout)
    method = "bootstrap over images, percentiles"
    assert found["interval_method"] == {"method": method, "confidence": 0.95, "num_resamples": 1000, "seed": 0}
    assert list(found["intervals"]) == ["BLEU-1", "BLEU-2", "BLEU-3", "BLEU-4", "ROUGE-L"]
    assert found["intervals"]["ROUGE-L"] == [0.0, 1.0]  # resamples may hold only image 3, or only image 2
    [row] = [line for line in capfw(*arguments).stdout.splitlines() if "ROUGE-L" in line]
    assert row.split("│")[1:4] == [" ROUGE-L ", f" {found['scores']['ROUGE-L']:.4f} ", " 0.0000 to 1.0000 "]


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
