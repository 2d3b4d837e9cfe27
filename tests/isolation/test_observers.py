"""Observers of a run: whatever they are and raise, the others hear everything."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from capfw.core.engine.observing.observers import Observers
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
    assert "failed and gets no more events" in warning
    assert [text for text in listener.heard if text != warning] == ["one", "two"]


def test_observer_that_fails_takes_no_other_of_its_class_with_it() -> None:
    @dataclass
    class Logger:
        is_full: bool
        heard: list[str] = field(default_factory=list)

        @hookimpl
        def noticed(self, event: Notice) -> None:
            if self.is_full:
                raise OSError("the disk is full")
            self.heard.append(event.text)

    sound = Logger(is_full=False)
    observers = Observers(Registry(), [Logger(is_full=True), sound])

    observers.inform("one")
    observers.inform("two")

    assert [text for text in sound.heard if "failed" not in text] == ["one", "two"]


def test_observer_that_could_hear_nothing_is_refused() -> None:
    class Misspelt:
        @hookimpl
        def notised(self, event: Notice) -> None:
            pass

    with pytest.raises(PluginError, match=r'observers: Misspelt cannot be used: no hook is called "notised"\. Did you'):
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
