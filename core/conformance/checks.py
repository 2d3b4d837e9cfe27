"""What a check is, how one is written, and what it answers."""

from __future__ import annotations

import contextlib
import sys
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from types import ModuleType
from typing import Literal, TypeAlias

from ..errors import CapfwWarning
from ..protocols import Kind
from .subjects import NotChecked, Subject
from .surroundings import one_thread

Outcome: TypeAlias = Literal["passed", "failed", "skipped"]
_Function: TypeAlias = Callable[[Subject], None]


class CheckFailed(Exception):
    """Raised in a check by `require`: says what was found. The check's advice says what to do."""


def require(holds: bool, what: str) -> None:
    """Fails the check that calls it unless `holds`."""
    if not holds:
        raise CheckFailed(what)


@dataclass(frozen=True)
class CheckResult:
    """What one check found of one component.

    `options` are those that differ from its example. `message` says what was found, or why nothing was checked;
    `advice`, of a failed check, what to do.
    """

    kind: Kind
    component: str
    options: str
    check: str
    outcome: Outcome
    message: str = ""
    advice: str = ""

    def __str__(self) -> str:
        under = f" with {self.options}" if self.options else ""
        head = f'{self.kind} "{self.component}"{under}: {self.check} {self.outcome}'
        return f"{head}: {self.message}\n  {self.advice}" if self.outcome == "failed" else f"{head}. {self.message}"


@dataclass(frozen=True)
class Check:
    """One promise of a protocol.

    `kind` is None for a promise that every kind makes. A light check looks at the description of a component alone,
    once; the others look at what is built, under every variant of the example.
    """

    name: str
    kind: Kind | None
    is_light: bool
    promise: str
    advice: str
    function: _Function

    def applies_to(self, subject: Subject) -> bool:
        """Whether the subject makes this promise."""
        if self.kind not in (None, subject.kind):
            return False
        return not (self.is_light and subject.changes)

    def run(self, subject: Subject) -> CheckResult:
        """Never raises: whatever the component raises is a failure, with the advice of this check."""
        outcome, message = self._outcome(subject)
        advice = self.advice if outcome == "failed" else ""
        return CheckResult(subject.kind, subject.component.name, subject.options, self.name, outcome, message, advice)

    def _outcome(self, subject: Subject) -> tuple[Outcome, str]:
        with contextlib.redirect_stdout(sys.stderr), warnings.catch_warnings(), one_thread():
            warnings.simplefilter("ignore", CapfwWarning)  # a metric may well say that three images are few
            try:
                self.function(subject)
            except NotChecked as err:
                return "skipped", str(err)
            except CheckFailed as err:
                return "failed", str(err)
            except (Exception, SystemExit) as err:  # a stranger's class may raise anything
                return "failed", f"it raised {type(err).__name__}: {err}"
        return "passed", ""


def check(name: str, kind: Kind | None, *, advice: str, is_light: bool = False) -> Callable[[_Function], Check]:
    """Makes a function a check. The first line of its docstring is the promise it holds a component to."""

    def make(function: _Function) -> Check:
        promise = (function.__doc__ or "").partition("\n")[0]
        return Check(name, kind, is_light, promise, advice, function)

    return make


def checks_of(module: ModuleType) -> list[Check]:
    """The checks a module defines, in its order."""
    return [value for value in vars(module).values() if isinstance(value, Check)]
