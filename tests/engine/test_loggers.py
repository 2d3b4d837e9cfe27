"""Loggers of a run: what they receive, and that no dead, slow or broken one stops or slows the run."""

from __future__ import annotations

import json
import socket
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from pydantic import Field

from capfw import Captioner, load_spec, run
from capfw.core.engine.observing.loggers import logged
from capfw.core.engine.observing.observers import Observers
from capfw.core.errors import SpecError
from capfw.core.protocols import (
    CaptionedImage,
    CaptionedSplit,
    Component,
    LoggedRun,
    LoggerConfig,
    MissingLibrary,
    Notice,
    StepEnded,
    hookimpl,
)
from capfw.core.registry import Registry

Write = Callable[..., Path]
RECORDS: list[tuple[Any, ...]] = []


class ToyConfig(LoggerConfig):
    port: int | None = Field(None, description="A port of this machine from which it reads a byte before it starts.")


class ToyLogger:
    """Appends every call to `RECORDS`."""

    def __init__(self, config: ToyConfig) -> None:
        self.port = config.port

    def start(self, run: LoggedRun) -> str:
        if self.port is not None:
            address = f"http://me:secret@127.0.0.1:{self.port}/api?api_token=secret"
            try:
                with socket.create_connection(("127.0.0.1", self.port)) as server:
                    server.recv(1)
            except ConnectionRefusedError as err:
                raise ConnectionRefusedError(f"{err}: {address}") from err
        print("a library's greeting")  # noqa: T201  # stdout is what this test is about
        RECORDS.append(("start", run.folder, run.is_resumed, threading.current_thread().name))
        return "see RECORDS"

    def log_scalars(self, step: int, values: Mapping[str, float]) -> None:
        RECORDS.append(("scalars", step, dict(values)))

    def log_examples(self, step: int, split: str, examples: Sequence[CaptionedImage]) -> None:
        RECORDS.append(("examples", step, split, tuple(examples)))

    def log_results(self, results: CaptionedSplit) -> None:
        RECORDS.append(("results", results))

    def finish(self, *, is_complete: bool) -> None:
        RECORDS.append(("finish", is_complete))


class ToyPlugin:
    @hookimpl
    def register_loggers(self) -> list[Component]:
        target = f"{__name__}:ToyLogger"
        return [Component("toy", ToyConfig, target, "Keeps what it receives.", ToyConfig())]


@pytest.fixture
def toys(registry: Registry) -> Registry:
    """Everything installed, and the toy logger."""
    RECORDS.clear()
    return registry.with_plugins(ToyPlugin())


def notices(run_dir: Path) -> list[str]:
    lines = map(json.loads, (run_dir / "log.jsonl").read_text().splitlines())
    return [line["text"] for line in lines if line["event"] == "notice" and "logger" in line["text"]]


def test_a_logger_receives_values_examples_and_the_final_table(
    tiny: Write, toys: Registry, capsys: pytest.CaptureFixture[str]
) -> None:
    result = run(load_spec(tiny(loggers=[{"name": "toy"}]), registry=toys), registry=toys)
    assert result.evaluation is not None
    begin, *between, end = RECORDS
    assert begin == ("start", result.run_dir / "loggers/toy", False, "capfw logger toy")
    assert end == ("finish", True)
    scalars = [record for record in between if record[0] == "scalars"]
    names = {name for _, _, values in scalars for name in values}
    assert {"train/loss", "train/lr", "train/grad_norm", "train/epoch_loss", "epoch"} <= names
    assert {"val/CIDEr", "val/loss", "val/distinct_share", "test/CIDEr"} <= names
    assert not [name for name in names if name.startswith("train/loss/")]  # the only loss is train/loss already
    assert [step for _, step, values in scalars if "train/loss" in values] == [5, 10]
    assert [(step, split, len(shown)) for kind, step, split, shown in (r for r in between if r[0] == "examples")] == [
        (5, "val", 4),
        (10, "val", 4),
        (result.evaluation.step, "test", 4),
    ]
    [(_, results)] = [record for record in between if record[0] == "results"]
    assert results.scores == result.evaluation.scores
    columns, rows = results.table()
    assert columns[:5] == ["image_id", "file", "caption", "log_prob", "references"]
    assert [row[0] for row in rows] == [str(image_id) for image_id in result.evaluation.captions]
    assert [row[2] for row in rows] == [each.text for each in result.evaluation.captions.values()]
    assert [row[columns.index("CIDEr")] for row in rows] == list(result.evaluation.per_image["CIDEr"].values())
    assert "loggers" not in results.spec  # they may hold passwords
    assert results.images[0].thumbnail()[:2] == b"\xff\xd8"  # a JPEG
    assert notices(result.run_dir) == ["logger toy: see RECORDS"]
    assert capsys.readouterr() == ("", "a library's greeting\n")  # stdout is for results


def test_loggers_may_change_when_a_run_continues_and_are_needed_no_more_afterwards(tiny: Write, toys: Registry) -> None:
    first = load_spec(tiny(), registry=toys)
    run(first, registry=toys, until="train")
    assert RECORDS == []
    second = load_spec(tiny(loggers=[{"name": "toy"}]), registry=toys)
    result = run(second, registry=toys)
    assert RECORDS[0][0] == "start"
    RECORDS.clear()
    run(second, registry=toys)
    assert RECORDS == []  # nothing was left to do
    document = json.loads((result.run_dir / "spec.json").read_text())
    (result.run_dir / "spec.json").write_text(json.dumps({**document, "loggers": [{"name": "uninstalled"}]}))
    assert Captioner.load(result.run_dir, device="cpu").spec.loggers == ()


def test_an_interrupted_record_continues(tiny: Write, toys: Registry) -> None:
    spec = load_spec(tiny(loggers=[{"name": "toy"}]), registry=toys)
    run(spec, registry=toys, until="train")
    run(spec, registry=toys)
    assert [record[2] for record in RECORDS if record[0] == "start"] == [False, True]


def test_a_failed_run_closes_the_record(tiny: Write, toys: Registry) -> None:
    class Failing:
        @hookimpl(trylast=True)
        def step_ended(self, event: StepEnded) -> None:
            raise KeyboardInterrupt

    spec = load_spec(tiny(train={"max_steps": 1}, loggers=[{"name": "toy"}]), registry=toys)
    with pytest.raises(KeyboardInterrupt):
        run(spec, registry=toys.with_plugins(Failing()))
    assert [record[0] for record in RECORDS] == ["start", "scalars", "finish"]
    assert RECORDS[-1] == ("finish", False)


@pytest.fixture
def silent_server() -> Iterator[int]:
    """The port of a server that accepts connections and never answers."""
    with closing(socket.create_server(("127.0.0.1", 0))) as server:
        yield server.getsockname()[1]


@pytest.fixture
def closed_port() -> int:
    """A port at which no server listens."""
    with closing(socket.create_server(("127.0.0.1", 0))) as server:
        return int(server.getsockname()[1])


def test_a_server_that_hangs_changes_nothing_but_one_notice(tiny: Write, toys: Registry, silent_server: int) -> None:
    plain = run(load_spec(tiny(run_dir="plain"), registry=toys), registry=toys)
    toy = {"name": "toy", "port": silent_server, "finish_seconds": 0.1}
    result = run(load_spec(tiny(loggers=[toy]), registry=toys), registry=toys)
    assert result.evaluation is not None
    assert plain.evaluation is not None
    assert result.evaluation.scores == plain.evaluation.scores
    assert RECORDS == []
    [notice] = notices(result.run_dir)
    assert notice.startswith("logger toy did not finish in time, and its record is incomplete.")
    assert "raise finish_seconds of this logger" in notice


def test_a_server_that_refuses_changes_nothing_but_one_notice(tiny: Write, toys: Registry, closed_port: int) -> None:
    toy = {"name": "toy", "port": closed_port}
    result = run(load_spec(tiny(loggers=[toy]), registry=toys), registry=toys)
    assert result.evaluation is not None
    [notice] = notices(result.run_dir)
    assert notice.startswith("logger toy failed, and the run goes on without it: ConnectionRefusedError: ")
    assert f"http://127.0.0.1:{closed_port}/api?api_token=..." in notice
    assert "secret" not in notice


@dataclass
class Listener:
    heard: list[str] = field(default_factory=list)

    @hookimpl
    def noticed(self, event: Notice) -> None:
        self.heard.append(event.text)


class WaitingLogger(ToyLogger):
    """Waits in `start` until `go` is set."""

    def __init__(self) -> None:
        super().__init__(ToyConfig())
        self.go = threading.Event()

    def start(self, run: LoggedRun) -> str:
        self.go.wait()
        return super().start(run)


def test_a_slow_logger_loses_records_and_a_notice_counts_them(tiny: Write, toys: Registry) -> None:
    spec = load_spec(tiny(loggers=[{"name": "toy"}]), registry=toys)
    logger, listener = WaitingLogger(), Listener()
    observers = Observers(Registry(), [listener])
    with logged(spec, [logger], observers, spec.run_dir, is_resumed=False):
        for step in range(5000):
            observers.tell(StepEnded(step, 5000, 1, 1.0, 0.1, 1.0, 9.0))
        logger.go.set()
    received = [record for record in RECORDS if record[0] == "scalars"]
    assert 0 < len(received) < 2000  # the queue is bounded
    assert RECORDS[-1] == ("finish", True)
    assert listener.heard[-1] == (
        f"logger toy was too slow: {5000 - len(received)} records are missing. log.jsonl has all of them."
    )


def test_one_name_twice_is_refused(tiny: Write, toys: Registry) -> None:
    with pytest.raises(SpecError) as caught:
        load_spec(tiny(loggers=[{"name": "toy"}, {"name": "toy", "port": 1}]), registry=toys)
    assert '/loggers/1: "toy" is listed twice.\n  Remove one.' in str(caught.value)


def test_a_missing_library_is_named_before_the_work(
    tiny: Write, registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    spec = load_spec(tiny(loggers=[{"name": "tensorboard"}]), registry=registry)
    with pytest.raises(MissingLibrary) as caught:
        run(spec, registry=registry)
    assert str(caught.value).startswith("/loggers/0: logger tensorboard needs the library torch.utils.tensorboard.")
    assert 'pip install "capfw[tensorboard]"' in str(caught.value)
    assert not (spec.run_dir / "checkpoints").exists()
