"""`capfw import features`: embeddings of other projects serve a run, once they are seen to be its encoder's."""

from __future__ import annotations

import json
import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from click.testing import CliRunner, Result
from PIL import Image
from safetensors.torch import load_file
from torch import Tensor

from capfw import load_spec, run
from capfw.cli import main
from capfw.core.engine.build import build_encoder
from capfw.core.engine.importing.features import import_features
from capfw.core.errors import BadCheckpoint, IncompatibleComponents, MissingWeights, RunError
from capfw.plugins.importers.clipcap import ClipCapConfig
from capfw.plugins.importers.clipcap.clipcap import ClipCapImporter
from capfw.plugins.importers.clipcap.gpt2_image_captioning import Gpt2ImageCaptioningImporter
from capfw.plugins.importers.clipcap.pickles import read_pickle

from .conftest import Original, tiny_clip

NUM_IMAGES = 6


@pytest.fixture
def spec_file(tmp_path: Path) -> Path:
    """Six photos under COCO's names, all of them in each of the splits' own folder, and a tiny spec."""
    generator = torch.Generator().manual_seed(0)
    data: dict[str, Any] = {"name": "coco"}
    for split, ids in {"train": range(4), "val": range(4, NUM_IMAGES)}.items():
        folder = tmp_path / split
        folder.mkdir()
        names = {i: f"COCO_val2014_{i:012}.png" for i in ids}
        for name in names.values():
            pixels = torch.randint(0, 256, (40, 40, 3), dtype=torch.uint8, generator=generator)
            Image.fromarray(pixels.numpy()).save(folder / name)
        captions = {
            "images": [{"id": i, "file_name": name} for i, name in names.items()],
            "annotations": [{"id": i, "image_id": i, "caption": f"number {i}"} for i in names],
        }
        (folder / "captions.json").write_text(json.dumps(captions))
        data[split] = {"images": split, "captions": f"{split}/captions.json"}
    spec = {
        "capfw": 1,
        "data": data,
        "features": {"num_workers": 0, "dtype": "float32"},
        "encoder": tiny_clip(12),
        "mapper": {"name": "linear", "prefix_length": 2},
        "decoder": {"name": "gpt2", "weights": "random", "num_layers": 1, "width": 16, "num_heads": 2},
        "train": {"max_steps": 1},
        "generate": {"method": "greedy", "max_tokens": 3},
        "metrics": [{"name": "cider"}],
        "run_dir": "run",
    }
    (tmp_path / "spec.json").write_text(json.dumps(spec))
    return tmp_path / "spec.json"


def embeddings_of(spec_file: Path) -> dict[str, Tensor]:
    """Encodes each photo with the spec's encoder; returns the features by file name."""
    encoder = build_encoder(load_spec(spec_file))
    files = sorted(spec_file.parent.glob("*/*.png"))
    return {f.name: encoder.encode(encoder.transform(f.read_bytes())[None])[0, 0].detach() for f in files}


def as_embeddings_file(folder: Path, rows: dict[str, Tensor]) -> Path:
    """The way gpt2-image-captioning keeps them."""
    torch.save({"filenames": list(rows), "embeddings": torch.stack(list(rows.values()))}, folder / "embeddings.pt")
    return folder / "embeddings.pt"


def as_pickle(folder: Path, rows: dict[str, Tensor]) -> Path:
    """The way ClipCap keeps them: half precision, by image id, one entry a caption."""
    captions = [
        {"image_id": int(name[-16:-4]), "caption": "x", "clip_embedding": place}
        for place, name in enumerate(rows)
        for _ in range(2)
    ]
    content = {"clip_embedding": torch.stack(list(rows.values())).half(), "captions": captions}
    (folder / "train.pkl").write_bytes(pickle.dumps(content))
    return folder / "train.pkl"


def capfw(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


@pytest.mark.parametrize("keep", [as_embeddings_file, as_pickle])
def test_imported_embeddings_are_not_encoded_again(keep: Callable[..., Path], spec_file: Path, tmp_path: Path) -> None:
    rows = embeddings_of(spec_file)
    kept = list(rows)[1:]
    file = keep(tmp_path, {name: rows[name] for name in kept})
    result = capfw("import", "features", file, spec_file)
    assert result.exit_code == 0, result.output
    assert "train: 4 images, 3 imported, 0 had features, 1 left to encode" in result.stdout
    assert "val: 2 images, 2 imported" in result.stdout
    again = capfw("import", "features", file, spec_file)
    assert "train: 4 images, 0 imported, 3 had features, 1 left to encode" in again.stdout

    run(load_spec(spec_file), until="extract")
    notices = [json.loads(line) for line in (tmp_path / "run/log.jsonl").read_text().splitlines()]
    texts = [notice["text"] for notice in notices if "text" in notice]
    assert "train: features of 4 images, 1 of them new" in texts
    assert "val: features of 2 images, 0 of them new" in texts
    stored = {
        tuple(row.tolist())
        for shard in tmp_path.glob("features/*/shard-*")
        for row in load_file(shard)["features"][:, 0]
    }
    half = keep is as_pickle
    expected = {tuple((rows[name].half().float() if half else rows[name]).tolist()) for name in kept}
    assert expected <= stored
    assert len(stored) == NUM_IMAGES


def test_an_id_that_happens_to_be_equal_is_no_match_where_names_are_shared(spec_file: Path, tmp_path: Path) -> None:
    rows = embeddings_of(spec_file)
    *shared, lost = rows
    renamed = {name: rows[name] for name in shared} | {f"another_{int(lost[-16:-4])}.png": rows[shared[0]]}
    made = import_features(as_embeddings_file(tmp_path, renamed), load_spec(spec_file))
    assert dict(made.num_imported) == {"train": 4, "val": 1}
    assert made.num_unused == 1


def test_embeddings_that_are_not_this_encoders_are_refused(spec_file: Path, tmp_path: Path) -> None:
    rows, spec = embeddings_of(spec_file), load_spec(spec_file)
    longer = as_embeddings_file(tmp_path, {name: 3 * row for name, row in rows.items()})
    with pytest.raises(RunError, match="3 times as long") as caught:
        import_features(longer, spec)
    assert "/encoder/normalize" in caught.value.fix
    shuffled = as_embeddings_file(tmp_path, dict(zip(rows, reversed(rows.values()), strict=True)))
    with pytest.raises(RunError, match="not the embeddings of this encoder: that of image COCO_val2014"):
        import_features(shuffled, spec)
    narrow = as_embeddings_file(tmp_path, {name: row[:5] for name, row in rows.items()})
    with pytest.raises(IncompatibleComponents, match="width 5 per image, but encoder"):
        import_features(narrow, spec)
    strangers = as_embeddings_file(tmp_path, {f"other_{n}.jpg": row for n, row in enumerate(rows.values(), start=90)})
    with pytest.raises(RunError, match="none of the 6 rows belongs to an image"):
        import_features(strangers, spec)
    assert not list(tmp_path.glob("features/*/shard-*"))


def test_a_file_that_is_not_there_is_no_damaged_one(spec_file: Path, tmp_path: Path) -> None:
    with pytest.raises(MissingWeights, match=r"there is no file .*none\.pt"):
        import_features(tmp_path / "none.pt", load_spec(spec_file))


def test_what_cannot_be_compared_or_belongs_to_two_images_is_refused(spec_file: Path, tmp_path: Path) -> None:
    rows, spec = embeddings_of(spec_file), load_spec(spec_file)
    first, second, *_ = rows
    broken = as_embeddings_file(tmp_path, rows | {second: rows[second] * torch.nan})
    with pytest.raises(RunError, match=f"the embedding of image {second} holds NaN"):
        import_features(broken, spec)
    file = as_embeddings_file(tmp_path, rows)
    captions = tmp_path / "val/captions.json"
    content = json.loads(captions.read_text())
    (tmp_path / "val" / content["images"][0]["file_name"]).rename(tmp_path / "val" / first)
    content["images"][0]["file_name"] = first
    (tmp_path / "twice.json").write_text(json.dumps(content))
    twice = load_spec(spec_file, overrides={"/data/val/captions": str(tmp_path / "twice.json")})
    with pytest.raises(RunError, match="images 0 and 4 differ but have the same row"):
        import_features(file, twice)
    for image in tmp_path.glob("*/COCO*"):
        image.write_bytes(image.read_bytes()[:200])
    with pytest.raises(RunError, match="no image can be decoded"):
        import_features(file, load_spec(spec_file, overrides={"/data/val": None}))
    assert not list(tmp_path.glob("features/*/shard-*"))


def test_an_image_known_to_be_unreadable_gets_no_features(spec_file: Path, tmp_path: Path) -> None:
    rows = embeddings_of(spec_file)
    broken = tmp_path / "train" / next(iter(rows))
    broken.write_bytes(broken.read_bytes()[:200])
    run(load_spec(spec_file), until="extract")
    before = {shard: shard.read_bytes() for shard in tmp_path.glob("features/*/shard-*")}
    made = import_features(as_embeddings_file(tmp_path, rows), load_spec(spec_file))
    assert (made.num_present, made.num_imported) == ({"train": 3, "val": 2}, {"train": 0, "val": 0})
    assert {shard: shard.read_bytes() for shard in tmp_path.glob("features/*/shard-*")} == before


@pytest.mark.parametrize("shape", [(4, 1, 2), (4,)])
def test_embeddings_that_are_no_table_are_refused(shape: tuple[int, ...], tmp_path: Path) -> None:
    captions = [{"image_id": n, "caption": "x", "clip_embedding": n} for n in range(4)]
    (tmp_path / "a.pkl").write_bytes(pickle.dumps({"clip_embedding": torch.zeros(shape), "captions": captions}))
    with pytest.raises(BadCheckpoint, match="does not hold ClipCap's features"):
        ClipCapImporter(ClipCapConfig()).features(tmp_path / "a.pkl")
    torch.save({"filenames": 4, "embeddings": torch.zeros(4, 2)}, tmp_path / "a.pt")
    with pytest.raises(BadCheckpoint, match="one embedding per file name"):
        Gpt2ImageCaptioningImporter(ClipCapConfig()).features(tmp_path / "a.pt")


class Boom:
    def __init__(self, file: Path) -> None:
        self.file = file

    def __reduce__(self) -> tuple[Any, ...]:
        return (os.mkdir, (str(self.file),))


class BoomInside:
    """Hides code in what `torch.storage._load_from_bytes` would unpickle."""

    def __init__(self, data: bytes) -> None:
        self.data = data

    def __reduce__(self) -> tuple[Any, ...]:
        return (torch.storage._load_from_bytes, (self.data,))


def test_a_pickle_with_code_is_refused_and_never_run(tmp_path: Path) -> None:
    importer, ran = ClipCapImporter(ClipCapConfig()), tmp_path / "ran"
    code = tmp_path / "code.pkl"
    code.write_bytes(pickle.dumps({"clip_embedding": torch.zeros(1, 2), "captions": Boom(ran)}))
    with pytest.raises(
        BadCheckpoint, match=r"cannot be read safely: it asks for (posix|nt)\.mkdir, which is not part of a tensor"
    ):
        importer.features(code)
    torch.save(Boom(ran), tmp_path / "inner", _use_new_zipfile_serialization=False)
    code.write_bytes(pickle.dumps({"clip_embedding": BoomInside((tmp_path / "inner").read_bytes()), "captions": []}))
    with pytest.raises(BadCheckpoint, match="cannot be read safely"):
        importer.features(code)
    assert not ran.exists()
    pickle.loads(pickle.dumps(Boom(ran)))  # the code is real: unpickled carelessly, it runs
    assert ran.exists()
    torch.save({"filenames": Boom(ran), "embeddings": 1}, tmp_path / "code.pt")
    ran.rmdir()
    with pytest.raises(BadCheckpoint, match="capfw never runs code"):
        Gpt2ImageCaptioningImporter(ClipCapConfig()).features(tmp_path / "code.pt")
    assert not ran.exists()
    code.write_bytes(b"\x80\x04 damaged")
    with pytest.raises(BadCheckpoint, match="cannot be read safely"):
        importer.features(code)


def test_the_originals_own_feature_files_are_read(seed: Original, clipcap: Original) -> None:
    found = ClipCapImporter(ClipCapConfig()).features(clipcap.folder / "dataset_train.pkl")
    assert found is not None
    rows = dict(zip(found.image_ids, found.embeddings, strict=True))
    captions = read_pickle(clipcap.folder / "dataset_train.pkl")["captions"]
    raw = load_file(clipcap.folder / "dataset_expected.safetensors")["prefix_raw"]  # caption by caption
    expected = {str(caption["image_id"]): row for caption, row in zip(captions, raw, strict=True)}  # the later counts
    assert rows.keys() == expected.keys()
    for image_id, row in expected.items():
        torch.testing.assert_close(rows[image_id], row)

    found = Gpt2ImageCaptioningImporter(ClipCapConfig()).features(seed.folder / "dataset/embeddings.pt")
    expected = load_file(seed.folder / "dataset/expected.safetensors")
    assert found is not None
    rows = dict(zip(found.image_ids, found.embeddings, strict=True))  # the later row of an id wins
    ids = [str(int(i)) for i in expected["image_id"]]
    torch.testing.assert_close(torch.stack([rows[i] for i in ids]), expected["image_embedding_normalize_false"])
