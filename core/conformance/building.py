"""Checks of how a component is built from its example."""

from __future__ import annotations

from ..protocols import KINDS
from .checks import check, require
from .subjects import NotChecked, Subject, missing_members
from .surroundings import random_states, seeds, settings


@check(
    "builds-offline",
    None,
    advice='Give `example` the smallest configuration that needs no download (weights "random", tiny sizes); if it reads '
    "files of the user's, give the component a `write_example`.",
)
def builds_offline(subject: Subject) -> None:
    """The example builds, and asks no network for anything."""
    attempt = subject.attempt
    require(not attempt.hosts, f"building it asked the network for {', '.join(dict.fromkeys(attempt.hosts))}.")
    error = attempt.error
    if subject.is_excused(error):
        raise NotChecked(str(error))
    require(error is None, f"building it raised {type(error).__name__}: {error}")
    config, wanted = subject.config, subject.component.config
    require(isinstance(config, wanted), f"write_example returned a {type(config).__name__}, not a {wanted.__name__}.")


@check(
    "has-the-methods",
    None,
    advice="Add what is missing, with the signature of the protocol in capfw.core.protocols.",
)
def has_the_methods(subject: Subject) -> None:
    """What is built has the methods and properties of its protocol."""
    protocol = KINDS[subject.kind].protocol
    missing = missing_members(subject.built_or_not_checked(), protocol)
    require(not missing, f"{subject.component.target} is no {protocol.__name__}: it lacks {', '.join(missing)}.")


@check(
    "seeds-nothing",
    None,
    advice="Leave seeding to the engine, which seeds before it builds. Draw what must be the same always from a "
    "generator of your own: torch.Generator().manual_seed(...).",
)
def seeds_nothing(subject: Subject) -> None:
    """Building does not set the random numbers that everybody shares to something of its own."""
    subject.built_or_not_checked()
    ends = []
    for seed in (1, 2):
        with seeds(seed):
            subject.construct()
            ends.append(random_states())
    same = [name for name in ends[0] if ends[0][name] == ends[1][name]]
    require(
        not same, f"whatever the seed before, after building it the random numbers of {', '.join(same)} are the same."
    )


@check(
    "leaves-settings-alone",
    None,
    advice="Set nothing that others share (environment, working directory, torch's defaults) when the component is built.",
)
def leaves_settings_alone(subject: Subject) -> None:
    """Building changes no setting of the process."""
    subject.built_or_not_checked()  # also: what the imports themselves set is set by now
    before = settings()
    subject.build()
    touched = [name for name, value in settings().items() if value != before[name]]
    require(not touched, f"building it changed {', '.join(touched)}.")
