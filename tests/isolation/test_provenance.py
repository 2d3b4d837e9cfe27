"""A run records which package each component came from, and says so when one is no longer there."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest

from capfw.core.engine.run import run
from capfw.core.errors import SpecError
from capfw.core.protocols import hookimpl
from capfw.core.registry import Registry
from capfw.core.spec import load_spec

ENCODER = """
from capfw.core.protocols import Component, hookimpl
from capfw.plugins.encoders.vit import VitConfig

@hookimpl
def register_encoders():
    example = VitConfig(weights="random")
    return [Component("colorgrid", VitConfig, "capfw.plugins.encoders.vit.model:VitEncoder", "An encoder.", example)]
"""
SIZES = {"image_size": 16, "patch_size": 8, "width": 16, "num_layers": 1, "num_heads": 2}
COLORGRID = {"name": "colorgrid", "weights": "random", "architecture": SIZES}


def problem(source: Path, **options: Any) -> str:
    with pytest.raises(SpecError) as caught:
        load_spec(source, **options)
    return str(caught.value)


def test_missing_component_names_the_package_it_came_from(site: Any, tiny: Callable[..., Path], tmp_path: Path) -> None:
    site.install("capfw-colorgrid", ENCODER, version="0.1.0")
    spec = tiny(encoder=COLORGRID)
    done = site.capfw("run", spec)
    assert done.returncode == 0, done.stderr

    recorded = json.loads((tmp_path / "run" / "environment.json").read_text())["plugins"]
    capfw = {"distribution": "capfw", "version": version("capfw")}
    assert recorded == {
        "dataset shapes": {"plugin": "dataset-shapes", **capfw},
        "encoder colorgrid": {"plugin": "capfw-colorgrid", "distribution": "capfw-colorgrid", "version": "0.1.0"},
        "mapper linear": {"plugin": "mapper-linear", **capfw},
        "decoder gpt2": {"plugin": "decoder-causal-lm", **capfw},
        "metric bleu": {"plugin": "metric-coco-caption", **capfw},
        "objective cross-entropy": {"plugin": "objective-cross-entropy", **capfw},
    }

    site.uninstall("capfw-colorgrid")
    hint = 'This run used "colorgrid" from capfw-colorgrid 0.1.0, which is not installed: pip install capfw-colorgrid'
    for command in (["run", spec], ["validate", tmp_path / "run" / "spec.json"]):
        refused = site.capfw(*command)
        assert (refused.returncode, refused.stdout) == (2, "")
        assert '/encoder/name: no encoder is called "colorgrid".' in refused.stderr
        assert hint in refused.stderr
        assert "To use an encoder from another package" not in refused.stderr
    assert hint in problem(tmp_path / "run" / "spec.json", check_files=False)
    elsewhere = problem(spec, overrides={"/run_dir": "another"})
    assert "To use an encoder from another package, install it here" in elsewhere


def test_broken_or_left_out_is_not_told_to_install(
    here: Any, tiny: Callable[..., Path], tmp_path: Path, preamble: str
) -> None:
    here.install("capfw-colorgrid", "raise OSError('no driver')", version="0.2.0")
    spec = tiny(encoder=COLORGRID)
    (tmp_path / "run").mkdir()
    plugin = {"plugin": "capfw-colorgrid", "distribution": "capfw-colorgrid", "version": "0.1.0"}
    (tmp_path / "run" / "environment.json").write_text(json.dumps({"plugins": {"encoder colorgrid": plugin}}))

    said = problem(spec)

    assert "capfw-colorgrid 0.2.0 is broken: importing capfw_colorgrid failed: OSError: no driver" in said
    assert 'This run used "colorgrid" from capfw-colorgrid 0.1.0; 0.2.0 is installed here.' in said


@pytest.mark.parametrize("content", ["", "[]", "{", '{"plugins": []}', '{"plugins": {"encoder colorgrid": 3}}'])
def test_record_that_says_nothing_leaves_the_general_hint(
    tiny: Callable[..., Path], tmp_path: Path, content: str
) -> None:
    spec = tiny(encoder=COLORGRID)
    (tmp_path / "environment.json").write_text(content)

    assert "To use an encoder from another package, install it here" in problem(spec)


def test_component_of_an_object_names_the_object(tiny: Callable[..., Path]) -> None:
    class Mine:
        @hookimpl
        def register_encoders(self) -> list[Any]:
            return [*map(_renamed, Registry.discover().components("encoder"))]

    registry = Registry.discover().with_plugins(Mine())
    run(load_spec(tiny(encoder={**COLORGRID, "name": "my-vit"}), registry=registry), registry=registry, until="extract")

    assert 'This run used "my-vit" from plugin "Mine", an object that was passed in Python.' in problem(
        tiny(encoder={**COLORGRID, "name": "my-vit"})
    )


def _renamed(component: Any) -> Any:
    return replace(component, name=f"my-{component.name}")


def test_schema_line_stays_out_of_the_resolved_spec(tiny: Callable[..., Path]) -> None:
    spec = load_spec(tiny(**{"$schema": "./capfw.schema.json"}))

    assert spec.schema_ == "./capfw.schema.json"
    assert "$schema" not in spec.to_json()
