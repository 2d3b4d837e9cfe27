"""From a wheel in a fresh environment, outside the checkout: `capfw init` on tables as people export them, with flags only.

Each form of the table of the same 200 Flickr8k photos goes through `init`, `validate`, `run` and `caption` at the first
try. One environment serves all forms. It borrows the libraries of the running interpreter; capfw itself comes from the
wheel. The forms share a feature store, so the photos are encoded once.
"""

from __future__ import annotations

import csv
import io
import json
import os
import shutil
import subprocess
import sys
import unicodedata
import venv
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow
NUM_PHOTOS = 200
NUM_CAPTIONED = 5
SMALL = {
    "/encoder/model": "mobilenetv1_100",
    "/encoder/model_args": {"pad_type": "same", "bn_eps": 0.001},
    "/encoder/mean": [0.5, 0.5, 0.5],
    "/encoder/std": [0.5, 0.5, 0.5],
    "/encoder/resize_mode": "squash",
    "/decoder/weights": "random",
    "/decoder/num_layers": 1,
    "/decoder/width": 64,
    "/decoder/num_heads": 2,
    "/train/epochs": 1,
    "/generate": {"method": "greedy", "max_tokens": 12},
    "/features/store": "../features",
}


@dataclass
class Made:
    """A table that was written: its file, further flags, the words that init must print, and the images per split."""

    captions: str | None = "captions.csv"
    flags: list[str] = field(default_factory=list)
    said: list[str] = field(default_factory=list)
    splits: dict[str, int] | None = None


Photos = dict[str, list[str]]  # the captions by file name


@pytest.fixture(scope="module")
def capfw(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The `capfw` of a fresh environment with the wheel."""
    home = tmp_path_factory.mktemp("environment")
    venv.create(home, with_pip=False, symlinks=True)
    python = home / "bin" / "python"
    install = [sys.executable, "-m", "pip", "--python", str(python), "install", "--no-deps", "--no-index", str(wheel)]
    subprocess.run(install, check=True, capture_output=True, timeout=300)
    [site] = home.glob("lib/python*/site-packages")
    borrowed = [path for path in sys.path if path.endswith("site-packages")]
    (site / "borrowed.pth").write_text("\n".join(borrowed))
    shown = subprocess.run(
        [python, "-c", "import capfw; print(capfw.__file__)"], cwd=home, capture_output=True, text=True, check=True
    )
    assert Path(shown.stdout.strip()) == site / "capfw" / "__init__.py"
    return home / "bin" / "capfw"


@pytest.fixture(scope="module")
def photos(shared_data: Path) -> Photos:
    """Five captions of each photo, by file name."""
    annotations = json.loads((shared_data / "flickr8k" / "annotations" / "captions_train.json").read_text())
    names = {image["id"]: image["file_name"] for image in annotations["images"][:NUM_PHOTOS]}
    captions: Photos = {name: [] for name in names.values()}
    for entry in annotations["annotations"]:
        if entry["image_id"] in names:
            captions[names[entry["image_id"]]].append(entry["caption"])
    return captions


def rows_of(photos: Photos, rename: Callable[[str], str] = str) -> list[list[str]]:
    return [[rename(name), caption] for name, captions in photos.items() for caption in captions]


def as_csv(header: list[str], rows: list[list[str]], delimiter: str = ",", line_end: str = "\r\n") -> str:
    text = io.StringIO()
    csv.writer(text, delimiter=delimiter, lineterminator=line_end).writerows([header, *rows])
    return text.getvalue()


def excel(home: Path, photos: Photos) -> Made:
    """Excel's semicolons, hint and mark, an empty last column and last rows."""
    rows = [[name, caption, ""] for name, caption in rows_of(photos)]
    text = "sep=;\r\n" + as_csv(["Image", "Description", ""], rows, ";") + ";;\r\n;;\r\n"
    (home / "captions.csv").write_bytes(text.encode("utf-8-sig"))
    return Made()


def unicode_text(home: Path, photos: Photos) -> Made:
    """Excel's "Unicode Text": UTF-16 with tabs; captions with a line break in quotes."""
    rows = [[name, caption.replace(" ", "\n", 1)] for name, caption in rows_of(photos)]
    (home / "captions.txt").write_bytes(as_csv(["filename", "text"], rows, "\t").encode("utf-16"))
    return Made("captions.txt")


def five_columns(home: Path, photos: Photos) -> Made:
    header = ["image", *(f"caption{number}" for number in range(1, 6))]
    (home / "captions.csv").write_text(as_csv(header, [[name, *captions] for name, captions in photos.items()]))
    said = ["the captions of 5 columns are taken together: caption1, caption2", "1000 captions, 5 an image"]
    return Made(said=said)


def duplicates(home: Path, photos: Photos) -> Made:
    rows = rows_of(photos)
    (home / "captions.csv").write_text(as_csv(["file", "caption"], [*rows, *rows[:40], ["lost.jpg", "not there"]]))
    said = ["8 images have a caption more than once", "line 1042: no file lost.jpg", "These rows are left out."]
    return Made(flags=["--set", "/data/on_bad_row=skip"], said=said)


def split_column(home: Path, photos: Photos) -> Made:
    names = ["Train"] * 160 + ["validation"] * 10 + ["dev"] * 10 + ["TEST"] * 20
    split_of = dict(zip(photos, names, strict=True))
    rows = [[name, caption, split_of[name]] for name, caption in rows_of(photos)]
    (home / "captions.csv").write_text(as_csv(["file", "caption", "Split"], rows))
    return Made(splits={"train": 160, "val": 20, "test": 20})


def without_suffix(home: Path, photos: Photos) -> Made:
    rows = rows_of(photos, lambda name: name.removesuffix(".jpg"))
    (home / "captions.csv").write_text(as_csv(["image_id", "caption"], rows))
    return Made(said=["200 file names are not spelled as in"])


def windows_paths(home: Path, photos: Photos) -> Made:
    rows = rows_of(photos, lambda name: f"C:\\Users\\Ann\\Pictures\\{name.upper()}")
    (home / "captions.csv").write_text(as_csv(["path", "caption"], rows))
    return Made(said=["200 file names are not spelled as in"])


def folder_in_front(home: Path, photos: Photos) -> Made:
    rows = rows_of(photos, lambda name: f"photos/{name}")
    (home / "captions.tsv").write_text(as_csv(["photo", "caption"], rows, "\t"))
    return Made("captions.tsv", said=["200 file names are not spelled as in"])


def unicode_forms(home: Path, photos: Photos) -> Made:
    """File names as macOS writes them, and the table as everybody else does."""
    names = {name: f"Vögel {number}.jpg" for number, name in enumerate(photos)}
    for name, other in names.items():
        (home / "photos" / name).rename(home / "photos" / unicodedata.normalize("NFD", other))
    (home / "captions.csv").write_text(
        as_csv(["file", "caption"], rows_of(photos, names.__getitem__)), encoding="utf-8"
    )
    return Made(said=["200 file names are not spelled as in"])


def own_columns(home: Path, photos: Photos) -> Made:
    (home / "captions.csv").write_text(as_csv(["Bild", "Beschreibung"], rows_of(photos), ";"))
    return Made(flags=["--column", "file=Bild", "--column", "caption=Beschreibung"])


def json_lines(home: Path, photos: Photos) -> Made:
    lines = [json.dumps({"file_name": name, "captions": captions}) for name, captions in photos.items()]
    (home / "captions.jsonl").write_text("\n".join(lines))
    return Made("captions.jsonl")


def json_list(home: Path, photos: Photos) -> Made:
    items = [{"image": name, "caption": caption} for name, caption in rows_of(photos)]
    (home / "captions.json").write_text(json.dumps(items, indent=1))
    return Made("captions.json")


def hugging_face(home: Path, photos: Photos) -> Made:
    """Folders train, validation and test, each with its metadata.csv; nothing but the folder is named."""
    ends = {"train": 160, "validation": 180, "test": 200}
    names = list(photos)
    start = 0
    for split, end in ends.items():
        (home / "photos" / split).mkdir()
        for name in names[start:end]:
            (home / "photos" / name).rename(home / "photos" / split / name)
        rows = rows_of({name: photos[name] for name in names[start:end]})
        (home / "photos" / split / "metadata.csv").write_text(as_csv(["file_name", "text"], rows))
        start = end
    return Made(None, splits={"train": 160, "val": 20, "test": 20})


FORMS = [
    *(excel, unicode_text, five_columns, duplicates, split_column, without_suffix, windows_paths, folder_in_front),
    *(unicode_forms, own_columns, json_lines, json_list, hugging_face),
]


@pytest.fixture(scope="module")
def studio(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder outside the checkout, with one folder per form."""
    return tmp_path_factory.mktemp("studio")


@pytest.mark.parametrize("form", FORMS, ids=lambda form: form.__name__)
def test_form_becomes_a_captioner(
    form: Callable[[Path, Photos], Made], capfw: Path, studio: Path, photos: Photos, shared_data: Path
) -> None:
    home = studio / form.__name__
    (home / "photos").mkdir(parents=True)
    for name in photos:
        shutil.copy(shared_data / "flickr8k" / "images" / "train" / name, home / "photos")
    made = form(home, photos)

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        environment = {key: value for key, value in os.environ.items() if key not in ("PYTHONPATH", "CAPFW_PLUGINS")}
        done = subprocess.run(
            [capfw, *arguments], cwd=home, capture_output=True, text=True, check=False, timeout=600, env=environment
        )
        assert done.returncode == 0, f"{arguments}: {done.stdout}\n{done.stderr}"
        return done

    settings = SMALL | {"/encoder/weights": str(shared_data / "mobilenet_v1" / "model.safetensors")}
    init = run(
        *("init", "--images", "photos", *(["--captions", made.captions] if made.captions else []), *made.flags),
        *("--encoder", "timm", "--decoder", "gpt2"),
        *(
            f"--set={place}={value if isinstance(value, str) else json.dumps(value)}"
            for place, value in settings.items()
        ),
    )
    for words in made.said:
        assert words in init.stdout + init.stderr
    splits = {
        split: int(count)
        for split, count in map(str.split, init.stdout.split("images: ")[1].splitlines()[0].split(", "))
    }
    assert splits == (made.splits or splits)
    assert sum(splits.values()) == NUM_PHOTOS
    run("validate", "spec.json")
    scores = json.loads(run("run", "spec.json", "--json").stdout)
    assert (scores["split"], "CIDEr" in scores["scores"]) == ("test", True)
    some = sorted((home / "photos").rglob("*.jpg"))[:NUM_CAPTIONED]
    captioned = [
        json.loads(line) for line in run("caption", *map(str, some), "--run", "runs/spec", "--json").stdout.splitlines()
    ]
    assert [Path(each["file"]) for each in captioned] == some
    assert all(each["captions"][0]["caption"].strip() for each in captioned)
