"""Observers of a run: whatever they are and raise, the others hear everything."""

from __future__ import annotations

from dataclasses import dataclass, field

from capfw.core.engine.observers import Observers
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
