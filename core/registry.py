"""Finds plugins, looks components up by kind and name, and explains what went wrong. An object, not a global."""

from __future__ import annotations

import contextlib
import os
import re
import sys
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from importlib.metadata import EntryPoint, entry_points
from typing import Literal

import pluggy

from .errors import PluginError, nearest
from .protocols import KINDS, Component, ComponentConfig, Kind
from .protocols.hookspecs import API_VERSION, PROJECT, Hooks

_NAME = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")
_TARGET = re.compile(r"[\w.]+:\w+")


@dataclass(frozen=True)
class PluginStatus:
    """One plugin as it was found: `components` are "kind name"; `cause` says what is wrong with a broken one."""

    name: str
    distribution: str
    version: str
    state: Literal["ok", "broken", "skipped"]
    components: tuple[str, ...] = ()
    cause: str = ""


@dataclass
class _Plugin:
    """A plugin while it is being registered."""

    name: str
    distribution: str = ""
    version: str = ""
    components: dict[Kind, list[Component]] = field(default_factory=dict)
    state: Literal["ok", "broken", "skipped"] = "ok"
    cause: str = ""

    @property
    def label(self) -> str:
        return f'plugin "{self.name}"' + (f" of {self.distribution} {self.version}" if self.distribution else "")

    def status(self) -> PluginStatus:
        names = tuple(f"{kind} {c.name}" for kind in KINDS for c in self.components.get(kind, ()))
        return PluginStatus(self.name, self.distribution, self.version, self.state, names, self.cause)


class Registry:
    """The components of some plugins. `Registry.discover()` finds the installed ones; `Registry([mine])` has only mine.

    `plugins` are modules or objects with hook implementations. One that breaks is kept in `plugins` with its cause and
    stops only what needs it.
    """

    def __init__(self, plugins: Iterable[object] = ()) -> None:
        self._manager = pluggy.PluginManager(PROJECT)
        self._manager.add_hookspecs(Hooks)
        self._found: list[_Plugin] = []
        self._owners: dict[tuple[Kind, str], list[tuple[_Plugin, Component]]] = {}
        self._objects: list[tuple[object, _Plugin]] = []
        for plugin in plugins:
            self._add(plugin, _Plugin(getattr(plugin, "__name__", type(plugin).__name__)))

    @classmethod
    def discover(cls, *, only: Collection[str] | None = None, skip: Collection[str] = ()) -> Registry:
        """Loads the entry points of group "capfw".

        `only` and `skip` hold entry point or distribution names; without `only`, the environment variable CAPFW_PLUGINS
        (names with commas between) decides.
        """
        if only is None and "CAPFW_PLUGINS" in os.environ:
            only = {name.strip() for name in os.environ["CAPFW_PLUGINS"].split(",") if name.strip()}
        registry = cls()
        points = sorted(entry_points(group=PROJECT), key=lambda point: point.name)
        for point in points:
            registry._load(point, only, skip)
        known = {p.name for p in registry._found} | {p.distribution for p in registry._found}
        for asked in sorted({*(only or ()), *skip} - known):
            close = nearest(asked, known)
            raise PluginError(
                f'no plugin is called "{asked}".',
                fix=(f'Did you mean "{close}"? ' if close else "") + "`capfw plugins` lists what was found.",
            )
        return registry

    def with_plugins(self, *extra: object) -> Registry:
        """A registry with these plugins too."""
        registry = Registry()
        registry._found = [plugin for plugin in self._found if plugin.state != "ok"]
        for loaded, plugin in self._objects:
            if plugin.state == "ok":
                registry._add(loaded, _Plugin(plugin.name, plugin.distribution, plugin.version))
        for plugin_object in extra:
            registry._add(plugin_object, _Plugin(getattr(plugin_object, "__name__", type(plugin_object).__name__)))
        return registry

    @property
    def plugins(self) -> tuple[PluginStatus, ...]:
        """Every plugin that was found, sound or not; one whose component's name is taken says so."""
        clashes = {id(plugin): key for key, owners in self._owners.items() if len(owners) > 1 for plugin, _ in owners}
        statuses = []
        for plugin in self._found:
            if id(plugin) in clashes and plugin.state == "ok":
                plugin.cause = self._clash(*clashes[id(plugin)]).what
            statuses.append(plugin.status())
        return tuple(statuses)

    @property
    def hook(self) -> pluggy.HookRelay:
        """Pluggy's hooks, for the events of a run."""
        return self._manager.hook

    def components(self, kind: Kind) -> tuple[Component, ...]:
        """The components of one kind, by name; a name two plugins claim is left out."""
        return tuple(owners[0][1] for (k, _), owners in sorted(self._owners.items()) if k == kind and len(owners) == 1)

    def component(self, kind: Kind, name: str) -> Component:
        """The component of this name. Raises `PluginError` with the registered names and the nearest one."""
        owners = self._owners.get((kind, name), [])
        if len(owners) > 1:
            raise self._clash(kind, name)
        if owners:
            return owners[0][1]
        names = [component.name for component in self.components(kind)]
        close = nearest(name, names)
        lines = [f"Registered: {', '.join(names) or 'none'}." + (f'  Did you mean "{close}"?' if close else "")]
        lines += [f"{p.label} is broken: {p.cause}" for p in self._found if p.state == "broken"]
        lines += [f"{p.label} was left out." for p in self._found if p.state == "skipped"]
        lines.append(
            f"To use {_article(kind)} from another package, install it here; `capfw plugins` lists what was found."
        )
        raise PluginError(f'no {kind} is called "{name}".', fix="\n".join(lines))

    def plugin_of(self, kind: Kind, name: str) -> object:
        """The module or object that registers the component. Raises `PluginError` as `component` does."""
        self.component(kind, name)
        owner, _ = self._owners[kind, name][0]
        return next(loaded for loaded, plugin in self._objects if plugin is owner)

    def _clash(self, kind: Kind, name: str) -> PluginError:
        labels = " and ".join(plugin.label for plugin, _ in self._owners[kind, name])
        return PluginError(
            f'the {kind} name "{name}" is claimed by {labels}.',
            fix="Leave one of them out: capfw --no-plugin NAME, or uninstall it.",
        )

    def _load(self, point: EntryPoint, only: Collection[str] | None, skip: Collection[str]) -> None:
        distribution = point.dist.name if point.dist else ""
        plugin = _Plugin(point.name, distribution, point.dist.version if point.dist else "")
        names = {point.name, distribution}
        if names & set(skip) or (only is not None and not names & set(only)):
            plugin.state = "skipped"
            self._found.append(plugin)
            return
        try:
            with contextlib.redirect_stdout(sys.stderr):  # what a plugin prints must not mix with results
                loaded = point.load()
        except (Exception, SystemExit) as err:  # a stranger's module may raise anything
            plugin.state, plugin.cause = "broken", f"importing {point.value} failed: {_describe(err)}"
            self._found.append(plugin)
            return
        self._add(loaded, plugin)

    def _add(self, loaded: object, plugin: _Plugin) -> None:
        self._found.append(plugin)
        if self._manager.is_registered(loaded):
            plugin.state, plugin.cause = "broken", "it is the same module as another plugin"
            return
        try:
            self._check_api(loaded)
            name = self._manager.register(loaded, name=f"{plugin.name} #{len(self._found)}")
            self._check_hooks(loaded)
            for kind in KINDS:
                plugin.components[kind] = self._ask(loaded, kind)
        except (Exception, SystemExit) as err:
            if self._manager.is_registered(loaded):
                self._manager.unregister(loaded)
            plugin.state, plugin.cause, plugin.components = "broken", _describe(err), {}
            return
        assert name is not None
        self._objects.append((loaded, plugin))
        for kind, components in plugin.components.items():
            for component in components:
                self._owners.setdefault((kind, component.name), []).append((plugin, component))

    @staticmethod
    def _check_api(loaded: object) -> None:
        wanted = getattr(loaded, "capfw_api", API_VERSION)
        if wanted != API_VERSION:
            raise PluginError(f"it needs capfw plugin API {wanted}; this is {API_VERSION}")

    def _check_hooks(self, loaded: object) -> None:
        """Raises `PluginError` for what pluggy lets pass: hooks that are misspelt, unmarked, or not there at all."""
        known = [name for name in vars(Hooks) if not name.startswith("_")]
        implemented = [caller.name for caller in self._manager.get_hookcallers(loaded) or []]
        for name in known:
            if name.startswith("register_") and hasattr(loaded, name) and name not in implemented:
                raise PluginError(f"{name} is not marked: write @hookimpl above it")
        if not implemented:
            raise PluginError("it implements no hook; its entry point must name the module that does")
        for name in implemented:
            if name not in known:
                close = nearest(name, known)
                raise PluginError(f'no hook is called "{name}"' + (f'; did you mean "{close}"?' if close else ""))

    def _ask(self, loaded: object, kind: Kind) -> list[Component]:
        hook_name = f"register_{kind}s"
        method = getattr(loaded, hook_name, None)
        implemented = {c.name for c in self._manager.get_hookcallers(loaded) or []}
        if method is None or hook_name not in implemented:
            return []
        answer = method()
        if not isinstance(answer, Sequence) or not all(isinstance(item, Component) for item in answer):
            raise PluginError(f"{hook_name}() returned {answer!r:.80}, not a list of Component")
        for component in answer:
            _check_component(component, kind)
        return list(answer)


def _check_component(component: Component, kind: Kind) -> None:
    what = f'{kind} "{component.name}"'
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


def _describe(err: BaseException) -> str:
    return str(err) if isinstance(err, PluginError) else f"{type(err).__name__}: {err}"


def _article(kind: Kind) -> str:
    return f"an {kind}" if kind[0] in "aeiou" else f"a {kind}"
