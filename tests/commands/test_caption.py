"""`capfw caption`: its options, its lists of images, and what it prints."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result

from capfw import Captioner
from capfw.core.engine.captioning import changed_generation
from capfw.core.protocols import BeamOptions, NucleusOptions, changed_options

Capfw = Callable[..., Result]


def captions_of(result: Result) -> dict[str, list[str]]:
    """The captions by file name, from lines of JSON."""
    rows = map(json.loads, result.stdout.splitlines())
    return {Path(row["file"]).name: [each["caption"] for each in row["captions"]] for row in rows}


def test_it_prints_the_captions_of_the_captioner(
    capfw: Capfw, trained: Path, captioner: Captioner, photos: Path
) -> None:
    result = capfw("caption", photos, "--run", trained, "--device", "cpu")
    files = sorted(photos.iterdir())
    expected = [made[0].text for made in captioner.caption(files)]
    assert (result.exit_code, result.stderr) == (0, "captioned 3 images\n")
    assert result.stdout == "".join(f"{file}\t{text}\n" for file, text in zip(files, expected, strict=True))


def test_changes_of_the_generation_apply_in_their_order(captioner: Captioner) -> None:
    changes = [("/generate/num_beams", 4), ("/generate", {"method": "beam"}), ("/generate/num_beams", 5)]
    assert changed_generation(captioner.spec, changes) == BeamOptions(num_beams=5)


@pytest.mark.parametrize("count", [1, 2, 4])
def test_several_captions_of_a_greedy_run_come_from_a_beam_search(captioner: Captioner, count: int) -> None:
    max_tokens = captioner.spec.generate.max_tokens
    expected = BeamOptions(num_beams=max(3, count), num_captions=count, max_tokens=max_tokens)
    assert captioner.spec.generate.method == "greedy"
    changed = changed_generation(captioner.spec, {}, count)
    assert changed == (captioner.spec.generate if count == 1 else expected)
    assert changed == changed_options(captioner.spec.generate, {"num_captions": count})


def test_set_and_n_change_the_generation(capfw: Capfw, trained: Path, captioner: Captioner, photos: Path) -> None:
    shared = ("caption", photos, "--run", trained, "--device", "cpu", "--json")
    beams = capfw(*shared, "--set", "/generate/method=beam", "--set", "/generate/num_beams=4", "-n", "2")
    files = sorted(photos.iterdir())
    options = BeamOptions(num_beams=4, num_captions=2, max_tokens=12)
    expected = {
        f.name: [each.text for each in made] for f, made in zip(files, captioner.caption(files, options), strict=True)
    }
    assert captions_of(beams) == expected
    whole = '/generate={"method": "nucleus", "top_p": 0.5, "max_tokens": 5}'
    sampled = capfw(*shared, "--set", whole, "-n", "3")
    options = NucleusOptions(top_p=0.5, num_captions=3, max_tokens=5)
    expected = {
        f.name: [each.text for each in made] for f, made in zip(files, captioner.caption(files, options), strict=True)
    }
    assert captions_of(sampled) == expected


@pytest.mark.parametrize(
    ("arguments", "texts"),
    [
        (["--set", "/generate/method=greedy", "-n", "2"], ['/num_captions: unknown key "num_captions"']),
        (["--set", "/train/epochs=2"], ["/train/epochs cannot change when a run captions.", "Change /generate/..."]),
        (["--set", "/generate/method=beem"], ["/generate/method", '"beam"']),
        (["--set", "/generate/num_bems=3", "--set", "/generate/method=beam"], ["/generate/num_bems", "num_beams"]),
        (["--set", "/generate/method=beam", "--set", "/generate/num_beams=3", "-n", "9"], ["raise num_beams"]),
        (
            ["--set", '/generate={"method": "nucleus"}', "--set", "/generate/num_captions=2", "-n", "3"],
            ["-n and --set /generate/num_captions both give", "Leave one of them out."],
        ),
        (["--output", "captions.xlsx"], ['no format has the ending ".xlsx"', ".txt", ".csv", ".jsonl", ".json ("]),
        (["--output", "nowhere/captions.csv"], ["its folder does not exist", "Make the folder nowhere first"]),
        (["--json", "--output", "captions.csv"], ["Leave --json out"]),
        (["--force"], ["Add --output FILE"]),
        (["-0"], ["Add - to IMAGES"]),
        (["--device", "gpu"], ['--device: this machine has no device "gpu"', "Devices here: cpu"]),
        (["https://example.org/a.jpg"], ["https://example.org/a.jpg: this is a URL", "add --allow-urls"]),
        (["s3://bucket/a.jpg", "--allow-urls"], ['s3://bucket/a.jpg: capfw does not download over "s3"', "Use http"]),
    ],
    ids=lambda value: " ".join(value)[:40] if isinstance(value, list) else None,
)
def test_a_wrong_request_is_refused_before_any_work(
    capfw: Capfw, trained: Path, photos: Path, arguments: list[str], texts: list[str]
) -> None:
    result = capfw("caption", photos, "--run", trained, *arguments)
    assert (result.exit_code, result.stdout) == (2, "")
    assert all(text in result.stderr for text in texts), result.stderr


def test_a_folder_without_images_is_a_wrong_request(capfw: Capfw, trained: Path, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("no image")
    result = capfw("caption", tmp_path, "--run", trained)
    assert (result.exit_code, result.stdout) == (2, "")
    assert f"{tmp_path}: there are no images. Skipped: other files (1 .txt): 1." in result.stderr
    assert "Name image files or their folder." in result.stderr


def test_a_missing_file_is_named_and_the_others_are_captioned(capfw: Capfw, trained: Path, photos: Path) -> None:
    result = capfw("caption", photos / "9.png", photos / "1.png", "--run", trained, "--device", "cpu")
    assert result.exit_code == 1
    assert result.stdout.startswith(f"{photos / '1.png'}\t")
    assert result.stderr == f"{photos / '9.png'}: missing\ncaptioned 1 image, skipped 1: missing: 1\n"


def test_the_limit_counts_what_it_leaves_out(capfw: Capfw, trained: Path, photos: Path) -> None:
    result = capfw("caption", photos, "--run", trained, "--limit", "1", "--json", "--device", "cpu")
    assert list(captions_of(result)) == ["1.png"]
    assert (result.exit_code, result.stderr) == (0, "captioned 1 image, skipped 2: beyond --limit: 2\n")


def test_a_list_of_paths_on_stdin(capfw: Capfw, trained: Path, photos: Path) -> None:
    shared = ("--run", trained, "--json", "--device", "cpu")
    odd = photos / "a\nline.png"
    (photos / "2.png").rename(odd)
    lines = f"{photos / '3.png'}\r\n\n{photos / '1.png'}\n".encode()
    assert list(captions_of(capfw("caption", "-", *shared, given=lines))) == ["3.png", "1.png"]
    separated = os.fsencode(odd) + b"\0" + os.fsencode(photos / "3.png")
    result = capfw("caption", photos / "1.png", "-", "-0", *shared, given=separated)
    assert list(captions_of(result)) == ["1.png", "a\nline.png", "3.png"]
    assert capfw("caption", "-", *shared, given=b"").exit_code == 2


def test_text_escapes_line_ends_in_names(capfw: Capfw, trained: Path, photos: Path) -> None:
    (photos / "1.png").rename(photos / "a\nline\\.png")
    result = capfw("caption", photos, "--run", trained, "--device", "cpu")
    assert len(result.stdout.splitlines()) == 3
    assert f"{photos}/a\\nline\\\\.png\t" in result.stdout


def test_a_spec_in_place_of_a_run_directory_names_that_directory(
    capfw: Capfw, trained: Path, spec_file: Path, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(trained.parent)
    for command in (("caption", photos, "--run", "spec.json"), ("evaluate", "spec.json")):
        result = capfw(*command)
        assert (result.exit_code, result.stdout) == (2, "")
        assert result.stderr == (
            "spec.json: this is a file, not a run directory.\n  It is a spec. Name its run directory: run\n"
        )
    untrained = tmp_path / "new.json"
    untrained.write_text(json.dumps(json.loads(spec_file.read_text()) | {"run_dir": "elsewhere"}))
    result = capfw("caption", photos, "--run", untrained)
    assert f"its run is not trained yet. Run it first: capfw run {untrained}" in result.stderr
    result = capfw("caption", photos, "--run", photos / "1.png")
    assert "Name the folder that `capfw run` wrote" in result.stderr


@pytest.mark.skipif(sys.platform == "win32", reason="needs a pseudo-terminal")
def test_progress_is_on_a_terminal_and_captions_on_stdout_alone(trained: Path, photos: Path) -> None:
    screen, terminal = pty.openpty()
    options = ("--set", "/generate/batch_size=1", "--run", str(trained), "--device", "cpu")
    done = subprocess.run(
        [sys.executable, "-m", "capfw", "caption", str(photos), *options],
        stdout=subprocess.PIPE,
        stderr=terminal,
        check=True,
        timeout=120,
        env={**os.environ, "TERM": "xterm", "COLUMNS": "100"},
    )
    os.close(terminal)
    shown = b""
    try:
        while chunk := os.read(screen, 4096):
            shown += chunk
    except OSError:  # the other end is closed
        pass
    lines = done.stdout.decode().splitlines()
    assert [line.split("\t")[0] for line in lines] == [str(photos / f"{number}.png") for number in (1, 2, 3)]
    assert b"1/3" in shown
    assert b"captioned 3 images" in shown
    assert lines[0].encode() not in shown
