"""Checks of the descriptions of components. They build nothing, and test that the plugin imports no heavy library."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import types
from collections.abc import Iterator
from functools import cache
from types import ModuleType
from typing import get_args

from pydantic import BaseModel, PydanticUserError, ValidationError

from ..errors import CapfwError, MissingLibrary
from ..protocols import KINDS, Component, ComponentConfig
from .checks import check, require
from .subjects import NotChecked, Subject
from .surroundings import random_states, settings

HEAVY = frozenset(
    {"torch", "torchvision", "torchaudio", "transformers", "timm", "open_clip", "accelerate", "peft", "numpy", "scipy"}
    | {"pandas", "sklearn", "cv2", "tensorflow", "jax", "flax", "onnxruntime"}
)
_SECONDS = 120
_IMPORT = """
import importlib, json, sys
before = set(sys.modules)
importlib.import_module(sys.argv[1])
print()
print(json.dumps(sorted({name.partition(".")[0] for name in set(sys.modules) - before})))
"""


@check(
    "imports-light",
    None,
    is_light=True,
    advice="Import it in the module that `target` names, not where the component is registered: `capfw --help`, "
    "`plugins` and `validate` import every plugin.",
)
def imports_light(subject: Subject) -> None:
    """The module that registers the component imports no torch and no other heavy library."""
    plugin = subject.plugin
    module = plugin.__name__ if isinstance(plugin, ModuleType) else type(plugin).__module__
    if module == "__main__":
        raise NotChecked("the plugin is in the script itself, which cannot be imported again.")
    heavy = sorted(HEAVY & _imported_by(module))
    require(not heavy, f"importing {module} imports {', '.join(heavy)}.")


@cache
def _imported_by(module: str) -> frozenset[str]:
    """Top-level packages that a fresh interpreter loads with a module."""
    done = subprocess.run(
        [sys.executable, "-c", _IMPORT, module],
        capture_output=True,
        text=True,
        check=False,
        timeout=_SECONDS,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    last_words = (done.stderr.strip() or "it says nothing").splitlines()[-1]
    require(done.returncode == 0, f"a fresh interpreter cannot import {module}: {last_words}")
    return frozenset(json.loads(done.stdout.splitlines()[-1]))


@check(
    "registers-the-same-twice",
    None,
    is_light=True,
    advice="Define the config class in the module, not in the hook, and always return the same components from the hook.",
)
def registers_the_same_twice(subject: Subject) -> None:
    """The hook returns the same components in every call."""
    first, second = _registered(subject), _registered(subject)
    require(first == second, "the hook returned other components when it was called again.")
    require(subject.component in first, "the hook no longer returns the component it returned at first.")


@check(
    "registers-without-side-effects",
    None,
    is_light=True,
    advice="Only return components from the hook: no seed, no download, no device, no setting.",
)
def registers_without_side_effects(subject: Subject) -> None:
    """The hook draws no random number and changes no setting of the process."""
    before = {**settings(), **random_states()}
    _registered(subject)
    after = {**settings(), **random_states()}
    touched = [name for name in before if before[name] != after[name]]
    require(not touched, f"calling the hook changed {', '.join(touched)}.")


def _registered(subject: Subject) -> list[Component]:
    return list(getattr(subject.plugin, KINDS[subject.kind].hook)())


@check("has-summary", None, is_light=True, advice="Describe the component in one line: Component(summary=...).")
def has_summary(subject: Subject) -> None:
    """`summary` describes the component in one line."""
    summary = subject.component.summary
    require(bool(summary.strip()), "its summary is empty.")
    require("\n" not in summary.strip(), "its summary has several lines.")


@check(
    "describes-options",
    None,
    is_light=True,
    advice='Describe each: Field(..., description="Its effect, its unit, and the meaning of null.").',
)
def describes_options(subject: Subject) -> None:
    """Every option, and every option inside an object, has a description."""
    bare = [
        f"{model.__name__}.{name}"
        for model in _models(subject.component.config, set())
        for name, option in model.model_fields.items()
        if not (option.description or "").strip()
    ]
    require(not bare, f"no description for {', '.join(bare)}.")


def _models(annotation: object, seen: set[type]) -> Iterator[type[BaseModel]]:
    """The models in a type, and in the types of their fields."""
    if isinstance(annotation, type) and not isinstance(annotation, types.GenericAlias):
        if issubclass(annotation, BaseModel) and annotation not in seen:
            seen.add(annotation)
            yield annotation
            for field in annotation.model_fields.values():
                yield from _models(field.annotation, seen)
        return
    for argument in get_args(annotation):
        yield from _models(argument, seen)


@check(
    "has-json-schema",
    None,
    is_light=True,
    advice="Use JSON types (numbers, strings, lists, nested models), or give your type a "
    "`__get_pydantic_json_schema__`; editors complete specs from `capfw schema`.",
)
def has_json_schema(subject: Subject) -> None:
    """The options have a JSON Schema."""
    try:
        subject.component.config.model_json_schema()
    except PydanticUserError as err:
        require(False, f"{subject.component.config.__name__} has no JSON Schema: {err.message}")


@check(
    "survives-json",
    None,
    is_light=True,
    advice="Serialize every option to the JSON from which it is read: a resolved spec must run again unchanged.",
)
def survives_json(subject: Subject) -> None:
    """The example, written as JSON with every default, is equal after it is read back."""
    config = subject.config
    try:
        again = _read_back(config)
        _read_back(subject.component.example)  # `capfw plugins show` prints it; its files need not exist
    except (ValidationError, ValueError, TypeError) as err:  # the last two: a value without a JSON form
        require(False, f"the options of the example cannot be read back from JSON: {err}")
    require(again == config, f"{config!r} became {again!r}.")


def _read_back(config: ComponentConfig) -> ComponentConfig:
    text = json.dumps(config.model_dump(mode="json"), allow_nan=False)
    return type(config).model_validate_json(text, strict=True, context={"check_files": False})


@check(
    "loads-target",
    None,
    is_light=True,
    advice='Set `target` to a class that can be imported, as "package.module:Class"; raise MissingLibrary for an optional '
    "library that is missing.",
)
def loads_target(subject: Subject) -> None:
    """`target` names a class that can be imported."""
    try:
        subject.component.load()
    except MissingLibrary as err:
        raise NotChecked(str(err)) from err
    except CapfwError as err:
        require(False, err.what)
