"""The checks every encoder must pass, and the numbers of this one."""

import capfw_colorgrid
import pytest
import torch
from capfw_colorgrid import ColorGridConfig
from capfw_colorgrid.model import ColorGrid
from PIL import Image

from capfw.core.conformance import conformance_test

test_conformance = conformance_test(capfw_colorgrid)


def encode(image: Image.Image, **options: object) -> torch.Tensor:
    encoder = ColorGrid(ColorGridConfig(features="tokens", **options))
    return encoder.encode(encoder.transform(image)[None])[0]  # (N, D)


@pytest.mark.parametrize(
    ("colour", "lab"),  # published CIELAB values (D65) of the sRGB primaries and white
    [
        ("#ff0000", (53.24, 80.09, 67.20)),
        ("#00ff00", (87.73, -86.18, 83.18)),
        ("#0000ff", (32.30, 79.19, -107.86)),
        ("#ffffff", (100.0, 0.0, 0.0)),
    ],
)
def test_mean_is_the_colour_in_cielab_and_a_plain_cell_has_no_deviation(
    colour: str, lab: tuple[float, float, float]
) -> None:
    cells = encode(Image.new("RGB", (10, 7), colour), grid_size=2, cell_size=3)

    for cell in cells:
        assert (100 * cell[:3]).tolist() == pytest.approx(lab, abs=0.02)
        assert cell[3:6].tolist() == pytest.approx([0, 0, 0], abs=1e-3)


def test_cells_stand_row_by_row_and_pooled_holds_them_all() -> None:
    image = Image.new("RGB", (8, 8), "black")
    image.paste("white", (4, 0, 8, 4))  # the upper right cell
    tokens = encode(image, grid_size=2, cell_size=4)

    assert tokens[:, 0].tolist() == pytest.approx([0, 1, 0, 0], abs=1e-4)
    encoder = ColorGrid(ColorGridConfig(features="pooled", grid_size=2, cell_size=4))
    assert encoder.encode(encoder.transform(image)[None])[0].equal(tokens.flatten()[None])


def test_deviation_of_half_black_and_half_white_is_a_half() -> None:
    image = Image.new("RGB", (4, 4), "black")
    image.paste("white", (0, 0, 2, 4))

    [cell] = encode(image, grid_size=1, cell_size=4)

    assert cell[3].item() == pytest.approx(0.5, abs=1e-4)


def test_hues_share_out_the_chroma_and_grey_has_none() -> None:
    red, blue, grey = (
        encode(Image.new("RGB", (2, 2), name), grid_size=1, cell_size=2)[0] for name in ("red", "blue", "grey")
    )

    assert red[6:].sum().item() == pytest.approx(1.0455, abs=1e-3)  # the hypotenuse of a* and b*, over 100
    assert red[6:].argmax() != blue[6:].argmax()
    assert grey[6:].sum().item() == pytest.approx(0, abs=1e-3)


def test_every_option_changes_the_fingerprint() -> None:
    others = [{"features": "tokens"}, {"grid_size": 4}, {"cell_size": 4}, {"num_hues": 8}]
    prints = {ColorGrid(ColorGridConfig(**options)).fingerprint() for options in ({}, *others)}

    assert len(prints) == 5
