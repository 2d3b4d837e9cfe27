"""Checks the hooks and components of a plugin before anything uses them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from inspect import iscoroutinefunction

import pluggy

from ..errors import PluginError, nearest, suggestion
from ..protocols import (
    KINDS,
    Component,
    ComponentConfig,
    ContextConfig,
    EncoderConfig,
    Kind,
    MapperConfig,
    MetricConfig,
    ObjectiveConfig,
)
from ..protocols.hookspecs import API_VERSION, HOOKS, RUN_HOOKS
from .loading import in_words

_NAME = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")
_FEATURES = ("pooled", "tokens", None)
_TARGET = re.compile(r"[\w.]+:\w+")


def check_api(loaded: object) -> None:
    """Raises `PluginError` when the plugin declares another version of the plugin API."""
    wanted = getattr(loaded, "capfw_api", API_VERSION)
    if wanted == API_VERSION and not isinstance(wanted, bool):
        return
    if not isinstance(wanted, int) or isinstance(wanted, bool):
        raise PluginError(f"its capfw_api is {wanted!r:.40}, not a whole number such as {API_VERSION}")
    remedy = "upgrade capfw" if wanted > API_VERSION else "upgrade the plugin"
    raise PluginError(f"it needs capfw plugin API {wanted}, but this capfw has {API_VERSION}: {remedy}")


def hooks_of(manager: pluggy.PluginManager, loaded: object) -> list[str]:
    """The hooks that a registered plugin implements."""
    return [caller.name for caller in manager.get_hookcallers(loaded) or []]


def check_hooks(manager: pluggy.PluginManager, loaded: object) -> None:
    """Raises `PluginError` for hooks that are misspelt, unmarked or absent, which pluggy accepts."""
    implemented = hooks_of(manager, loaded)
    for row in KINDS.values():
        if hasattr(loaded, row.hook) and row.hook not in implemented:
            raise PluginError(f"{row.hook} is not marked: write @hookimpl above it")
    if not implemented:
        raise PluginError("it implements no hook; its entry point must name the module with the hooks")
    for name in implemented:
        if name not in HOOKS:
            raise PluginError(f'no hook is called "{name}". {suggestion(name, HOOKS)}'.rstrip())
    for implementation in _implementations(manager, loaded):
        if implementation.wrapper or implementation.hookwrapper or iscoroutinefunction(implementation.function):
            raise PluginError(f"{implementation.function.__name__} is a wrapper or async; only plain hooks are called")


def _implementations(manager: pluggy.PluginManager, loaded: object) -> list[pluggy.HookImpl]:
    callers = manager.get_hookcallers(loaded) or []
    return [each for caller in callers for each in caller.get_hookimpls() if each.plugin is loaded]


def kinds_of(names: Iterable[str]) -> tuple[str, ...]:
    """The kinds of the hooks with these names, even misspelt ones; "observer" stands for the hooks of a run."""
    hooks = {nearest(name, HOOKS) if name.startswith("register_") else name for name in names}
    kinds = [row.name for row in KINDS.values() if row.hook in hooks]
    return (*kinds, *["observer"] * any(name in hooks for name in RUN_HOOKS))


def ask(manager: pluggy.PluginManager, kind: Kind) -> list[Component]:
    """The checked components of one kind from the only plugin of `manager`. Raises `PluginError`."""
    hook_name = KINDS[kind].hook
    try:
        answers = getattr(manager.hook, hook_name)()
    except (KeyboardInterrupt, PluginError):
        raise
    except BaseException as err:  # third-party code may raise anything
        raise PluginError(f"{hook_name}() raised {in_words(err)}") from err
    answer = answers[0] if answers else None  # pluggy leaves None out
    if not isinstance(answer, Sequence) or not all(isinstance(item, Component) for item in answer):
        raise PluginError(f"{hook_name}() returned {answer!r:.80}, not a list of Component")
    for component in answer:
        _check_component(component, kind)
    names = [component.name for component in answer]
    if repeated := {name for name in names if names.count(name) > 1}:
        raise PluginError(f"{hook_name}() returned {', '.join(sorted(repeated))} more than once")
    return list(answer)


def _check_component(component: Component, kind: Kind) -> None:
    what = f'{kind} "{component.name}"'
    for field in ("name", "target", "summary", "source"):
        if not isinstance(getattr(component, field), str):
            raise PluginError(f"{what}: {field} must be a string, not {getattr(component, field)!r:.40}")
    if isinstance(component.revision, bool) or not isinstance(component.revision, int) or component.revision < 1:
        raise PluginError(f"{what}: revision must be a whole number from 1 up, not {component.revision!r:.40}")
    if not _NAME.fullmatch(component.name):
        raise PluginError(f"{what}: names are kebab-case (small letters, digits, single hyphens)")
    if not _TARGET.fullmatch(component.target):
        raise PluginError(f'{what}: target {component.target!r} is not "package.module:Class"')
    base = KINDS[kind].config
    if not (isinstance(component.config, type) and issubclass(component.config, base)):
        raise PluginError(f"{what}: config must be a subclass of {base.__name__}, not {_words_for(component.config)}")
    if "name" in component.config.model_fields:
        raise PluginError(f'{what}: its config has a field "name"; in a spec that key names the component')
    if not isinstance(component.example, component.config):
        raise PluginError(f"{what}: example must be an instance of {component.config.__name__}")
    if not isinstance(component.starter, component.config | None):
        raise PluginError(f"{what}: starter must be an instance of {component.config.__name__} or None")
    _check_example(what, component.example)


def _words_for(config: object) -> str:
    return config.__name__ if isinstance(config, type) else f"{config!r:.40}"


def _check_example(what: str, example: ComponentConfig) -> None:
    """Calls the methods that lists and error messages call later, so that only this plugin fails if one is broken."""
    try:
        example.model_dump(mode="json", warnings=False)
        wrong = list(_wrong_answers(example))
    except Exception as err:
        raise PluginError(f"{what}: its example cannot be used: {in_words(err)}") from err
    if wrong:
        raise PluginError(f"{what}: {wrong[0]}")


def _wrong_answers(example: ComponentConfig) -> Iterator[str]:
    """A message for each method of the kind's config base that returns another type than its signature."""
    if isinstance(example, EncoderConfig) and (features := example.emitted_features()) not in _FEATURES:
        yield f'emitted_features() must be "pooled", "tokens" or None, not {features!r:.60}'
    if isinstance(example, MapperConfig) and (features := example.required_features()) not in _FEATURES:
        yield f'required_features() must be "pooled", "tokens" or None, not {features!r:.60}'
    if isinstance(example, MetricConfig):
        for method in ("score_names", "optional_score_names", "lower_is_better", "needs", "programs"):
            names: object = getattr(example, method)()
            if not isinstance(names, tuple) or not all(isinstance(each, str) for each in names):
                yield f"{method}() must be a tuple of strings, not {names!r:.60}"
                return
        for method in ("optional_score_names", "lower_is_better"):
            if unknown := sorted(set(getattr(example, method)()) - set(example.score_names())):
                yield f"{method}() names {', '.join(unknown)}, which score_names() does not"
    if isinstance(example, ObjectiveConfig):
        metrics = example.metrics()
        if not isinstance(metrics, tuple) or not all(isinstance(each, Mapping) for each in metrics):
            yield f"metrics() must be a tuple of sections of metrics, not {metrics!r:.60}"
    if isinstance(example, ContextConfig) and not isinstance(reads := example.reads_features(), bool):
        yield f"reads_features() must be True or False, not {reads!r:.60}"
