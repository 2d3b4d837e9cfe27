"""Heat maps: gradient x input of the features, by word, where the encoder sees the photo as a grid."""

from __future__ import annotations

import io

import pytest
import torch
from PIL import Image

from capfw import Captioner, load_spec, run
from capfw.core.engine.caption_tokens import token_batch
from capfw.core.engine.heat import heat_maps
from capfw.core.engine.inputs.reading import InputReader
from capfw.core.engine.inputs.rows import Row
from capfw.core.errors import RequestError
from capfw.core.protocols import MemorySource, Prefix
from capfw.core.protocols.images import CentreSquare, image_transform

from ..tiny_parts import GPT2, TRANSFORMER, VIT


def photo(width: int, height: int) -> MemorySource:
    written = io.BytesIO()
    image = Image.linear_gradient("L").resize((width, height)).convert("RGB")
    image.paste("red", (0, 0, width // 2, height // 3))
    image.save(written, "PNG")
    return MemorySource(written.getvalue(), "photo.png")


@pytest.fixture(scope="module")
def with_patches(tmp_path_factory: pytest.TempPathFactory) -> Captioner:
    """A tiny run whose encoder emits [CLS] and four patches."""
    spec = {
        "capfw": 1,
        "data": {"name": "shapes", "num_train": 8, "num_val": 2, "num_test": 2, "image_size": 32},
        "features": {"num_workers": 0, "standardize": True},
        "encoder": {**VIT, "include_cls": True},
        "mapper": TRANSFORMER,
        "decoder": GPT2,
        "train": {"epochs": 20, "lr": 0.02, "evaluate_every_epochs": 20},
        "metrics": [{"name": "cider"}],
        "run_dir": str(tmp_path_factory.mktemp("heat") / "run"),
    }
    return Captioner.load(run(load_spec(spec)).run_dir, device="cpu")


class Sensitive(torch.nn.Module):
    """A mapper whose prefix depends strongly on every feature, which that of a tiny run does not."""

    prefix_length = 2

    def __init__(self) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        self.register_buffer("weights", torch.randn(5 * 16, 2 * 16, generator=generator) / 20)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        return torch.tanh(features.flatten(1) @ self.get_buffer("weights")).view(-1, 2, 16)


def test_maps_sum_to_the_slope_along_the_features(with_patches: Captioner) -> None:
    """The sum over all tokens of gradient x input is the derivative of the log-probability along the features."""
    source, caption = photo(64, 64), "a small red circle"
    captioner = with_patches.with_parts(mapper=Sensitive())
    found = heat_maps(captioner, source, caption)
    model = captioner.model
    [ids] = model.as_decoder.tokenize([caption])
    [read] = InputReader(captioner.encoder, captioner.device).read([[source]])
    features = model.standardized(captioner.batch(torch.stack(read), [Row(source, None, None)], is_sampled=False))

    def log_probs(values: torch.Tensor) -> torch.Tensor:
        with torch.no_grad():
            return model.log_probs(Prefix(model.as_mapper(values.float())), token_batch([ids], values.device))[0]

    assert [text for text, _ in found.words] == ["a", "small", "red", "circle"]
    assert found.grid == (2, 2)
    for patch in range(4):
        step = torch.zeros_like(features)
        step[:, 1 + patch] = 0.01 * features[:, 1 + patch]  # token 0 is [CLS]
        slopes = (log_probs(features + step) - log_probs(features - step)) / 0.02
        for word, slope in zip(found.words, slopes.tolist(), strict=False):
            assert word[1][patch] == pytest.approx(slope, rel=0.02, abs=1e-3)
    assert max(abs(value) for _, values in found.words for value in values) > 0.02, "the photo matters"


def test_box_is_the_part_of_the_photo_that_the_encoder_sees(
    with_patches: Captioner, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert heat_maps(with_patches, photo(80, 40), "a circle").box == (0, 0, 1, 1), "this encoder squeezes the photo"
    cropping = image_transform(lambda image: torch.zeros(3, 16, 16), keeps=CentreSquare())
    monkeypatch.setattr(with_patches.encoder, "transform", cropping)
    wide, tall = (heat_maps(with_patches, photo(*size), "a circle").box for size in ((80, 40), (40, 80)))
    assert wide == pytest.approx((0.25, 0, 0.75, 1))
    assert tall == pytest.approx((0, 0.25, 1, 0.75))

    monkeypatch.setattr(with_patches.encoder, "transform", image_transform(lambda image: torch.zeros(3, 16, 16)))
    with pytest.raises(RequestError, match="does not report the part of a photo that it sees"):
        heat_maps(with_patches, photo(32, 32), "a circle")


def test_json_has_a_value_for_each_patch(with_patches: Captioner) -> None:
    value = heat_maps(with_patches, photo(32, 32), "a circle").to_json()
    assert value["grid"] == [2, 2]
    assert isinstance(value["words"], list)
    assert [(word["text"], len(word["map"])) for word in value["words"]] == [("a", 4), ("circle", 4)]


def test_an_encoder_without_patches_is_refused(captioner: Captioner) -> None:
    with pytest.raises(RequestError) as caught:
        heat_maps(captioner, photo(32, 32), "a circle")
    assert "no grid of patches" in caught.value.what
    assert "/encoder/features" in str(caught.value.fix)


def test_maps_leave_the_run_unchanged(with_patches: Captioner) -> None:
    before = {name: value.clone() for name, value in with_patches.model.state_dict().items()}
    heat_maps(with_patches, photo(32, 32), "a circle")
    assert all(torch.equal(value, before[name]) for name, value in with_patches.model.state_dict().items())
    assert all(parameter.grad is None for parameter in with_patches.model.parameters())
