"""Checks of building a component from its example."""

from __future__ import annotations

from ..protocols import KINDS
from .checks import check, require
from .subjects import NotChecked, Subject, missing_members
from .surroundings import random_states, seeds, settings


@check(
    "builds-offline",
    None,
    advice='Give `example` the smallest configuration that needs no download (weights "random", tiny sizes). If it reads '
    "the user's files, give the component a `write_example`.",
)
def builds_offline(subject: Subject) -> None:
    """The example builds without using the network."""
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
    advice="Add the missing members, with their signatures in the protocol (capfw.core.protocols).",
)
def has_the_methods(subject: Subject) -> None:
    """The built component has the methods and properties of its protocol."""
    protocol = KINDS[subject.kind].protocol
    missing = missing_members(subject.built_or_not_checked(), protocol)
    require(not missing, f"{subject.component.target} is no {protocol.__name__}: it lacks {', '.join(missing)}.")


@check(
    "seeds-nothing",
    None,
    advice="Leave seeding to the engine, which sets the seed before it builds. Draw values that must always be equal from "
    "your own generator: torch.Generator().manual_seed(...).",
)
def seeds_nothing(subject: Subject) -> None:
    """Building does not seed the global random number generators."""
    subject.built_or_not_checked()
    ends = []
    for seed in (1, 2):
        with seeds(seed):
            subject.construct()
            ends.append(random_states())
    same = [name for name in ends[0] if ends[0][name] == ends[1][name]]
    require(
        not same, f"building it seeds {', '.join(same)}: after it, the random numbers are equal for every earlier seed."
    )


@check(
    "leaves-settings-alone",
    None,
    advice="Change no global setting (environment, working directory, torch's defaults) when the component is built.",
)
def leaves_settings_alone(subject: Subject) -> None:
    """Building changes no setting of the process."""
    subject.built_or_not_checked()  # imports may change settings, and are done after this line
    before = settings()
    subject.build()
    touched = [name for name, value in settings().items() if value != before[name]]
    require(not touched, f"building it changed {', '.join(touched)}.")
