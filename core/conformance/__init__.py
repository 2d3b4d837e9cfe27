"""The checks that every plugin passes. Authors of plugins run them on their own components.

In the tests of a plugin package, one line makes a case for every component and every check:

    import capfw_colorgrid
    from capfw.core.conformance import conformance_test

    test_conformance = conformance_test(capfw_colorgrid)

The same without pytest is `capfw plugins check NAME`, or in Python `run_checks("encoder/color-grid")`.

How the kit works:

- It checks the component with its `example`, and with every other value of each option that lists its values
  (`Literal`), one at a time, where that builds: a pooled encoder and one with tokens, a decoder of words and one of
  subwords. Choose an example that builds offline in well under a second.
- It gives an encoder small images, as encoded bytes. An encoder of other inputs (sounds) needs `example_sources`.
- A component that reads the user's files needs a `write_example`, which writes the smallest such files into a folder.
  The kit then builds that configuration in place of `example`.
- It never skips silently. A check that cannot run here (a library or program is missing) is reported as skipped, with the
  reason.
- A failed check reports the fault and, as `advice`, the fix. `registered()` lists the checks, each with the promise that
  it tests.

Checks run on the CPU, with a few small images and captions that the kit makes. Only `conformance_test` imports pytest.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from ..errors import PluginError
from ..protocols import Component
from ..registry import Registry
from ..spec.describe import find
from . import (
    building,
    contexts,
    datasets,
    decoders,
    descriptions,
    encoders,
    exporters,
    generation,
    importers,
    loggers,
    mappers,
    metrics,
    objectives,
    texts,
    transforms,
)
from .checks import Check, CheckResult, Outcome, checks_of
from .subjects import Subject, subjects, subjects_of, variants

__all__ = [
    "Check",
    "CheckResult",
    "Outcome",
    "check_each",
    "conformance_test",
    "registered",
    "run_checks",
    "variants",
]


_MODULES = (
    descriptions,
    building,
    transforms,
    encoders,
    mappers,
    decoders,
    generation,
    texts,
    metrics,
    datasets,
    importers,
    objectives,
    contexts,
    loggers,
    exporters,
)


def registered() -> tuple[Check, ...]:
    """Every check in the order of the run: first the description of a component, then its build, then its behaviour."""
    return tuple(each for module in _MODULES for each in checks_of(module))


def run_checks(component: Component | str, registry: Registry | None = None) -> list[CheckResult]:
    """The result of every check of one component, or of all with this name ("NAME" or "KIND/NAME").

    `registry` has the component; it defaults to the installed plugins.

    Raises `PluginError` when there is no such component. An error of the component itself is a failed check.
    """
    return list(check_each(component, registry))


def check_each(component: Component | str, registry: Registry | None = None) -> Iterator[CheckResult]:
    """Yields the results of `run_checks`, each as soon as it is ready."""
    registry = registry or Registry.discover()
    wanted = component if isinstance(component, str) else component.name
    found = [(kind, c) for kind, c in find(registry, wanted) if isinstance(component, str) or c == component]
    if not found:
        raise PluginError(f'"{wanted}" of this registry is another component.', fix="Pass the registry that has it.")
    return (each for kind, c in found for subject in subjects_of(registry, kind, c) for each in _results(subject))


def conformance_test(*plugins: object) -> Callable[..., None]:
    """A pytest function with a case for every component of these plugins, each variant of it, and each check.

    `plugins` are modules or objects with hooks; the default is all installed plugins. Assign the function to a name that
    pytest collects.

    Raises `PluginError` for a plugin that cannot be registered, or that registers no component.
    """
    import pytest  # the kit works without it

    cases = [
        pytest.param(each, subject, id=f"{_label(subject)}-{each.name}")
        for subject in subjects(_sound(plugins))
        for each in registered()
        if each.applies_to(subject)
    ]

    @pytest.mark.parametrize(("check", "subject"), cases)
    def test(check: Check, subject: Subject) -> None:
        result = check.run(subject)
        if result.outcome == "skipped":
            pytest.skip(result.message)
        if result.outcome == "failed":
            pytest.fail(str(result), pytrace=False)

    return test


def _results(subject: Subject) -> Iterator[CheckResult]:
    """The results of every check that applies, in order."""
    return (each.run(subject) for each in registered() if each.applies_to(subject))


def _sound(plugins: tuple[object, ...]) -> Registry:
    if not plugins:
        return Registry.discover()
    registry = Registry(plugins)
    for status in registry.plugins:
        if status.cause:
            raise PluginError(f'plugin "{status.name}" cannot be used: {status.cause}')
        if not status.components:
            raise PluginError(f'plugin "{status.name}" registers no component, so there is nothing to check.')
    return registry


def _label(subject: Subject) -> str:
    changes = "".join(f"-{name}={value}" for name, value in subject.changes.items())
    return f"{subject.kind}-{subject.component.name}{changes}"
