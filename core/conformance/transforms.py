"""Checks of the light half of an encoder: from bytes to one input."""

from __future__ import annotations

import pickle
from concurrent.futures import ThreadPoolExecutor

import torch
from torch import Tensor

from ..errors import UnreadableSource
from ..protocols import Encoder, TransformsBatches
from .checks import check, require
from .comparing import shape_of
from .examples import bad_bytes, examples, inputs, odd_images, reads_images
from .subjects import NotChecked, Subject

_NUM_THREADS = 4
_MOST_BYTES = 4096  # of a pickled transform: every worker process receives one
_MOST_DIFFERENT = 0.1  # fraction of the deviation of the inputs: JPEG decoders and resize methods differ by less


@check(
    "inputs-of-one-shape",
    "encoder",
    advice="Return one float32 tensor of a fixed shape for every source: resize, crop, cut or pad.",
)
def inputs_of_one_shape(subject: Subject) -> None:
    """`transform` turns every source into one input, float32 and finite, of one shape."""
    made = [subject.encoder.transform(each) for each in examples(subject)]
    for each in made:
        is_right = isinstance(each, Tensor) and each.dtype == torch.float32
        require(is_right, f"an input is {shape_of(each)}, not float32.")
        require(bool(each.isfinite().all()), "some values of an input are not finite.")
    shapes = {tuple(each.shape) for each in made}
    require(len(shapes) == 1, f"sources became inputs of several shapes: {', '.join(map(str, shapes))}.")


@check(
    "transforms-any-image",
    "encoder",
    advice="Make `transform` with `image_transform` of capfw.core.protocols, which opens any image as RGB, and resize and "
    "crop every image to one size.",
)
def transforms_any_image(subject: Subject) -> None:
    """Any image becomes finite pixels (3, H, W) of one size."""
    if not reads_images(subject):
        raise NotChecked("its sources are not images: the component has `example_sources`.")
    transform, sizes = subject.encoder.transform, {}
    for what, data in odd_images().items():
        try:
            made = transform(data)
        except Exception as err:  # a third party's transform may raise anything
            require(False, f"`transform` of {what} raised {type(err).__name__}: {err}")
        require(isinstance(made, Tensor) and made.ndim == 3 and len(made) == 3, f"{what} became {shape_of(made)}.")
        require(bool(made.isfinite().all()), f"some pixels of {what} are not finite.")
        sizes[tuple(made.shape)] = what
    found = ", ".join(f"{what} {size}" for size, what in sizes.items())
    require(len(sizes) == 1, f"images became pixels of several sizes: {found}.")


@check(
    "refuses-bad-bytes",
    "encoder",
    advice="Raise `UnreadableSource` for bytes that cannot be decoded, as a transform of `image_transform` does. The engine "
    "then leaves that source out, and reports it.",
)
def refuses_bad_bytes(subject: Subject) -> None:
    """For bytes that are damaged or not an image, `transform` raises `UnreadableSource`, and no other error."""
    transform = subject.encoder.transform
    for what, data in bad_bytes(subject).items():
        try:
            made = transform(data)
        except UnreadableSource:
            continue
        except Exception as err:  # a third party's transform may raise anything
            require(False, f"`transform` of {what} raised {type(err).__name__}, not UnreadableSource: {err}")
        # Another kind of input may accept these bytes.
        require(not reads_images(subject), f"{what} became {shape_of(made)}.")


@check(
    "transform-pickles",
    "encoder",
    advice="Make `transform` a function at the top level of a module, or an object of a class there that holds only sizes "
    "and numbers: no encoder, no weights, no lambda, no open file or lock.",
)
def transform_pickles(subject: Subject) -> None:
    """`transform` pickles to less than 4 kB, and gives the same inputs in the process that receives it."""
    transform, source = subject.encoder.transform, examples(subject)[0]
    try:
        data = pickle.dumps(transform)
        sent = pickle.loads(data)
    except Exception as err:  # pickling calls third-party code
        require(False, f"`transform` cannot be pickled: {type(err).__name__}: {err}")
    require(len(data) < _MOST_BYTES, f"pickled, `transform` has {len(data)} bytes.")
    require(torch.equal(sent(source), transform(source)), "after pickling, `transform` gives other inputs.")


@check(
    "transforms-in-threads",
    "encoder",
    advice="Keep the intermediate values of `transform` in local variables, not on an object.",
)
def transforms_in_threads(subject: Subject) -> None:
    """Several threads may call `transform` at once."""
    transform, sources = subject.encoder.transform, examples(subject) * 4
    with ThreadPoolExecutor(_NUM_THREADS) as pool:
        at_once = list(pool.map(transform, sources))
    is_same = all(torch.equal(made, transform(source)) for made, source in zip(at_once, sources, strict=True))
    require(is_same, "called from several threads, `transform` gave other inputs.")


@check(
    "transforms-batches",
    "encoder",
    advice="Return from `transform_batch(data, device)` the inputs of `transform`, on the device and in the order of the "
    "data; raise `UnreadableSource` when one of them cannot be decoded.",
)
def transforms_batches(subject: Subject) -> None:
    """An optional `transform_batch` gives inputs close to those of `transform`, and refuses the same bytes."""
    encoder, cpu = subject.encoder, torch.device("cpu")
    if not isinstance(encoder, TransformsBatches):
        return
    data, wanted = examples(subject), inputs(subject, encoder)
    made = encoder.transform_batch(data, cpu)
    is_right = isinstance(made, Tensor) and made.shape == wanted.shape and made.dtype == wanted.dtype
    require(is_right, f"`transform_batch` gave {shape_of(made)}, but `transform` gives {shape_of(wanted)}.")
    difference = float((made - wanted).abs().mean() / wanted.std().clamp_min(1e-6))
    require(
        difference <= _MOST_DIFFERENT, f"its inputs differ from those of `transform` by {difference:.2f} deviations."
    )
    for what, bad in bad_bytes(subject).items():
        if _refuses(encoder, bad):
            _require_refusal(encoder, what, [data[0], bad, data[1]])


def _refuses(encoder: Encoder, data: bytes) -> bool:
    try:
        encoder.transform(data)
    except UnreadableSource:
        return True
    return False


def _require_refusal(encoder: TransformsBatches, what: str, data: list[bytes]) -> None:
    try:
        encoder.transform_batch(data, torch.device("cpu"))
    except UnreadableSource:
        return
    except Exception as err:  # a third party's transform may raise anything
        require(False, f"`transform_batch` with {what} raised {type(err).__name__}, not UnreadableSource: {err}")
    require(False, f"`transform_batch` accepted {what}, which `transform` refuses.")
