"""The checks of the conformance kit: their definition and their results."""

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
    """The error that `require` raises in a check, with the fault as its text."""


def require(holds: bool, what: str) -> None:
    """Fails the calling check, with the fault `what`, unless `holds`."""
    if not holds:
        raise CheckFailed(what)


@dataclass(frozen=True)
class CheckResult:
    """The result of one check of one component.

    `options` are the options that differ from its example. `message` is the fault, or the reason for a skip. `advice` is
    the fix after a failed check.
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

    `kind` is None for a promise of every kind. A light check reads only the description of a component, once. The other
    checks use the built component, for every variant of the example.
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
        """Runs the check. It never raises: any error of the component is a failure, with the advice of this check."""
        outcome, message = self._outcome(subject)
        advice = self.advice if outcome == "failed" else ""
        return CheckResult(subject.kind, subject.component.name, subject.options, self.name, outcome, message, advice)

    def _outcome(self, subject: Subject) -> tuple[Outcome, str]:
        with contextlib.redirect_stdout(sys.stderr), warnings.catch_warnings(), one_thread():
            warnings.simplefilter("ignore", CapfwWarning)  # a metric may warn that three images are few
            try:
                self.function(subject)
            except NotChecked as err:
                return "skipped", str(err)
            except CheckFailed as err:
                return "failed", str(err)
            except (Exception, SystemExit) as err:  # a third party's class may raise anything
                return "failed", f"it raised {type(err).__name__}: {err}"
        return "passed", ""


def check(name: str, kind: Kind | None, *, advice: str, is_light: bool = False) -> Callable[[_Function], Check]:
    """Turns a function into a check. The first line of its docstring is the promise that it tests."""

    def make(function: _Function) -> Check:
        promise = (function.__doc__ or "").partition("\n")[0]
        return Check(name, kind, is_light, promise, advice, function)

    return make


def checks_of(module: ModuleType) -> list[Check]:
    """The checks of a module, in the order of their definitions."""
    return [value for value in vars(module).values() if isinstance(value, Check)]
