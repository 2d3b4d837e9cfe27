"""Encoder "dinov3": equal to the official implementation's numbers on tiny files in the official layout."""

from __future__ import annotations

import json
import math
import pickle
import re
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from torch import Tensor

from capfw.core.protocols import BadCheckpoint, FeatureShape, MissingWeights
from capfw.plugins.encoders.dinov3 import BACKBONE_FILE, HEAD_FILE, TINY
from capfw.plugins.encoders.dinov3 import backbone as backbones
from capfw.plugins.encoders.dinov3 import head as heads

from .dinov3_models import build

Travels = Callable[[Any, Image.Image], None]
Photo = Callable[..., Image.Image]


VARIANTS = ("hublike", "kbias", "zeromask")
TOKENS = {"rtol": 1e-4, "atol": 1e-4}
NORMALIZED = {"rtol": 1e-4, "atol": 1e-5}


class Golden:
    """The tiny references: everything is taken from config.json."""

    def __init__(self, folder: Path, tmp_path: Path) -> None:
        self.folder, self.tmp_path = folder, tmp_path
        self.config = json.loads((folder / "config.json").read_text())
        self.files = self.config["golden"]
        sizes = self.config["backbone"]
        self.patch_size, self.num_registers = sizes["patch_size"], sizes["n_storage_tokens"]
        self.options = {
            "model_args": {
                "patch_size": self.patch_size,
                "embed_dim": sizes["embed_dim"],
                "depth": sizes["depth"],
                "num_heads": sizes["num_heads"],
                "mlp_ratio": sizes["ffn_ratio"],
                "num_reg_tokens": self.num_registers,
                "rope_temperature": sizes["pos_embed_rope_base"],
            },
            "image_size": 2 * self.patch_size,
        }
        self.head = {"head_weights": str(folder / self.files["dinotxt_file"])}

    def backbone(self, variant: str) -> dict[str, str]:
        """The backbone's file of a variant, in the official layout."""
        facts = self.files["variants"][variant]
        if "override_keys_from" not in facts:
            return {"weights": str(self.folder / facts["base"])}
        state = torch.load(self.folder / facts["base"], weights_only=True)
        state.update(load_file(self.folder / facts["override_keys_from"]))
        torch.save(state, self.tmp_path / f"{variant}.pth")
        return {"weights": str(self.tmp_path / f"{variant}.pth")}

    def outputs(self, variant: str) -> Mapping[str, Tensor]:
        return load_file(self.folder / self.files["outputs"].replace("<variant>", variant))

    def inputs(self) -> Mapping[str, Tensor]:
        return load_file(self.folder / self.files["inputs"])


@pytest.fixture
def dinotxt(golden: Path, tmp_path: Path) -> Golden:
    return Golden(golden / "dinotxt", tmp_path)


@pytest.mark.parametrize("variant", VARIANTS)
def test_outputs_equal_the_original(dinotxt: Golden, variant: str) -> None:
    options = dinotxt.options | dinotxt.backbone(variant)
    embedding = build(**options, **dinotxt.head)
    raw = build(**options, **dinotxt.head, normalize=False)
    cls = build(**options, pooling="cls")
    patches = build(**options, features="tokens")
    registers = build(**options, features="tokens", include_registers=True)
    expected = dinotxt.outputs(variant)
    for size, pixels in dinotxt.inputs().items():
        assert re.fullmatch(r"\d+x\d+", size)
        torch.testing.assert_close(
            embedding.encode(pixels)[:, 0], expected[f"{size}.dinotxt.embedding_l2"], **NORMALIZED
        )
        torch.testing.assert_close(raw.encode(pixels)[:, 0], expected[f"{size}.dinotxt.embedding"], **TOKENS)
        torch.testing.assert_close(cls.encode(pixels)[:, 0], expected[f"{size}.backbone.cls"], **TOKENS)
        torch.testing.assert_close(patches.encode(pixels), expected[f"{size}.backbone.patch"], **TOKENS)
        both = torch.cat([expected[f"{size}.backbone.storage"], expected[f"{size}.backbone.patch"]], dim=1)
        torch.testing.assert_close(registers.encode(pixels), both, **TOKENS)
        assert raw.head is not None
        hidden = raw.head(raw.backbone.forward_features(pixels))
        torch.testing.assert_close(hidden[:, 0], expected[f"{size}.dinotxt.head_cls"], **TOKENS)
        first = 1 + dinotxt.num_registers
        torch.testing.assert_close(hidden[:, first:], expected[f"{size}.dinotxt.head_patch"], **TOKENS)


def test_feature_shapes(dinotxt: Golden) -> None:
    options, width = dinotxt.options | dinotxt.backbone("hublike"), dinotxt.config["backbone"]["embed_dim"]
    pixels = torch.zeros(2, 3, 2 * dinotxt.patch_size, 2 * dinotxt.patch_size)
    for more, shape in (
        (dinotxt.head, FeatureShape(1, dinotxt.config["dinotxt"]["embed_dim"])),
        ({"pooling": "cls"}, FeatureShape(1, width)),
        ({"features": "tokens"}, FeatureShape(4, width, grid=(2, 2))),
        (
            {"features": "tokens", "include_registers": True},
            FeatureShape(4 + dinotxt.num_registers, width, grid=(2, 2), num_extra_tokens=dinotxt.num_registers),
        ),
    ):
        encoder = build(**options, **more)
        assert encoder.feature_shape == shape
        assert encoder.encode(pixels).shape == (2, shape.num_tokens, shape.dim)
        assert not encoder.training


def test_preprocessing_equals_the_original(dinotxt: Golden) -> None:
    stored = load_file(dinotxt.folder / dinotxt.files["preprocess"])
    tiny = {"weights": "random", "pooling": "cls"}
    names = sorted({key.split(".")[0] for key in stored})
    assert len(names) >= 3
    for name in names:
        image = Image.fromarray(stored[f"{name}.uint8_hwc"].numpy())
        for key in (key for key in stored if key.startswith(f"{name}.") and not key.endswith("uint8_hwc")):
            numbers = [int(number) for number in re.findall(r"\d+", key.partition(".")[2])]
            resize, crop, stride = numbers if ".default_" in key else (*numbers, 1)
            # The references' patch size where the crop is a multiple of it: the network has no part in preprocessing.
            args = TINY | {"patch_size": math.gcd(crop, dinotxt.patch_size)}
            if ".default_" in key:
                encoder = build(**tiny, model_args=args, image_size=crop)
                assert encoder.resize == resize
            else:
                encoder = build(**tiny, model_args=args, image_size=crop, resize=resize)
            pixels = encoder.transform(image)
            assert pixels.shape == (3, crop, crop)
            torch.testing.assert_close(pixels[:, ::stride, ::stride], stored[key], rtol=0, atol=1e-5)


def layout(file: Path) -> dict[str, tuple[int, ...]]:
    return {name: tuple(shape) for name, shape in json.loads(file.read_text()).items()}


def test_full_size_layout_is_the_published_one(dinotxt: Golden) -> None:
    with torch.device("meta"):
        encoder = build(weights="random", head_weights="random")
    assert backbones.official_layout(encoder.backbone) == layout(dinotxt.folder / "keys_backbone_vitl16.json")
    published = layout(dinotxt.folder / "keys_dinotxt_vitl16.json")
    head = {name: shape for name, shape in published.items() if name.startswith("visual_model.head.")}
    assert encoder.head is not None
    assert heads.official_layout(encoder.head) == head
    assert encoder.feature_shape == FeatureShape(1, 2048)


def test_full_size_files_load_from_torch_hubs_folder(
    dinotxt: Golden, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """One number per tensor, expanded: the files are small and so is the loaded model."""
    request.addfinalizer(partial(torch.hub.set_dir, torch.hub.get_dir()))
    torch.hub.set_dir(tmp_path / "hub")
    folder = tmp_path / "hub" / "checkpoints"
    with pytest.raises(MissingWeights) as caught:
        build()
    assert str(folder / BACKBONE_FILE) in str(caught.value)
    for word in ("on request", BACKBONE_FILE, HEAD_FILE, "Put both"):
        assert word in str(caught.value)
    folder.mkdir(parents=True)
    value = torch.tensor(0.5)
    shapes = layout(dinotxt.folder / "keys_backbone_vitl16.json")
    keyless = torch.cat([torch.ones(1024), torch.zeros(1024), torch.ones(1024)])
    state = {k: keyless if k.endswith("bias_mask") else value.expand(shape) for k, shape in shapes.items()}
    torch.save(state, folder / BACKBONE_FILE)
    with pytest.raises(MissingWeights, match=HEAD_FILE) as caught:
        build()
    assert caught.value.option == "head_weights"
    shapes = layout(dinotxt.folder / "keys_dinotxt_vitl16.json")
    torch.save({k: value.expand(shape) for k, shape in shapes.items()}, folder / HEAD_FILE)
    encoder = build()
    unused = 24 * 1024 + 1024  # the key part of each bias, and the mask token
    assert sum(p.numel() for p in encoder.backbone.parameters()) == 303_154_176 - unused
    assert encoder.head is not None
    assert sum(p.numel() for p in encoder.head.parameters()) == 25_326_336
    assert all((p == 0.5).all() for p in (encoder.backbone.cls_token, encoder.head.ln_final.weight))
    assert encoder.backbone.rope.periods.tolist() == [0.5] * 16


def test_published_periods_are_kept(dinotxt: Golden) -> None:
    encoder = build(**dinotxt.options, **dinotxt.backbone("hublike"), pooling="cls")
    derived = dinotxt.files["derived"]
    assert encoder.backbone.rope.periods.tolist() == pytest.approx(derived["rope_periods_hublike"])
    again = pickle.loads(pickle.dumps(encoder))
    assert torch.equal(again.backbone.rope.periods, encoder.backbone.rope.periods)
    assert again.fingerprint() == encoder.fingerprint()


def test_fingerprint_sees_periods_and_options(dinotxt: Golden, tmp_path: Path) -> None:
    file = dinotxt.backbone("hublike")["weights"]
    state = torch.load(file, weights_only=True)
    state["rope_embed.periods"] = state["rope_embed.periods"].float() * 1.001
    torch.save(state, tmp_path / "periods.pth")
    base: dict[str, Any] = dinotxt.options | {"weights": file, "pooling": "cls"}
    changes: list[dict[str, Any]] = [
        {},
        {"weights": str(tmp_path / "periods.pth")},
        {"normalize": True},
        {"resize": 100},
        {"pooling": "dinotxt"} | dinotxt.head,
    ]
    assert len({build(**base | change).fingerprint() for change in changes}) == len(changes)


def test_any_float_dtype_and_backbone_entries_in_the_second_file(dinotxt: Golden, tmp_path: Path) -> None:
    """The head's file may carry the backbone, and either may be stored in half precision."""
    state = torch.load(dinotxt.head["head_weights"], weights_only=True)
    state = {name: value.half() for name, value in state.items()}
    torch.save(state | {"visual_model.backbone.cls_token": torch.zeros(1)}, tmp_path / "head.pth")
    options = dinotxt.options | dinotxt.backbone("hublike")
    encoder = build(**options, head_weights=str(tmp_path / "head.pth"))
    assert {p.dtype for p in encoder.parameters()} == {torch.float32}
    size, pixels = next(iter(dinotxt.inputs().items()))
    expected = dinotxt.outputs("hublike")[f"{size}.dinotxt.embedding_l2"]
    torch.testing.assert_close(encoder.encode(pixels)[:, 0], expected, rtol=0, atol=2e-3)


def test_bad_files_are_refused_by_name(dinotxt: Golden, tmp_path: Path) -> None:
    options, good = dinotxt.options, dinotxt.backbone("hublike")["weights"]
    file = tmp_path / "bad.pth"
    state = torch.load(good, weights_only=True)

    def refused(content: dict[str, Tensor], message: str) -> None:
        torch.save(content, file)
        with pytest.raises(BadCheckpoint, match=message):
            build(**options, weights=str(file), pooling="cls")

    without = {name: value for name, value in state.items() if name != "blocks.0.ls1.gamma"}
    refused(without, r"bad\.pth does not fit this architecture: 1 missing: blocks\.0\.ls1\.gamma\.")
    refused(state | {"extra": torch.zeros(1)}, "1 unexpected: extra")
    refused(state | {"norm.weight": torch.zeros(7)}, r"norm\.weight \(7,\) \(needed \(")
    mask = torch.ones_like(state["blocks.0.attn.qkv.bias_mask"])
    bias = {"blocks.0.attn.qkv.bias": mask, "blocks.0.attn.qkv.bias_mask": mask}
    refused(state | bias, r"bad\.pth: the key part of blocks\.0\.attn\.qkv\.bias is not zero")
    refused({"fc.weight": torch.zeros(1)}, r"\d+ missing: mask_token, rope_embed\.periods, cls_token, \.\.\.")
    whole = Path(good).read_bytes()
    for damaged in (whole[:1000], whole[: len(whole) // 2], b"", whole[:-1000]):
        file.write_bytes(damaged)
        with pytest.raises(BadCheckpoint, match=r"bad\.pth cannot be read as weights"):
            build(**options, weights=str(file), pooling="cls")
    with pytest.raises(BadCheckpoint, match=r'no name that starts with "visual_model\.head\."'):
        build(**options, weights=good, head_weights=good)
    head = torch.load(dinotxt.head["head_weights"], weights_only=True)
    torch.save({k: v for k, v in head.items() if not k.endswith("blocks.1.mlp.w3.bias")}, file)
    with pytest.raises(BadCheckpoint, match=r"1 missing: visual_model\.head\.blocks\.1\.mlp\.w3\.bias") as caught:
        build(**options, weights=good, head_weights=str(file))
    assert caught.value.option == "head_weights"


class Bomb:
    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (Path("executed"),)


def test_code_in_a_pickle_is_never_run(dinotxt: Golden, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save({"cls_token": Bomb()}, tmp_path / "bomb.pth")
    good = dinotxt.backbone("hublike")["weights"]
    for options in ({"weights": "bomb.pth"}, {"weights": good, "head_weights": "bomb.pth"}):
        with pytest.raises(BadCheckpoint, match=r"bomb\.pth"):
            build(**dinotxt.options, **{name: str(Path(value).absolute()) for name, value in options.items()})
    assert not Path("executed").exists()
    torch.load(tmp_path / "bomb.pth", weights_only=False)  # the bomb is live
    assert Path("executed").exists()
