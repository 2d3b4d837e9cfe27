"""What a plugin may hand in: its hooks and its components are checked before anything uses them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from inspect import iscoroutinefunction

import pluggy

from .errors import PluginError, nearest
from .loading import in_words, time_limit
from .protocols import KINDS, Component, ComponentConfig, Kind
from .protocols.hookspecs import API_VERSION, Hooks

_HOOKS = tuple(name for name in vars(Hooks) if not name.startswith("_"))
_NAME = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")
_TARGET = re.compile(r"[\w.]+:\w+")


def check_api(loaded: object) -> None:
    """Raises `PluginError` when the plugin declares a plugin API other than ours."""
    wanted = getattr(loaded, "capfw_api", API_VERSION)
    if wanted == API_VERSION and not isinstance(wanted, bool):
        return
    if not isinstance(wanted, int) or isinstance(wanted, bool):
        raise PluginError(f"its capfw_api is {wanted!r:.40}, not a whole number such as {API_VERSION}")
    remedy = "upgrade capfw" if wanted > API_VERSION else "upgrade the plugin"
    raise PluginError(f"it needs capfw plugin API {wanted}, and this is {API_VERSION}: {remedy}")


def hooks_of(manager: pluggy.PluginManager, loaded: object) -> list[str]:
    """The hooks that a registered plugin implements."""
    return [caller.name for caller in manager.get_hookcallers(loaded) or []]


def check_hooks(manager: pluggy.PluginManager, loaded: object) -> None:
    """Raises `PluginError` for what pluggy lets pass: hooks that are misspelt, unmarked, or not there at all."""
    implemented = hooks_of(manager, loaded)
    for name in _HOOKS:
        if name.startswith("register_") and hasattr(loaded, name) and name not in implemented:
            raise PluginError(f"{name} is not marked: write @hookimpl above it")
    if not implemented:
        raise PluginError("it implements no hook; its entry point must name the module that does")
    for name in implemented:
        if name not in _HOOKS:
            close = nearest(name, _HOOKS)
            raise PluginError(f'no hook is called "{name}"' + (f'; did you mean "{close}"?' if close else ""))
    for implementation in _implementations(manager, loaded):
        if implementation.wrapper or implementation.hookwrapper or iscoroutinefunction(implementation.function):
            raise PluginError(f"{implementation.function.__name__} is a wrapper or async; only plain hooks are called")


def _implementations(manager: pluggy.PluginManager, loaded: object) -> list[pluggy.HookImpl]:
    callers = manager.get_hookcallers(loaded) or []
    return [each for caller in callers for each in caller.get_hookimpls() if each.plugin is loaded]


def kinds_of(names: Iterable[str]) -> tuple[str, ...]:
    """The kinds that hooks of these names are for, misspelt ones too; "observer" stands for the hooks of a run."""
    hooks = {nearest(name, _HOOKS) if name.startswith("register_") else name for name in names}
    kinds = [kind for kind in KINDS if f"register_{kind}s" in hooks]
    is_observer = any(name in hooks for name in _HOOKS if not name.startswith("register_"))
    return (*kinds, *["observer"] * is_observer)


def ask(loaded: object, kind: Kind, seconds: float) -> list[Component]:
    """The components of one kind that a plugin's hook returns, each checked. Raises `PluginError`."""
    hook_name = f"register_{kind}s"
    try:
        with time_limit(f"{hook_name}()", seconds):
            answer = getattr(loaded, hook_name)()
    except (KeyboardInterrupt, PluginError):
        raise
    except BaseException as err:  # a stranger's code may raise anything
        raise PluginError(f"{hook_name}() raised {in_words(err)}") from err
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
    if not (isinstance(component.config, type) and issubclass(component.config, ComponentConfig)):
        raise PluginError(f"{what}: config must be a subclass of ComponentConfig")
    if "name" in component.config.model_fields:
        raise PluginError(f'{what}: its config has a field "name"; in a spec that key names the component')
    if not isinstance(component.example, component.config):
        raise PluginError(f"{what}: example must be an instance of {component.config.__name__}")
    if not isinstance(component.starter, component.config | None):
        raise PluginError(f"{what}: starter must be an instance of {component.config.__name__} or None")
    _check_example(what, component.example)


def _check_example(what: str, example: ComponentConfig) -> None:
    """Calls what other components' errors and lists call, so that a fault in it stays with this plugin."""
    try:
        example.model_dump(mode="json", warnings=False)
        features = example.emitted_features(), example.required_features()
        scores = example.score_names()
    except Exception as err:
        raise PluginError(f"{what}: its example cannot be used: {in_words(err)}") from err
    if not all(each in (None, "pooled", "tokens") for each in features):
        raise PluginError(f'{what}: its features must be "pooled", "tokens" or None, not {features!r:.60}')
    if not isinstance(scores, tuple) or not all(isinstance(each, str) for each in scores):
        raise PluginError(f"{what}: score_names() must be a tuple of strings, not {scores!r:.60}")
