"""`capfw compare`: runs and files, what it refuses and notes, and its three forms."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from capfw import compare
from capfw.cli import main
from capfw.core.errors import DataError, RequestError

from ..scored_files import captions_file
from .runs import GOOD, POOR, REFERENCES, write_results

HEAVY = ("torch", "torchvision", "transformers", "timm", "open_clip", "accelerate")
NAMES = ["BLEU-1", "BLEU-2", "BLEU-3", "BLEU-4", "ROUGE-L", "CIDEr"]


def capfw(*arguments: object) -> Result:
    return CliRunner().invoke(main, ["compare", *map(str, arguments)])


@pytest.fixture
def runs(tmp_path: Path) -> tuple[Path, Path]:
    return write_results(tmp_path / "poor", POOR), write_results(tmp_path / "good", GOOD)


def test_two_runs_in_python(runs: tuple[Path, Path]) -> None:
    found = compare(runs, num_images=1)
    assert (found.num_images, found.num_resamples, found.num_trials, found.notices) == (4, 1000, 10_000, [])
    assert list(found.scores) == NAMES
    for each in found.differences:
        values = found.scores[each.score]
        assert each.value == pytest.approx(values["good"].value - values["poor"].value)
        assert each.interval is not None
        assert each.p is not None
        assert each.interval.low <= each.value <= each.interval.high
        assert 0 < each.p <= 1
    [rouge] = [each for each in found.differences if each.score == "ROUGE-L"]
    assert (rouge.better, rouge.equal, rouge.worse) == (3, 1, 0)
    assert rouge.lost == []
    assert rouge.gained[0].image_id in GOOD
    assert rouge.gained[0].other_caption == GOOD[rouge.gained[0].image_id]
    assert compare(runs, num_images=1) == found
    assert compare(runs, num_images=1, seed=1) != found


def test_the_stored_scores_and_the_same_candidates_in_files_compare_alike(
    runs: tuple[Path, Path], tmp_path: Path
) -> None:
    references = captions_file(tmp_path, [(i, text) for i, texts in REFERENCES.items() for text in texts])
    files = [run / "candidates/test.json" for run in runs]
    stored = compare(runs, num_images=0)
    scored = compare([f"poor={files[0]}", f"good={files[1]}"], references=references, num_images=0)
    assert {d.score: d for d in scored.differences} == {d.score: d for d in stored.differences}
    mixed = compare([runs[0], f"good={files[1]}"], references=references, metrics="cider", num_images=0)
    assert [d for d in stored.differences if d.score == "CIDEr"] == mixed.differences


def test_finished_results_are_compared_without_torch(runs: tuple[Path, Path]) -> None:
    code = (
        "import sys\nfrom capfw.cli import main\n"
        f"try:\n    main({['compare', *map(str, runs)]!r})\nexcept SystemExit as err:\n    assert not err.code, err.code\n"
        f"print(sorted(set({HEAVY!r}) & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.splitlines()[-1] == "[]"


def test_the_table_has_both_values_the_difference_and_the_method(runs: tuple[Path, Path]) -> None:
    done = capfw(*runs, "--by", "ROUGE-L", "--images", 1)
    assert done.exit_code == 0, done.output
    rows = [line.split() for line in done.stdout.splitlines() if line.startswith("ROUGE-L")]
    values = json.loads((runs[1] / "scores/test.json").read_text())["scores"]
    assert rows[0][:2] == ["ROUGE-L", "poor"]
    assert rows[1][:3] == ["ROUGE-L", "good", f"{values['ROUGE-L']:.4f}"]
    assert rows[1][-5:] == ["3", "/", "1", "/", "0"]
    assert "p: paired approximate randomisation, 10,000 trials, two-sided." in done.stdout
    assert "95 % interval: paired bootstrap, 1,000 resamples of the images." in done.stdout
    assert "Images that gained most ROUGE-L in good, against poor:" in done.stdout
    assert "lost most" not in done.stdout


def test_markdown_latex_and_json(runs: tuple[Path, Path], tmp_path: Path) -> None:
    hostile = write_results(tmp_path / "a_b|c", {**GOOD, 1: "a \x1b[31mdog``` <b>\nruns"})
    markdown = capfw(runs[0], hostile, "--format", "markdown").stdout
    assert markdown.startswith(
        "| score | system | value | difference | 95 % interval | p | better / equal / worse |\n|---|"
    )
    assert "| CIDEr | a_b\\|c |" in markdown
    latex = capfw(runs[0], hostile, "--format", "latex").stdout
    assert "\\begin{tabular}{llrrrrr}" in latex
    assert r"CIDEr & a\_b|c & " in latex
    text = capfw(runs[0], hostile).stdout
    assert "\x1b" not in text + markdown
    assert "a_b|c: a  [31mdog''' <b> runs" in markdown
    found = json.loads(capfw(*runs, "--json").stdout)
    assert found["systems"] == {"poor": [str(runs[0])], "good": [str(runs[1])]}
    assert found["p_method"] == "paired approximate randomisation, two-sided"
    assert [each["score"] for each in found["differences"]] == NAMES
    assert set(found["differences"][0]["interval"]) == {"low", "high"}


def test_seeds_of_one_setting_are_one_system(runs: tuple[Path, Path], tmp_path: Path) -> None:
    again = write_results(tmp_path / "good-1", {**GOOD, 3: "men"}, signature={"seed": 1})
    done = capfw(runs[0], f"tuned={runs[1]},{again}", "--json")
    found = json.loads(done.stdout)
    assert found["systems"] == {"poor": [str(runs[0])], "tuned": [str(runs[1]), str(again)]}
    ciders = [json.loads((run / "scores/test.json").read_text())["scores"]["CIDEr"] for run in (runs[1], again)]
    assert found["scores"]["CIDEr"]["tuned"]["value"] == pytest.approx(sum(ciders) / 2)
    assert found["p_method"] == "t test over images and runs"
    assert "Note: poor is one run: its intervals and p-values do not cover the seed of its training." in done.stderr
    assert "plus that between the runs of each system" in capfw(runs[0], f"{runs[1]},{again}").stdout


def test_three_systems_get_holms_correction_said_in_the_output(runs: tuple[Path, Path], tmp_path: Path) -> None:
    third = write_results(tmp_path / "third", {**GOOD, 3: "men"})
    done = capfw(*runs, third)
    assert "p (Holm)" in done.stdout.splitlines()[0]
    assert "p is corrected by Holm's method for the 2 comparisons of each score." in done.stdout


def test_other_references_or_images_are_refused(runs: tuple[Path, Path], tmp_path: Path) -> None:
    fewer = {**REFERENCES, 1: ("a red dog",)}
    other = write_results(tmp_path / "other", GOOD, fewer)
    with pytest.raises(DataError) as caught:
        compare([runs[0], other])
    assert str(caught.value) == (
        f"{other} was scored against other references than {runs[0]}: 8 and 7 captions.\n"
        "  Evaluate both on the same data. Or score both against one file: add --references FILE."
    )
    texts = {**REFERENCES, 1: ("a blue dog", "a dog")}
    done = capfw(runs[0], write_results(tmp_path / "texts", GOOD, texts))
    assert done.exit_code == 2
    assert "as many captions, but other texts, or other names of the image files" in done.stderr
    some = [{i: each[i] for i in (1, 2, 3)} for each in (GOOD, REFERENCES)]
    done = capfw(runs[0], write_results(tmp_path / "some", *some))
    assert done.exit_code == 2
    assert "some has other images than " in done.stderr
    assert "only one of them has 'x'." in done.stderr


def test_other_tokens_options_and_versions_are_named(runs: tuple[Path, Path], tmp_path: Path) -> None:
    facts = {"generate": {"method": "beam", "num_beams": 3}, "versions": {"torch": "2.15"}}
    other = write_results(tmp_path / "other", GOOD, signature=facts)
    file = other / "scores/test.json"
    record = json.loads(file.read_text())
    record["signature"]["metrics"][2]["tokenizer"] = "white space"
    file.write_text(json.dumps(record))
    done = capfw(runs[0], other)
    assert done.exit_code == 0
    both = f"{runs[0]} and {other}"
    assert f"Note: CIDEr: tokenizer differs between {both}: " in done.stderr
    assert "and white space. Do not trust the difference of these scores." in done.stderr
    assert f"generation of {both} differ: method greedy and beam; num_beams none and 3." in done.stderr
    assert f"versions of {both} differ: torch 2.14 and 2.15." in done.stderr


def test_scores_that_one_lacks_are_left_out_with_a_notice(runs: tuple[Path, Path], tmp_path: Path) -> None:
    other = write_results(tmp_path / "other", GOOD, metrics="cider")
    found = compare([runs[0], other])
    assert list(found.scores) == ["CIDEr"]
    assert found.notices[0].startswith("Left out: BLEU-1, BLEU-2, BLEU-3, BLEU-4, ROUGE-L, which not all systems have.")
    with pytest.raises(RequestError, match=r"no score in common[\s\S]*Scores of the first: CIDEr"):
        compare([other, write_results(tmp_path / "rouge", GOOD, metrics="rouge-l")])


def test_the_split_is_test_else_val_or_the_one_that_is_named(runs: tuple[Path, Path], tmp_path: Path) -> None:
    validated = [write_results(tmp_path / name, captions, split="val") for name, captions in (("v", GOOD), ("w", POOR))]
    assert compare(validated).num_images == compare(validated, split="validation").num_images == 4
    done = capfw(runs[0], validated[0], "--split", "test")
    assert done.exit_code == 2
    assert done.stderr == (
        f"{validated[0]}: this folder has no scores of split test; it has those of val.\n"
        f"  Score that split first: capfw evaluate {validated[0]} --split test\n"
    )


def test_a_metric_that_is_not_installed_leaves_its_scores_without_an_interval(runs: tuple[Path, Path]) -> None:
    file = runs[1] / "scores/test.json"
    record = json.loads(file.read_text())
    record["statistics"][0]["metric"] = "blue"
    file.write_text(json.dumps(record))
    found = compare(runs)
    by_score = {each.score: each for each in found.differences}
    assert (by_score["BLEU-4"].interval, by_score["BLEU-4"].p) == (None, None)
    assert by_score["CIDEr"].interval is not None
    notice = 'metric "blue" cannot be loaded, so its scores cannot be resampled: no metric is called "blue".'
    assert found.notices == [notice]
    shown = capfw(*runs).stdout
    assert ["none", "none"] in [
        line.split()[4:6] for line in shown.splitlines() if line.split()[:2] == ["BLEU-4", "good"]
    ]
    assert "none: the score cannot be resampled." in shown


def test_damaged_results_are_refused(runs: tuple[Path, Path]) -> None:
    file = runs[1] / "candidates/test.json"
    entries = json.loads(file.read_text())
    del entries[0]["log_prob"]
    file.write_text(json.dumps(entries))
    done = capfw(*runs)
    assert done.exit_code == 1
    scores = runs[1] / "scores/test.json"
    assert done.stderr.startswith(
        f"{scores}: the results of split test cannot be read: KeyError('log_prob')\n  Delete this"
    )


def test_useless_requests_are_refused_with_a_fix(runs: tuple[Path, Path], tmp_path: Path) -> None:
    poor, good = runs
    file = poor / "candidates/test.json"
    cases = {
        (poor,): "one system cannot be compared.\n  Name two or more: capfw compare A B",
        (poor, poor): 'two systems are "',
        (
            poor,
            file,
        ): f"{file}: a file of candidates needs references.\n  Name a run directory, or add --ref",
        (poor, "gone"): "gone: there is no such file or folder.",
        (poor, f"x={good},{good}"): "is named twice in one system.",
        (poor, "x="): '"x=" names no run.',
        (
            poor,
            good,
            "--resamples",
            999,
        ): "num_resamples (--resamples): 999 resamples are too few for an interval.\n  Use 1000",
        (poor, good, "--metrics", "cider"): "--metrics needs --references",
        (poor, good, "--allow-missing"): "--allow-missing needs --references",
        (poor, good, "--by", "CIDER"): 'Did you mean "CIDEr"?',
        (poor, good, "--json", "--by", "CIDEr"): "leave out --format and --by",
        (poor, good, "--format", "latex", "--by", "CIDEr"): "leave out --by",
    }
    for arguments, words in cases.items():
        done = capfw(*arguments)
        assert done.exit_code == 2, arguments
        assert words in done.stderr, arguments
    with pytest.raises(RequestError, match=r"metrics: the stored scores have their metrics\.\n  Add references"):
        compare(runs, metrics="cider")
