"""Self-retrieval: R@k against ranks computed one caption at a time, and against embeddings given by hand."""

from __future__ import annotations

import io

import open_clip
import pytest
import torch
from PIL import Image

from capfw.core.protocols import Captioned, DataError, MemorySource, Source
from capfw.plugins.libraries.clip_options import TINY_TOWERS
from capfw.plugins.metrics.retrieval import RetrievalConfig
from capfw.plugins.metrics.retrieval.model import Retrieval

WORDS = ("red", "green", "blue", "grey", "dark", "light", "old", "new", "wet", "dry", "big", "small")
CANDIDATES: dict[int | str, str] = {number: f"a {word} thing" for number, word in enumerate(WORDS)}


def picture(seed: int) -> Source:
    buffer = io.BytesIO()
    image = Image.radial_gradient("L").resize((40, 36)).rotate(29 * seed)
    Image.merge("RGB", [image.point(lambda v, k=k: (v * (k + seed)) % 256) for k in (1, 2, 5)]).save(buffer, "PNG")
    return MemorySource(buffer.getvalue(), f"image {seed}")


@pytest.fixture(scope="module")
def metric() -> Retrieval:
    torch.manual_seed(0)
    built = Retrieval(RetrievalConfig(model=TINY_TOWERS, weights="random", batch_size=5))
    with torch.no_grad():  # wide apart
        for parameter in built.parameters():
            parameter.normal_(std=0.7)
    return built


@torch.no_grad()
def test_ranks_are_those_of_each_caption_alone(metric: Retrieval) -> None:
    sources = {number: picture(number) for number in CANDIDATES}
    transform = open_clip.image_transform(32, is_train=False)
    images = [Image.open(io.BytesIO(source.read())) for source in sources.values()]
    pictures = torch.cat([metric.towers.encode_image(transform(image)[None], normalize=True) for image in images])
    ranks = {}
    for number, caption in CANDIDATES.items():
        text = metric.towers.encode_text(open_clip.SimpleTokenizer()([caption]), normalize=True)[0]
        order = (pictures @ text).argsort(descending=True).tolist()
        ranks[number] = order.index(list(CANDIDATES).index(number))
    scores = metric.score(Captioned(CANDIDATES, {}, sources))
    for k in (1, 5, 10):
        expected = {number: float(rank < k) for number, rank in ranks.items()}
        assert scores.per_image[f"R@{k}"] == expected
        assert scores.corpus[f"R@{k}"] == pytest.approx(sum(expected.values()) / 12)
    assert 0 < scores.corpus["R@5"] < 1
    assert scores.details == {"num_images": "12"}


class Given(Retrieval):
    """Embeddings by hand: a caption or image is the name of a direction."""

    directions = torch.eye(4)

    def embed_texts(self, captions: list[str]) -> torch.Tensor:
        return torch.stack([self.directions[int(caption)] for caption in captions])

    def embed_images(self, sources: list[Source]) -> torch.Tensor:
        return torch.stack([self.directions[int(source.name)] for source in sources])


def score(captions: str, images: str) -> dict[str, float]:
    metric = Given(RetrievalConfig(model=TINY_TOWERS, weights="random"))
    sources = {number: MemorySource(b"", name) for number, name in enumerate(images)}
    return dict(metric.score(Captioned(dict(enumerate(captions)), {}, sources)).corpus)


def test_captions_that_find_their_images_and_captions_that_are_all_the_same() -> None:
    assert score("0123", "0123") == {"R@1": 1.0, "R@5": 1.0, "R@10": 1.0}
    assert score("1032", "0123")["R@1"] == 0
    # One caption for all of 4 images finds one of them.
    assert score("0000", "0123")["R@1"] == pytest.approx(1 / 4)
    # Two equal photos with equal captions share the first place.
    assert score("0012", "0012")["R@1"] == pytest.approx((1 / 2 + 1 / 2 + 1 + 1) / 4)
    # Images that cannot be told apart at all: k of N.
    assert score("000000000000", "111111111111") == pytest.approx({"R@1": 1 / 12, "R@5": 5 / 12, "R@10": 10 / 12})


def test_images_are_needed(metric: Retrieval) -> None:
    with pytest.raises(DataError, match="metric retrieval needs the images"):
        metric.score(Captioned(CANDIDATES, {}))
    with pytest.raises(DataError, match="11 candidates have no image, the first for image 1"):
        metric.score(Captioned(CANDIDATES, {}, {0: picture(0)}))
    with pytest.raises(DataError, match="no captions to score"):
        metric.score(Captioned({}, {}, {}))
