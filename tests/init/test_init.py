"""`capfw init`: from somebody's images and captions to a spec that runs, without an editor."""

from __future__ import annotations

import csv
import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from PIL import Image

from capfw.cli import main
from capfw.core.authoring.first_spec import Wishes, draft
from capfw.core.errors import DataError, PluginError
from capfw.core.protocols import Component, DatasetConfig, hookimpl
from capfw.core.registry import Registry
from capfw.core.spec import load_spec
from capfw.core.spec.schema import json_schema

NUM_IMAGES = 20
ROWS = [(f"{i}.jpg", f"{words} number {i}") for i in range(NUM_IMAGES) for words in ("a picture of", "here is")]
TINY = (
    '--set=/encoder/weights="random"',
    '--set=/encoder/architecture={"image_size": 16, "patch_size": 8, "width": 16, "num_layers": 1, "num_heads": 2}',
    '--set=/mapper/prefix_length=2',
    '--set=/decoder={"name": "gpt2", "weights": "random", "num_layers": 1, "width": 16, "num_heads": 2}',
    '--set=/features={"num_workers": 0}',
    '--set=/train={"epochs": 1, "max_steps": 3, "max_caption_tokens": 20}',
    '--set=/generate={"method": "greedy", "max_tokens": 8}',
)  # fmt: skip


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder, the working directory, with twenty JPEGs in `photos`."""
    (tmp_path / "photos").mkdir()
    for i in range(NUM_IMAGES):
        Image.new("RGB", (24, 16), (10 * i, 90, 200)).save(tmp_path / "photos" / f"{i}.jpg")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write_csv(file: Path, header: Iterable[str] = ("file", "caption"), delimiter: str = ",") -> Path:
    with file.open("w", newline="", encoding="utf-8") as opened:
        csv.writer(opened, delimiter=delimiter).writerows([tuple(header), *ROWS])
    return file


def invoke(*arguments: object, answers: str | None = None) -> Result:
    return CliRunner().invoke(main, ["init", *map(str, arguments)], input=answers)


def written(home: Path, name: str = "spec.json") -> Any:
    return json.loads((home / name).read_text(encoding="utf-8"))


def split_sizes(result: Result) -> dict[str, int]:
    assert result.exit_code == 0, result.stderr
    sizes = result.stdout.split("images: ")[1].splitlines()[0]
    return {split: int(count) for split, count in (each.split() for each in sizes.split(", "))}


def are_divided(sizes: dict[str, int], num_images: int = NUM_IMAGES) -> bool:
    """Every image is in a split, and each split has some; how many hangs on the hashes of their names."""
    return list(sizes) == ["train", "val", "test"] and min(sizes.values()) > 0 and sum(sizes.values()) == num_images


def test_jpegs_and_a_csv_become_a_spec_that_runs(home: Path) -> None:
    write_csv(home / "captions.csv")

    made = invoke("--images", "photos", "--captions", "captions.csv", "--encoder", "vit", *TINY)

    assert are_divided(split_sizes(made))
    assert made.stdout.splitlines()[-2:] == ["  capfw validate spec.json", "  capfw run spec.json"]
    ran = CliRunner().invoke(main, ["run", "spec.json", "--json"])
    assert ran.exit_code == 0, ran.stderr
    scores = json.loads(ran.stdout)
    assert scores["split"] == "test"
    assert {"BLEU-4", "ROUGE-L", "CIDEr"} <= scores["scores"].keys()
    assert "$schema" not in json.loads((home / "runs" / "spec" / "spec.json").read_text())


def test_proposal_is_small_and_of_published_weights(home: Path) -> None:
    write_csv(home / "captions.csv")

    result = invoke("--images", "photos", "--captions", "captions.csv")

    assert result.exit_code == 0, result.stderr
    assert written(home) == {
        "$schema": "./capfw.schema.json",
        "capfw": 1,
        "data": {
            "name": "csv",
            "images": "photos",
            "captions": "captions.csv",
            "shares": {"val": 0.1, "test": 0.1},
        },
        "encoder": {"name": "clip", "model": "ViT-B-32", "weights": "openai"},
        "mapper": {"name": "mlp", "prefix_length": 10},
        "decoder": {"name": "gpt2", "weights": "gpt2"},
        "metrics": [{"name": "bleu"}, {"name": "cider"}, {"name": "rouge-l"}],
        "run_dir": "runs/spec",
    }
    assert written(home, "capfw.schema.json") == json_schema(Registry.discover())
    assert "--encoder also takes dinov3, timm, vit" in result.stdout


def test_paths_are_relative_to_the_spec(home: Path) -> None:
    write_csv(home / "captions.csv")

    options = ("--output", "specs/mine.json", "--run-dir", "../runs/mine")
    result = invoke("--images", "photos", "--captions", "captions.csv", *options)

    assert result.exit_code == 0, result.stderr
    spec = written(home, "specs/mine.json")
    assert (spec["data"]["images"], spec["data"]["captions"]) == ("../photos", "../captions.csv")
    assert load_spec(home / "specs" / "mine.json").run_dir == home.resolve() / "runs" / "mine"
    assert (home / "specs" / "capfw.schema.json").is_file()


def as_coco(home: Path) -> Path:
    images = [{"id": i, "file_name": f"{i}.jpg"} for i in range(NUM_IMAGES)]
    annotations = [{"image_id": int(name.split(".")[0]), "caption": caption} for name, caption in ROWS]
    (home / "coco.json").write_text(json.dumps({"images": images, "annotations": annotations}))
    return home / "coco.json"


def as_karpathy(home: Path) -> Path:
    splits = ["train"] * 12 + ["restval"] * 2 + ["val"] * 3 + ["test"] * 3
    images = [
        {"filename": f"{i}.jpg", "imgid": i, "split": split, "sentences": [{"raw": f"number {i}"}]}
        for i, split in enumerate(splits)
    ]
    (home / "karpathy.json").write_text(json.dumps({"images": images}))
    return home / "karpathy.json"


def as_jsonl(home: Path) -> Path:
    lines = [json.dumps({"file": f"{i}.jpg", "captions": [f"number {i}"]}) for i in range(NUM_IMAGES)]
    (home / "captions.txt").write_text("\n".join(lines))
    return home / "captions.txt"


def as_jsonl_with_splits(home: Path) -> Path:
    splits = ["val", "test", *["train"] * (NUM_IMAGES - 2)]
    lines = [json.dumps({"file": f"{i}.jpg", "caption": "x", "split": split}) for i, split in enumerate(splits)]
    (home / "captions.jsonl").write_text("\n".join(lines))
    return home / "captions.jsonl"


def as_image_folder_of_hugging_face(home: Path) -> Path:
    lines = [json.dumps({"file_name": f"{i}.jpg", "text": f"number {i}"}) for i in range(NUM_IMAGES)]
    (home / "metadata.jsonl").write_text("\n".join(lines))
    return home / "metadata.jsonl"


def as_tsv(home: Path) -> Path:
    return write_csv(home / "captions.tsv", ("Image", "Text"), "\t")


def as_semicolons(home: Path) -> Path:
    return write_csv(home / "captions", ("filename", "description"), ";")


@pytest.mark.parametrize(
    ("make", "options", "expected", "sizes"),
    [
        (
            as_coco,
            [],
            {"name": "coco", "all": {"images": "photos", "captions": "coco.json"}},
            None,
        ),
        (as_karpathy, [], {"name": "karpathy"}, {"train": 12, "val": 3, "test": 3}),
        (as_karpathy, ["--set=/data/restval=train"], {"restval": "train"}, {"train": 14, "val": 3, "test": 3}),
        (as_jsonl, [], {"name": "jsonl", "shares": {"val": 0.1, "test": 0.1}}, None),
        (as_jsonl_with_splits, [], {"name": "jsonl"}, {"train": 18, "val": 1, "test": 1}),
        (
            as_image_folder_of_hugging_face,
            [],
            {"name": "jsonl", "columns": {"file": "file_name", "caption": "text"}},
            None,
        ),
        (as_tsv, [], {"delimiter": "\t", "columns": {"file": "Image", "caption": "Text"}}, None),
        (as_semicolons, [], {"name": "csv", "delimiter": ";"}, None),
    ],
)
def test_form_of_the_captions_is_found_by_looking(
    home: Path,
    make: Callable[[Path], Path],
    options: list[str],
    expected: dict[str, object],
    sizes: dict[str, int] | None,
) -> None:
    result = invoke("--images", "photos", "--captions", make(home), *options)

    found = split_sizes(result)
    assert found == sizes or (sizes is None and are_divided(found))
    data = written(home)["data"]
    assert {key: data[key] for key in expected} == expected
    assert ("shares" in data) == (sizes is None)
    assert load_spec(home / "spec.json").data.name == data["name"]


def test_karpathy_files_in_a_folder_per_split_are_found(home: Path) -> None:
    for split in ("train", "restval", "val", "test"):
        shutil.copytree(home / "photos", home / "photos" / split)

    result = invoke("--images", "photos", "--captions", as_karpathy(home))

    assert (result.exit_code, written(home)["data"]["subfolders"]) == (0, "split")


def test_a_caption_that_stands_twice_is_reported_and_stops_nothing(home: Path) -> None:
    """As in the table that the official Flickr8k is handed on in."""
    lines = "".join(f"{file},{caption} .\n" for file, caption in [*ROWS, ROWS[0]])
    (home / "captions.txt").write_text(f"image,caption\n{lines}")

    result = invoke("--images", "photos", "--captions", "captions.txt")

    assert are_divided(split_sizes(result))
    assert f"csv: {len(ROWS) + 1} captions" in result.stdout
    assert "captions.txt: 1 image has a caption more than once: 0.jpg. Every copy is kept" in result.stderr


BAD = b"""file,caption
0.jpg,one
1.jpg,two
nowhere.jpg,three
2.jpg,
0.jpg,one
3.jpg,caf\xe9
4.jpg,four
"""
REPORT = [
    "line 4: no file nowhere.jpg in",
    "line 5: empty caption",
    "line 7: not UTF-8",
]


def test_bad_rows_are_all_told_and_nothing_is_written(home: Path) -> None:
    (home / "captions.csv").write_bytes(BAD)

    result = invoke("--images", "photos", "--captions", "captions.csv")

    assert (result.exit_code, result.stdout) == (2, "")
    assert "3 rows are wrong." in result.stderr
    for line in REPORT:
        assert line in result.stderr
    assert "Save the table as UTF-8 (in Excel: CSV UTF-8)." in result.stderr
    assert (
        "spec.json was not written; --set POINTER=VALUE sets an option in it, for example --set /data/on_bad_row=skip."
        in (result.stderr)
    )
    assert not list(home.glob("*.json"))

    skipped = invoke("--images", "photos", "--captions", "captions.csv", "--set", "/data/on_bad_row=skip")
    assert are_divided(split_sizes(skipped), 3)
    assert all(line in skipped.stderr for line in REPORT)


def test_without_a_terminal_what_is_missing_is_named(home: Path) -> None:
    result = invoke("--images", "photos")

    assert result.exit_code == 2
    assert "photos: no data set finds captions inside this folder" in result.stderr
    assert "Name their file with --captions FILE." in result.stderr
    nothing = invoke()
    assert (nothing.exit_code, "--images must be given" in nothing.stderr) == (2, True)


def test_nothing_is_overwritten_without_force(home: Path) -> None:
    write_csv(home / "captions.csv")
    arguments = ("--images", "photos", "--captions", "captions.csv")
    (home / "spec.json").write_text("mine")

    refused = invoke(*arguments)
    assert (refused.exit_code, (home / "spec.json").read_text()) == (2, "mine")
    assert "this file exists already" in refused.stderr
    assert "--force" in refused.stderr

    assert invoke(*arguments, "--force").exit_code == 0
    assert invoke(*arguments, "--output", "second.json").exit_code == 0  # the schema there is capfw's own
    (home / "capfw.schema.json").write_text("{}")
    refused = invoke(*arguments, "--output", "third.json")
    assert (refused.exit_code, "is not a schema of capfw" in refused.stderr) == (2, True)
    assert not (home / "third.json").exists()


def test_output_that_cannot_be_written_is_named(home: Path) -> None:
    write_csv(home / "captions.csv")
    (home / "file").touch()

    result = invoke("--images", "photos", "--captions", "captions.csv", "--output", "file/specs/spec.json")

    assert result.exit_code == 2
    assert "file: it is not a folder." in result.stderr
    assert "--output" in result.stderr


def test_mapper_fits_the_features_of_the_encoder(home: Path) -> None:
    write_csv(home / "captions.csv")
    arguments = ("--images", "photos", "--captions", "captions.csv")

    assert invoke(*arguments, "--set", "/encoder/features=tokens").exit_code == 0
    assert written(home)["mapper"]["name"] == "transformer"
    refused = invoke(*arguments, "--output", "b.json", "--set", "/encoder/features=tokens", "--mapper", "mlp")
    assert refused.exit_code == 2
    assert '/mapper: "mlp" needs one pooled embedding' in refused.stderr
    assert "b.json was not written" in refused.stderr


def test_unknown_names_and_forms_are_refused(home: Path) -> None:
    write_csv(home / "captions.csv")
    (home / "notes.txt").write_text("no table at all\n")

    wrong = invoke("--images", "photos", "--captions", "captions.csv", "--encoder", "clipp")
    assert (wrong.exit_code, 'Did you mean "clip"?' in wrong.stderr) == (2, True)
    unknown = invoke("--images", "photos", "--captions", "notes.txt")
    assert (unknown.exit_code, "no data set recognizes the format of this file" in unknown.stderr) == (2, True)
    not_coco = invoke("--images", "photos", "--captions", "captions.csv", "--data", "coco")
    assert (not_coco.exit_code, "tried: coco." in not_coco.stderr) == (2, True)
    lines = invoke("--images", "photos", "--captions", as_coco(home), "--data", "csv")
    assert lines.exit_code == 2


def test_columns_of_other_names_can_be_set(home: Path) -> None:
    write_csv(home / "captions.csv", ("bild", "satz"))
    arguments = ("--images", "photos", "--captions", "captions.csv")

    refused = invoke(*arguments)
    assert (refused.exit_code, "Name yours: --column file=NAME --column caption=NAME" in refused.stderr) == (2, True)
    named = invoke(*arguments, "--set", "/data/columns/file=bild", "--set", "/data/columns/caption=satz")
    assert are_divided(split_sizes(named))
    flags = ("--column", "file=bild", "--column", "caption=satz", "--output", "second.json")
    assert are_divided(split_sizes(invoke(*arguments, *flags)))
    assert written(home, "second.json")["data"] == written(home)["data"]


class AudioConfig(DatasetConfig):
    @classmethod
    def for_files(cls, *, images: Path, captions: Path | None, columns: Mapping[str, Sequence[str]]) -> None:
        raise KeyError("odd")


class Strangers:
    @hookimpl
    def register_datasets(self) -> list[Component]:
        return [Component("odd", AudioConfig, "x.model:X", "A data set.", AudioConfig())]


def test_data_set_that_fails_to_look_stops_only_what_no_other_knows(home: Path) -> None:
    registry = Registry.discover().with_plugins(Strangers())
    write_csv(home / "captions.csv")
    (home / "notes.txt").write_text("no table at all\n")

    assert draft(Wishes(home / "photos", home / "captions.csv", "run"), registry, home)["data"]["name"] == "csv"
    with pytest.raises(DataError, match="Data set \"odd\" failed to inspect it: KeyError: 'odd'"):
        draft(Wishes(home / "photos", home / "notes.txt", "run"), registry, home)


def test_where_nothing_is_recommended_a_name_is_asked_for(home: Path) -> None:
    write_csv(home / "captions.csv")
    registry = Registry.discover(skip=["encoder-clip"])

    with pytest.raises(PluginError, match="no encoder is recommended") as caught:
        draft(Wishes(home / "photos", home / "captions.csv", "run"), registry, home)
    assert "Name one with --encoder: dinov3, timm, vit." in str(caught.value)


def test_init_imports_nothing_heavy(home: Path) -> None:
    write_csv(home / "captions.csv")
    code = (
        "import sys\nfrom capfw.cli import main\n"
        "try:\n    main(['init', '--images', 'photos', '--captions', 'captions.csv'])\n"
        "except SystemExit as err:\n    assert not err.code, err.code\n"
        "print(sorted({'torch', 'transformers', 'timm', 'open_clip', 'numpy'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=60)

    assert done.stdout.splitlines()[-1:] == ["[]"], done.stderr
