"""Observers of a run: whatever they are and raise, the others hear everything."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from capfw.core.engine.observers import Observers
from capfw.core.errors import PluginError
from capfw.core.protocols import Notice, hookimpl
from capfw.core.registry import Registry


@dataclass
class Leaves:
    """Not hashable, as a data class is; and it ends the process when it can."""

    @hookimpl
    def noticed(self, event: Notice) -> None:
        raise SystemExit("enough")


@dataclass
class Listens:
    heard: list[str] = field(default_factory=list)

    @hookimpl
    def noticed(self, event: Notice) -> None:
        self.heard.append(event.text)


def test_observer_that_exits_is_left_out_and_named_once() -> None:
    listener = Listens()
    observers = Observers(Registry(), [listener, Leaves()])

    observers.inform("one")
    observers.inform("two")

    [warning] = [text for text in listener.heard if "Leaves" in text]
    assert "failed and is left out" in warning
    assert [text for text in listener.heard if text != warning] == ["one", "two"]


def test_observer_that_could_hear_nothing_is_refused() -> None:
    class Misspelt:
        @hookimpl
        def notised(self, event: Notice) -> None:
            pass

    with pytest.raises(PluginError, match='observers: Misspelt cannot be used: no hook is called "notised"; did you'):
        Observers(Registry(), [Misspelt()])


def test_observer_that_is_a_plugin_already_hears_once() -> None:
    listener = Listens()

    Observers(Registry([listener]), [listener, listener]).inform("one")

    assert listener.heard == ["one"]


def test_observers_hear_in_their_order_but_for_those_that_try_to_be_first_or_last() -> None:
    heard: list[str] = []

    def observer(name: str, **options: bool) -> object:
        class Observer:
            @hookimpl(**options)
            def noticed(self, event: Notice) -> None:
                heard.append(name)

        return Observer()

    observers = [observer("last", trylast=True), observer("a"), observer("b"), observer("first", tryfirst=True)]
    Observers(Registry(), observers).inform("one")

    assert heard == ["first", "a", "b", "last"]
