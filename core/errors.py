"""The error tree. Every error that a user can cause is a `CapfwError`; its text names what, where and one fix."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass


def nearest(word: str, known: Iterable[str]) -> str | None:
    """The known name most like `word`, or None when nothing is close."""
    lowered = {name.lower(): name for name in known}
    matches = difflib.get_close_matches(word.lower(), list(lowered), n=1, cutoff=0.6)
    return lowered[matches[0]] if matches else None


def suggestion(word: str, known: Iterable[str]) -> str:
    """`Did you mean "..."?` with the known name most like `word`; empty when nothing is close."""
    close = nearest(word, known)
    return f'Did you mean "{close}"?' if close else ""


def choices(heading: str, known: Iterable[str], word: object = None) -> str:
    """`Registered: a, b.  Did you mean "b"?`: the known names under a heading, and the one most like `word`."""
    names = list(known)
    hint = suggestion(word, names) if isinstance(word, str) else ""
    return f"{heading}: {', '.join(names) or 'none'}.  {hint}".rstrip()


def listed(items: Sequence[object], most: int, *, between: str = ", ") -> str:
    """The first `most` items, and the number of the others."""
    shown = between.join(map(str, items[:most]))
    rest = len(items) - most
    return shown + f"{between if between.isspace() else ' '}and {rest} more" * (rest > 0)


class CapfwWarning(UserWarning):
    """Something that a user should know about a result; the engine reports it as a notice."""


class CapfwError(Exception):
    """Base of every error that a user can cause.

    `where` is a JSON pointer, a file (with a line where there is one) or an option. `fix` is what to do next. `exit_code`
    is the exit code of the command line: 1 when the run failed, 2 when the request was wrong.
    """

    exit_code = 1

    def __init__(self, what: str, *, where: str | None = None, fix: str | None = None) -> None:
        super().__init__(what)
        self.what, self.where, self.fix = what, where, fix

    def __str__(self) -> str:
        head = f"{self.where}: {self.what}" if self.where else self.what
        return head + "".join(f"\n  {line}" for line in (self.fix or "").splitlines())


class ComponentError(CapfwError):
    """A component cannot be built or used as the spec asks. `option` names the option at fault.

    The engine adds the component's place in the spec, so a plugin passes only `option="weights"`.
    """

    exit_code = 2

    def __init__(self, what: str, *, option: str | None = None, fix: str | None = None) -> None:
        super().__init__(what, fix=fix)
        self.option = option


class IncompatibleComponents(ComponentError):
    """Two components of the spec do not fit each other."""


class MissingWeights(ComponentError):
    """The weights in the spec are not on this machine and cannot be downloaded."""


class BadCheckpoint(ComponentError):
    """A weights file is damaged, or belongs to another architecture."""


class MissingLibrary(ComponentError):
    """An optional library or program is not installed; `fix` holds the install command."""


class DataError(CapfwError):
    """A data set, captions file or image is wrong; `where` names the file and line."""

    exit_code = 2


@dataclass(frozen=True)
class ColumnQuestion:
    """A question to the user: which column of a table has this role? `what` names its contents ("file names")."""

    role: str
    what: str
    takes_several: bool = False


class UnclearColumns(DataError):
    """A table whose columns only the user knows. `columns` maps each of its columns to an example of its values.

    `capfw init` asks the questions on a terminal, and passes the answers to `DatasetConfig.for_files`.
    """

    def __init__(
        self, what: str, *, where: str, fix: str, columns: Mapping[str, str], questions: Sequence[ColumnQuestion]
    ) -> None:
        super().__init__(what, where=where, fix=fix)
        self.columns, self.questions = columns, questions


class UnreadableSource(DataError):
    """The bytes of a sample cannot be read, or an encoder's transform cannot decode them."""

    exit_code = 1


class UnreadableImage(UnreadableSource):
    """The bytes of a sample are not an image, or the image cannot be decoded."""


class PluginError(CapfwError):
    """A plugin is broken, or two plugins claim one name."""

    exit_code = 2


class RunError(CapfwError):
    """A run cannot start, continue or finish."""


class RequestError(RunError):
    """A request that this run cannot serve: it lacks something, or the request is not allowed."""

    exit_code = 2


@dataclass(frozen=True)
class Problem:
    """One problem in a spec: where (JSON pointer, RFC 6901), what, and one fix.

    `is_missing_input` marks a file or folder that the spec names and that does not exist.
    """

    pointer: str
    message: str
    fix: str = ""
    is_missing_input: bool = False

    def __str__(self) -> str:
        return f"{self.pointer or '/'}: {self.message}" + "".join(f"\n  {line}" for line in self.fix.splitlines())


class SpecError(CapfwError):
    """All problems of a spec in one error.

    The text ends with `description`, the spec's own, if input files are missing: it may name the place to get them.
    """

    exit_code = 2

    def __init__(self, problems: Sequence[Problem], *, source: str = "the spec", description: str = "") -> None:
        self.problems, self.source = tuple(problems), source
        self.description = description if any(problem.is_missing_input for problem in problems) else ""
        super().__init__(f"{source}: {len(problems)} problem{'s' * (len(problems) != 1)}")

    def __str__(self) -> str:
        closing = [f"The description of this spec: {self.description}"] if self.description else []
        return "\n\n".join([f"{self.what}", *map(str, self.problems), *closing])
