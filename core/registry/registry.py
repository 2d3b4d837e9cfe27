"""Finds plugins, looks components up by kind and name, and explains failures. An object, not a global."""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from importlib.metadata import Distribution, EntryPoint
from typing import Literal, TypeAlias

import pluggy

from ..errors import PluginError, choices, suggestion
from ..protocols import KINDS, Component, Kind
from ..protocols.hookspecs import PROJECT, plugin_manager
from .loading import find_entry_points, in_words, load, stdout_aside
from .registration import ask, check_api, check_hooks, hooks_of, kinds_of

State: TypeAlias = Literal["ok", "clash", "broken", "skipped"]
_NUM_SHOWN = 300  # characters of a cause in the error of another component


@dataclass(frozen=True)
class PluginStatus:
    """The state of one plugin.

    `kinds` are the kinds of component for which it has hooks ("observer": hooks of a run); they are empty when it failed
    before. `components` are its usable components, as "kind name". `cause` describes the fault of a "broken" plugin, or
    the names in a "clash" that another plugin also claims. A "skipped" plugin was not imported.
    """

    name: str
    distribution: str
    version: str
    state: State
    kinds: tuple[str, ...] = ()
    components: tuple[str, ...] = ()
    cause: str = ""


@dataclass
class _Plugin:
    """A plugin during its registration."""

    name: str
    distribution: str = ""
    version: str = ""
    kinds: tuple[str, ...] = ()
    components: dict[Kind, list[Component]] = field(default_factory=dict)
    state: State = "ok"
    cause: str = ""
    manager: pluggy.PluginManager = field(default_factory=plugin_manager)

    @classmethod
    def of(cls, name: str, distribution: Distribution | None) -> _Plugin:
        return cls(name, (distribution and distribution.name) or "", (distribution and distribution.version) or "")

    @property
    def label(self) -> str:
        return f'plugin "{self.name}"' + (f" of {self.distribution} {self.version}" if self.distribution else "")

    def is_called(self, names: Collection[str]) -> bool:
        return self.name in names or (_same(self.distribution) in map(_same, names) and bool(self.distribution))

    def breaks(self, cause: str) -> None:
        self.state, self.cause, self.components = "broken", " ".join(cause.split()), {}


class Registry:
    """The components of plugins. `Registry.discover()` finds installed plugins; `Registry([mine])` has only `mine`.

    `plugins` are modules or objects with hook implementations. A broken plugin stays in `plugins` with its cause, and
    stops only the work that needs it.
    """

    def __init__(self, plugins: Iterable[object] = ()) -> None:
        self._found: list[_Plugin] = []
        self._owners: dict[tuple[Kind, str], list[tuple[_Plugin, Component]]] = {}
        self._objects: list[tuple[object, _Plugin]] = []
        for plugin in plugins:
            self._add(plugin, _Plugin(_name_of(plugin)))

    @classmethod
    def discover(cls, *, only: Collection[str] | None = None, skip: Collection[str] = ()) -> Registry:
        """Loads the entry points of group "capfw".

        `only` and `skip` hold names of entry points or distributions. `only` defaults to the environment variable
        CAPFW_PLUGINS (names with commas between); an empty variable counts as unset. Raises `PluginError` for a name that
        no plugin has.
        """
        from_environment = {name.strip() for name in os.environ.get("CAPFW_PLUGINS", "").split(",") if name.strip()}
        where = "CAPFW_PLUGINS" if only is None and from_environment else None
        only = (from_environment or None) if only is None else only
        registry = cls()
        points, unreadable = find_entry_points(PROJECT)
        for distribution, cause in unreadable:
            plugin = _Plugin.of(distribution.name, distribution)
            plugin.breaks(cause)
            registry._found.append(plugin)
        for point in points:
            registry._load(point, only, skip)
        registry._require_known(only or (), where)
        registry._require_known(skip, None)
        return registry

    def with_plugins(self, *extra: object) -> Registry:
        """A new registry with these plugins added, each once."""
        registry = Registry()
        registry._found = [plugin for plugin in self._found if plugin.state != "ok"]
        for loaded, plugin in self._objects:
            if plugin.state == "ok":
                registry._add(loaded, _Plugin(plugin.name, plugin.distribution, plugin.version))
        for plugin_object in extra:
            if not any(plugin_object is known for known, _ in registry._objects):
                registry._add(plugin_object, _Plugin(_name_of(plugin_object)))
        return registry

    @property
    def plugins(self) -> tuple[PluginStatus, ...]:
        """The state of every plugin that was found."""
        return tuple(map(self._status, self._found))

    @property
    def hooks(self) -> tuple[tuple[str, pluggy.HookRelay], ...]:
        """The name and the hooks of each usable plugin: one caller per plugin, so that each can be guarded."""
        return tuple((plugin.name, plugin.manager.hook) for _, plugin in self._objects)

    def components(self, kind: Kind) -> tuple[Component, ...]:
        """The components of one kind, sorted by name, without the names that two plugins claim."""
        return tuple(owners[0][1] for (k, _), owners in sorted(self._owners.items()) if k == kind and len(owners) == 1)

    def provider(self, kind: Kind, name: str) -> PluginStatus | None:
        """The plugin of this component; None unless there is exactly one."""
        owners = self._owners.get((kind, name), [])
        return self._status(owners[0][0]) if len(owners) == 1 else None

    def component(self, kind: Kind, name: str, *, hint: str | None = None) -> Component:
        """The component of this name. Raises `PluginError` with the registered names and the nearest one.

        `hint` replaces the last line of the fix, and names the package that has the component.
        """
        owners = self._owners.get((kind, name), [])
        if len(owners) > 1:
            raise self._clash(kind, name)
        if owners:
            return owners[0][1]
        names = [component.name for component in self.components(kind)]
        lines = [choices("Registered", names, name), *self.absences()]
        lines.append(
            hint
            or f"To use {_article(kind)} from another package, install it here; `capfw plugins` lists what was found."
        )
        raise PluginError(f'no {kind} is called "{name}".', fix="\n".join(lines))

    def absences(self) -> list[str]:
        """A line for each plugin that is broken or left out: the reasons why a name may be missing."""
        lines = [f"{p.label} is broken: {brief(p.cause, _NUM_SHOWN)}" for p in self._found if p.state == "broken"]
        return lines + [f"{p.label} was left out." for p in self._found if p.state == "skipped"]

    def plugin_of(self, kind: Kind, name: str) -> object:
        """The module or object that registers the component. Raises `PluginError`, as `component` does."""
        self.component(kind, name)
        owner, _ = self._owners[kind, name][0]
        return next(loaded for loaded, plugin in self._objects if plugin is owner)

    def _status(self, plugin: _Plugin) -> PluginStatus:
        named = [(kind, component.name) for kind in KINDS for component in plugin.components.get(kind, ())]
        taken = [key for key in named if len(self._owners[key]) > 1]
        return PluginStatus(
            plugin.name,
            plugin.distribution,
            plugin.version,
            "clash" if taken else plugin.state,
            plugin.kinds,
            tuple(f"{kind} {name}" for kind, name in named if (kind, name) not in taken),
            " ".join([plugin.cause, *(self._clash(*key).what for key in taken)]).strip(),
        )

    def _clash(self, kind: Kind, name: str) -> PluginError:
        plugins = [plugin for plugin, _ in self._owners[kind, name]]
        commands = " or ".join(f"`capfw --no-plugin {plugin.name} ...`" for plugin in plugins)
        return PluginError(
            f'the {kind} name "{name}" is claimed by {" and ".join(plugin.label for plugin in plugins)}.',
            fix=f"Leave one of them out ({commands}), or uninstall it.",
        )

    def _require_known(self, names: Collection[str], where: str | None) -> None:
        known = {p.name for p in self._found} | {p.distribution for p in self._found if p.distribution}
        for asked in sorted(names):
            if not any(plugin.is_called([asked]) for plugin in self._found):
                raise PluginError(
                    f'no plugin is called "{asked}".',
                    where=where,
                    fix=f"{suggestion(asked, known)} `capfw plugins` lists what was found.".lstrip(),
                )

    def _load(self, point: EntryPoint, only: Collection[str] | None, skip: Collection[str]) -> None:
        plugin = _Plugin.of(point.name, point.dist)
        if plugin.is_called(skip) or (only is not None and not plugin.is_called(only)):
            plugin.state = "skipped"
            self._found.append(plugin)
            return
        try:
            with stdout_aside():
                loaded = load(point)
        except PluginError as err:
            plugin.breaks(str(err))
            self._found.append(plugin)
            return
        self._add(loaded, plugin)

    def _add(self, loaded: object, plugin: _Plugin) -> None:
        self._found.append(plugin)
        if any(loaded is known for known, _ in self._objects):
            plugin.breaks("it is the same module as another plugin")
            return
        try:
            with stdout_aside():
                plugin.kinds = kinds_of(dir(loaded))  # a first guess, for a plugin that breaks below
                check_api(loaded)
                plugin.manager.register(loaded, name=plugin.name)
                check_hooks(plugin.manager, loaded)
                implemented = hooks_of(plugin.manager, loaded)
                plugin.kinds = kinds_of(implemented)
                for kind, row in KINDS.items():
                    if row.hook in implemented:
                        plugin.components[kind] = ask(plugin.manager, kind)
        except KeyboardInterrupt:
            raise
        except BaseException as err:  # any access to a third party's object may raise anything
            plugin.breaks(in_words(err))
            return
        self._objects.append((loaded, plugin))
        for kind, components in plugin.components.items():
            for component in components:
                self._owners.setdefault((kind, component.name), []).append((plugin, component))


def brief(text: str, length: int) -> str:
    """The text in one line, truncated to about `length` characters."""
    line = " ".join(text.split())
    return line if len(line) <= length else f"{line[: length - 4]} ..."


def _name_of(plugin: object) -> str:
    return getattr(plugin, "__name__", type(plugin).__name__)


def _same(distribution: str) -> str:
    """A distribution name in the form in which installers compare names (PEP 503)."""
    return re.sub(r"[-_.]+", "-", distribution).lower()


def _article(kind: Kind) -> str:
    return f"an {kind}" if kind[0] in "aeiou" else f"a {kind}"
