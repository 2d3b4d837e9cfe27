"""Runs a sweep: starts the processes of its trials, and collects their results."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from filelock import Timeout

from ..engine.atomic import write_json
from ..engine.interruption import interruptible
from ..errors import RequestError, RunError
from ..registry import Registry
from .planning import PlannedTrial
from .processes import Launch, TrialProcess, Workers, visible_gpus
from .records import SweepFolder
from .results import SweepResults, sweep_results
from .sources import TrialSource, source_of
from .sweep_spec import Sweep
from .tables import write_results

_POLL_SECONDS = 0.1


class SweepStopped(RunError):
    """A signal stopped the sweep, after its trials had written checkpoints."""

    exit_code = 130


def run_sweep(
    sweep: Sweep,
    *,
    jobs: int = 1,
    device: str | None = None,
    skip: Sequence[str] = (),
    tell: Callable[[str], None] = lambda _: None,
) -> SweepResults:
    """Runs the trials of a sweep, or those that an earlier call left, and writes the results into its folder.

    `jobs` trials run at once, each in a process of its own (`capfw run`): with one GPU each, or with the CPU threads
    divided. `device` is passed to each. `skip` names plugins to leave out. `tell` receives a line about each start and end.
    A trial that fails is recorded and does not stop the others. SIGINT or SIGTERM stops the sweep after checkpoints.

    Raises `SpecError` with the problems of all trials before the first one starts, `RunError` when another process uses
    the folder, and `SweepStopped` after a signal.
    """
    if jobs < 1:
        raise RequestError(f"{jobs} is no number of processes.", where="jobs", fix="Use 1 or more.")
    source, folder, launch = (
        source_of(sweep, Registry.discover(skip=skip)),
        SweepFolder(sweep.folder),
        Launch(device, skip),
    )
    with _locked(folder):
        source.open(folder)
        workers = Workers(jobs, visible_gpus() if jobs > 1 and launch.may_use_gpus else [])
        is_stopped = _Scheduler(folder, source, workers, launch, tell).run()
        results = sweep_results(folder.path)
        write_results(results)
    if is_stopped:
        done = results.count("finished")
        raise SweepStopped(
            f"stopped with {done} of {len(results.trials)} trials finished; the others continue where they stopped.",
            where=str(folder.path),
            fix="Run the same command again to continue.",
        )
    return results


@contextmanager
def _locked(folder: SweepFolder) -> Iterator[None]:
    try:
        folder.path.mkdir(parents=True, exist_ok=True)
        folder.lock.acquire()
    except Timeout as err:  # an OSError as well
        what, fix = "another process runs this sweep.", "Wait for it to end, or choose another /folder."
        raise RunError(what, where=str(folder.path), fix=fix) from err
    except OSError as err:
        what = f"the folder of the sweep cannot be created or written: {err.strerror or err}."
        raise RunError(what, where=str(folder.path), fix="Choose another /folder.") from err
    try:
        yield
    finally:
        folder.lock.release()


class _Scheduler:
    """Starts a process for each trial as workers become free, until the source is exhausted or a signal arrives."""

    def __init__(
        self,
        folder: SweepFolder,
        source: TrialSource,
        workers: Workers,
        launch: Launch,
        tell: Callable[[str], None],
    ) -> None:
        self.folder, self.source, self.workers, self.launch, self.tell = folder, source, workers, launch, tell
        self.waiting: list[PlannedTrial] = []
        self.running: list[TrialProcess] = []
        self.elsewhere: list[PlannedTrial] = []  # in processes that a killed sweep left behind
        self.seconds: list[float] = []
        self.num_ended = 0

    def run(self) -> bool:
        """Runs all trials. Returns whether a signal stopped it."""
        try:
            with interruptible() as interruption:
                while self.running or not (interruption.is_requested or self._is_over()):
                    self._collect(is_stopping=interruption.is_requested)
                    if interruption.is_requested:
                        self._interrupt()
                    else:
                        self._start_more()
                    time.sleep(_POLL_SECONDS)
                self.folder.write(self.source.record())
                return interruption.is_requested
        finally:  # a second signal, or an error of our own
            for process in self.running:
                process.kill()

    def _is_over(self) -> bool:
        return self.source.is_exhausted and not (self.waiting or self.elsewhere)

    def _interrupt(self) -> None:
        for process in self.running:
            process.interrupt()

    def _start_more(self) -> None:
        """Starts trials while workers are free. A trial that waits for the features of another lets the next one pass."""
        self._look_elsewhere()
        self._take_in()
        for planned in list(self.waiting):
            if self._num_free() <= 0:
                return
            if not self._must_wait(planned):
                self.waiting.remove(planned)
                self._start(planned)

    def _num_free(self) -> int:
        return self.workers.jobs - len(self.running) - len(self.elsewhere)

    def _take_in(self) -> None:
        """Takes new trials from the source, and sorts out those that are finished or run elsewhere."""
        new = self.source.more(self._num_free() - len(self.waiting))
        if not new:
            return
        self.folder.write(self.source.record())
        finished = [each for each in new if each.state(self.folder) == "finished"]
        for planned in finished:
            self.folder.forget_failure(planned.trial)
            self._end(planned, is_finished=True)
        if finished:
            self.tell(f"{len(finished)} of {len(new)} trials were finished before.")
        left = [each for each in new if each not in finished]
        self.elsewhere += [each for each in left if self.folder.is_in_use(each.trial)]
        self.waiting += [each for each in left if each not in self.elsewhere]
        for planned in self.elsewhere:
            self.tell(f"{planned.trial.name}: still runs in a process of an earlier call; waiting for it.")

    def _look_elsewhere(self) -> None:
        for planned in list(self.elsewhere):
            if not self.folder.is_in_use(planned.trial):
                self.elsewhere.remove(planned)
                if self.folder.state(planned.trial) == "finished":
                    self._end(planned, is_finished=True)
                    self._report(planned, f"finished in the other process{self._outlook()}")
                else:
                    self.waiting.insert(0, planned)

    def _must_wait(self, planned: PlannedTrial) -> bool:
        """Whether another trial is about to encode the same images: then this one uses its features."""
        key = planned.features_key
        others = [*(process.planned for process in self.running), *self.elsewhere]
        return key is not None and any(
            other.features_key == key and "features" not in self.folder.environment(other.trial) for other in others
        )

    def _start(self, planned: PlannedTrial) -> None:
        trial, worker = planned.trial, self.workers.take()
        self.folder.forget_failure(trial)
        write_json(self.folder.spec_file(trial), planned.spec.to_json())
        command, share = self.launch.command(self.folder.spec_file(trial)), self.workers.environment(worker)
        self.running.append(TrialProcess(planned, worker, command, self.folder.log(trial), share))
        self._report(planned, f"started {self.workers.in_words(worker)}".rstrip())

    def _collect(self, *, is_stopping: bool) -> None:
        """Takes note of the processes that have ended."""
        for process in list(self.running):
            code = process.exit_code
            if code is None:
                continue
            self.running.remove(process)
            self.workers.release(process.worker)
            planned, is_finished = process.planned, self.folder.state(process.planned.trial) == "finished"
            if code == 0 and is_finished:
                self.seconds.append(process.seconds)
                self._end(planned, is_finished=True)
                self._report(planned, f"finished in {process.seconds:.0f} s{self._outlook()}")
            elif is_stopping:
                self._report(planned, "stopped")
            else:
                self._fail(process)

    def _fail(self, process: TrialProcess) -> None:
        trial, error = process.planned.trial, process.error()
        self.folder.mark_failed(trial, error)
        self._end(process.planned, is_finished=False)
        self._report(process.planned, f"failed: {error}\n  Its output: {self.folder.log(trial)}")

    def _end(self, planned: PlannedTrial, *, is_finished: bool) -> None:
        self.num_ended += 1
        self.source.ended(planned, is_finished=is_finished)

    def _outlook(self) -> str:
        """How many trials have ended, and the time that the others will take, if they take as long as those so far."""
        num_left = self.source.num_trials - self.num_ended
        if not num_left or not self.seconds:
            return ""
        rounds = -(-num_left // self.workers.jobs)
        minutes = rounds * sum(self.seconds) / len(self.seconds) / 60
        return f"; {num_left} left, about {minutes:.0f} min" if minutes >= 1 else f"; {num_left} left"

    def _report(self, planned: PlannedTrial, what: str) -> None:
        self.tell(f"{planned.trial.name}: {what}")
