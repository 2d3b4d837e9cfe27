"""Every registered encoder x mapper x decoder, tiny and random: extract, train two steps, caption, score."""

from __future__ import annotations

from pathlib import Path

import pytest

from capfw import load_spec, run
from capfw.core.conformance import variants
from capfw.core.errors import SpecError
from capfw.core.protocols import Component, ComponentConfig
from capfw.core.registry import Registry

REGISTRY = Registry.discover()
COMBINATIONS = [
    (encoder, mapper, decoder)
    for encoder in REGISTRY.components("encoder")
    for mapper in REGISTRY.components("mapper")
    for decoder in REGISTRY.components("decoder")
]


def _options(component: Component, config: ComponentConfig | None = None) -> dict[str, object]:
    return {"name": component.name, **(config or component.example).model_dump(mode="json", exclude_unset=True)}


@pytest.mark.parametrize("parts", COMBINATIONS, ids=["-".join(p.name for p in parts) for parts in COMBINATIONS])
def test_any_combination(parts: tuple[Component, ...], tmp_path: Path) -> None:
    encoder, mapper, decoder = parts
    spec = {
        "capfw": 1,
        "data": {"name": "shapes", "num_train": 6, "num_val": 2, "num_test": 2, "image_size": 32},
        "features": {"num_workers": 0},
        "encoder": _options(encoder),
        "mapper": _options(mapper),
        "decoder": _options(decoder),
        "train": {"max_steps": 2, "batch_size": 4},
        "generate": {"max_tokens": 5, "method": "greedy"},
        "metrics": [{"name": "cider"}],
        "run_dir": str(tmp_path / "run"),
    }
    emitted = encoder.example.emitted_features()
    required = mapper.example.required_features()
    if emitted and required and emitted != required:
        with pytest.raises(SpecError, match=f'/mapper: "{mapper.name}" needs'):
            load_spec(spec, registry=REGISTRY)
        [config] = [config for config in variants(encoder) if config.emitted_features() == required][:1]
        spec["encoder"] = _options(encoder, config)
    result = run(load_spec(spec, registry=REGISTRY), registry=REGISTRY)
    assert result.evaluation is not None
    assert len(result.evaluation.captions) == 2
    assert 0 <= result.evaluation.scores["CIDEr"] <= 10
