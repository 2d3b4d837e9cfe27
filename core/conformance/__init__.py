"""The checks every plugin passes, for authors of plugins to run on their own.

In the tests of a plugin package, one line makes a case of every component and every promise of its protocol:

    import capfw_colorgrid
    from capfw.core.conformance import conformance_test

    test_conformance = conformance_test(capfw_colorgrid)

The same without pytest is `capfw plugins check NAME`, or in Python `run_checks("encoder/color-grid")`.

What is checked:

- The component as its `example` has it, and under every other value of every option that lists its values (`Literal`),
  one at a time, where that builds: an encoder as pooled and as tokens, a decoder of words and of subwords. Choose an
  example that builds without a network in well under a second.
- An encoder is given small images, as encoded bytes; one that reads something else (sounds) gets `example_sources`.
- A component that reads files of the user's gets a `write_example`, which makes the smallest such files in a folder; the
  kit builds that in place of `example`.
- Nothing is skipped in silence: what cannot be checked here (a library or program is missing) is reported as skipped, with
  the reason.
- A failed check says what was found and, in its `advice`, what to do. `registered()` lists the checks with the promise each
  of them holds a component to.

Checks run on the CPU, with a few small images and captions the kit makes itself. pytest is imported by
`conformance_test` alone.
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
    generation,
    importers,
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
)


def registered() -> tuple[Check, ...]:
    """Every check, in the order in which they run: what is said of a component, how it is built, what it does."""
    return tuple(each for module in _MODULES for each in checks_of(module))


def run_checks(component: Component | str, registry: Registry | None = None) -> list[CheckResult]:
    """Every check of one component, or of all that have this name ("NAME" or "KIND/NAME"), with what it found.

    `registry` is where the component is looked up: what is installed, unless another is given.

    Raises `PluginError` when there is no such component. What the component itself raises is a failed check.
    """
    return list(check_each(component, registry))


def check_each(component: Component | str, registry: Registry | None = None) -> Iterator[CheckResult]:
    """What `run_checks` returns, each as soon as it is known."""
    registry = registry or Registry.discover()
    wanted = component if isinstance(component, str) else component.name
    found = [(kind, c) for kind, c in find(registry, wanted) if isinstance(component, str) or c == component]
    if not found:
        raise PluginError(f'"{wanted}" of this registry is another component.', fix="Give the registry that has it.")
    return (each for kind, c in found for subject in subjects_of(registry, kind, c) for each in _results(subject))


def conformance_test(*plugins: object) -> Callable[..., None]:
    """A pytest function with a case for every component of these plugins, each variant of it, and each check.

    `plugins` are modules or objects with hooks; without any, all that are installed are tested. Assign it to a name that
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
    """What every check that applies finds, one after the other."""
    return (each.run(subject) for each in registered() if each.applies_to(subject))


def _sound(plugins: tuple[object, ...]) -> Registry:
    if not plugins:
        return Registry.discover()
    registry = Registry(plugins)
    for status in registry.plugins:
        if status.cause:
            raise PluginError(f'plugin "{status.name}" cannot be used: {status.cause}')
        if not status.components:
            raise PluginError(f'plugin "{status.name}" registers no component, so that there is nothing to check.')
    return registry


def _label(subject: Subject) -> str:
    changes = "".join(f"-{name}={value}" for name, value in subject.changes.items())
    return f"{subject.kind}-{subject.component.name}{changes}"
