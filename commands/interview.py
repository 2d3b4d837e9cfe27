"""The way of `capfw init` from the user's wishes to a checked spec, with questions where there is a terminal."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TextIO

import click

from . import questions

if TYPE_CHECKING:
    from pathlib import Path

    from ..core.authoring.first_spec import Checked, Wishes
    from ..core.protocols import Kind
    from ..core.registry import Registry

SKIP = "/data/on_bad_row"


class Interview:
    """The way from the user's wishes to a checked spec. On a terminal it asks for what is missing.

    `wishes` grows by the answers; `is_asking` is True once a question was asked.
    """

    def __init__(self, wishes: Wishes, registry: Registry, output: Path, is_asking: bool) -> None:
        self.wishes, self.is_asking = wishes, is_asking
        self._registry, self._output, self._folder = registry, output, output.parent
        self._asks_for_parts = is_asking

    def settle(self) -> tuple[dict[str, Any], Checked]:
        """Returns the JSON values of the spec, and what was checked."""
        raw = self._draft()
        is_told = self._decide_on_rows(raw)
        if self._asks_for_parts:
            self._ask_for_parts()
            raw = self._draft()
        from ..core.authoring.first_spec import check
        from ..core.errors import DataError, SpecError

        try:
            with _silence(is_told):
                return raw, check(raw, self._registry, self._folder)
        except SpecError as err:
            raise SpecError(err.problems, source=f"{self._output} was not written") from err
        except DataError as err:
            err.fix = "\n".join(filter(None, [err.fix, self._hint(raw, err)]))
            raise

    def _draft(self) -> dict[str, Any]:
        """Drafts the spec. On a terminal, it asks for a file of captions until one is recognized, and for columns."""
        from ..core.authoring.first_spec import NoCaptionsInside, draft
        from ..core.errors import DataError, UnclearColumns

        has_asked = False
        while True:
            try:
                return draft(self.wishes, self._registry, self._folder)
            except UnclearColumns as err:
                if not questions.is_terminal():
                    raise
                click.echo(str(err), err=True)
                self._answer(columns={**self.wishes.columns, **questions.ask_for_columns(err)})
            except DataError as err:
                if not questions.is_terminal() or (self.wishes.captions is not None and not has_asked):
                    raise
                if not isinstance(err, NoCaptionsInside):
                    click.echo(str(err), err=True)
                has_asked = self._asks_for_parts = True
                self._answer(captions=questions.ask_for_captions())

    def _answer(self, **changes: Any) -> None:
        self.wishes, self.is_asking = replace(self.wishes, **changes), True

    def _decide_on_rows(self, raw: dict[str, Any]) -> bool:
        """Checks the data before further questions, and offers to leave wrong rows out. Returns whether all was reported.

        With `on_bad_row` "skip" a data set no longer reports what it keeps, so that a run does not repeat it. Here it is
        reported, once.
        """
        from ..core.authoring.first_spec import check_data
        from ..core.errors import DataError
        from ..core.spec import pairs_of

        if not (self._asks_for_parts or self._skips(raw)):
            return False  # the check of the whole spec reports everything
        strict = {**raw, "data": {key: value for key, value in raw["data"].items() if key != "on_bad_row"}}
        try:
            check_data(strict, self._registry, self._folder)
        except DataError as err:
            if self._skips(raw):
                return False  # the check of the whole spec lists the rows that are left out
            if not (questions.is_terminal() and self._is_about_rows(raw, err)):
                err.fix = "\n".join(filter(None, [err.fix, self._hint(raw, err)]))
                raise
            click.echo(str(err), err=True)
            if not questions.ask_to_leave_out():
                click.echo(f"{self._output} was not written.", err=True)
                raise click.exceptions.Exit(2) from None
            self._answer(overrides=[*pairs_of(self.wishes.overrides), (SKIP, "skip")])
            raw["data"]["on_bad_row"] = "skip"
        return True

    def _ask_for_parts(self) -> None:
        """Asks for the parts that were not named, and proposes recommended ones. The mapper follows from the encoder."""
        from ..core.authoring.first_spec import propose

        kinds: tuple[Kind, ...] = ("encoder", "decoder")
        for kind in kinds:
            if kind not in self.wishes.names:
                default = propose(self._registry, kind, self.wishes.names).name
                name = questions.ask_for_component(kind, self._registry, default)
                self._answer(names={**self.wishes.names, kind: name})

    def _skips(self, raw: dict[str, Any]) -> bool:
        return bool(raw["data"].get("on_bad_row") == "skip")

    def _is_about_rows(self, raw: dict[str, Any], err: Exception) -> bool:
        """Whether the data set has an option to leave wrong rows out, and the error proposes it."""
        options = self._registry.component("dataset", raw["data"]["name"]).config.model_fields
        is_undecided = "on_bad_row" in options and "on_bad_row" not in raw["data"]
        return is_undecided and "on_bad_row" in (getattr(err, "fix", None) or "")

    def _hint(self, raw: dict[str, Any], err: Exception) -> str:
        example = f", for example --set {SKIP}=skip" if self._is_about_rows(raw, err) else ""
        return f"{self._output} was not written; --set POINTER=VALUE sets an option in it{example}."


@contextmanager
def printed_notices() -> Iterator[None]:
    """Prints each `CapfwWarning` once, as a note."""
    from ..core.errors import CapfwWarning

    said: set[str] = set()
    others = warnings.showwarning

    def show(
        message: Warning | str,
        category: type[Warning],
        filename: str,
        lineno: int,
        file: TextIO | None = None,
        line: str | None = None,
    ) -> None:
        if not issubclass(category, CapfwWarning):
            others(message, category, filename, lineno, file, line)
        elif str(message) not in said:
            said.add(str(message))
            click.echo(f"Note: {message}", err=True)

    with warnings.catch_warnings():
        warnings.simplefilter("always", CapfwWarning)
        warnings.showwarning = show
        yield


@contextmanager
def _silence(is_told: bool) -> Iterator[None]:
    from ..core.errors import CapfwWarning

    with warnings.catch_warnings():
        if is_told:
            warnings.simplefilter("ignore", CapfwWarning)
        yield
