"""Composes, trains, changes and scores a captioner from Python.

    python examples/compose.py [FOLDER]

It takes some seconds on a CPU: a tiny model with random weights, drawn images, no download. It writes to FOLDER, or to a
temporary folder that it removes. docs/library.md explains each step.
"""

import json
import sys
import tempfile
from pathlib import Path

from torch import Tensor, nn

from capfw import Captioner, Evaluation, Registry, evaluate_run, hookimpl, load_part, load_spec, run, score_files
from capfw.core.protocols import Component, FeatureShape, MapperConfig, StepEnded

SPEC = {
    "capfw": 1,
    "data": {"name": "shapes", "num_train": 64, "num_val": 8, "num_test": 16, "image_size": 32},
    "features": {"standardize": True, "num_workers": 0},
    "encoder": {
        "name": "vit",
        "weights": "random",
        "features": "tokens",
        "architecture": {"image_size": 32, "patch_size": 8, "width": 32, "num_layers": 1, "num_heads": 2},
    },
    "mapper": {"name": "mean"},  # from the plugin below
    "decoder": {"name": "gpt2", "weights": "random", "num_layers": 1, "width": 32, "num_heads": 2, "max_positions": 64},
    "train": {"epochs": 2, "batch_size": 32, "lr": 0.003},
    "generate": {"method": "greedy", "max_tokens": 16},
    "metrics": [{"name": "bleu"}, {"name": "cider"}],
    "run_dir": "runs/compose",
}


class MeanConfig(MapperConfig):
    """Options of the mapper below: none."""


class MeanMapper(nn.Module):
    """Maps features (B, N, D) float32 to a prefix (B, 1, E) float32: an affine map of the mean token."""

    prefix_length = 1

    def __init__(self, config: MeanConfig, *, features: FeatureShape, embed_dim: int) -> None:
        super().__init__()
        self.project = nn.Linear(features.dim, embed_dim)

    def forward(self, features: Tensor) -> Tensor:
        """Returns one prefix vector per image."""
        return self.project(features.mean(dim=1, keepdim=True))  # (B, 1, E)


class Plugin:
    """A plugin without a package: an object with hooks. It registers a mapper."""

    @hookimpl
    def register_mappers(self) -> list[Component]:
        """Registers mapper "mean"."""
        target, summary = f"{__name__}:MeanMapper", "An affine map of the mean token."
        return [Component(name="mean", config=MeanConfig, target=target, summary=summary, example=MeanConfig())]


class LossPrinter:
    """An observer: an object with hooks for the events of a run."""

    @hookimpl
    def step_ended(self, event: StepEnded) -> None:
        """Prints the loss."""
        print(f"  step {event.step} of {event.num_steps}: loss {event.loss:.2f}")


def main(folder: Path) -> None:
    """Composes, trains, captions and scores."""
    registry = Registry.discover().with_plugins(Plugin())
    spec = load_spec(SPEC, registry=registry, base_dir=folder, overrides={"/train/epochs": 3})

    print("1. Train, stage by stage; each call continues where the last one stopped.")
    run(spec, registry=registry, until="extract")
    result = run(spec, registry=registry, observers=[LossPrinter()])
    print(f"  test scores: {shown(result.evaluation)}")

    print("2. Read the scores as objects.")
    val = Evaluation.read(result.run_dir, "val")
    worst = min(val.per_image["CIDEr"], key=val.per_image["CIDEr"].get)
    print(f'  {len(val.captions)} val images; the worst is {worst}: "{val.captions[worst][0].text}"')

    print("3. Score the run again with beam search; its own results stay.")
    beams = {"/generate": {"method": "beam", "num_beams": 3, "num_captions": 2}}
    again = evaluate_run(result.run_dir, overrides=beams, output=folder / "beams", registry=registry)
    print(f"  test scores: {shown(again)}")

    print("4. Caption images.")
    captioner = Captioner.load(result.run_dir, registry=registry)
    images = {sample.image_id: sample for sample in spec.data.build().samples("test")}
    for image_id, (caption,) in zip(images, captioner.caption([s.source for s in images.values()][:2]), strict=False):
        print(f"  {image_id}: {caption.text} ({caption.log_prob:.1f})")

    print("5. Replace the mapper with any module that fits: here an untrained one from the registry.")
    widths = {"features": captioner.encoder.feature_shape, "embed_dim": captioner.model.as_decoder.embed_dim}
    perceiver = {"name": "perceiver", "prefix_length": 4, "num_heads": 2}
    mapper = load_part("mapper", perceiver, registry=registry).build(**widths)
    [(caption,)] = captioner.with_parts(mapper=mapper).caption([images["test-00000"].source])
    print(f"  test-00000: {caption.text}")

    print("6. Score files: the captions of any system against references.")
    annotations = [{"image_id": i, "caption": text} for i, sample in images.items() for text in sample.references]
    references = folder / "references.json"
    references.write_text(json.dumps({"annotations": annotations}))
    metrics = [load_part("metric", {"name": "rouge-l"}).build()]
    scores = score_files(result.run_dir / "candidates/test.json", references, metrics).scores
    print(f"  ROUGE-L {scores['ROUGE-L']:.3f}")


def shown(evaluation: Evaluation) -> str:
    """Formats scores on one line."""
    return ", ".join(f"{name} {value:.3f}" for name, value in evaluation.scores.items())


if __name__ == "__main__":
    if len(sys.argv) > 1:
        main(Path(sys.argv[1]))
    else:
        with tempfile.TemporaryDirectory() as temporary:
            main(Path(temporary))
