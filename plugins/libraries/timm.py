"""Errors of the models that timm builds. Imports no timm."""

from __future__ import annotations

from ...core.protocols import ComponentError, MissingWeights


def unbuildable(model: str, err: Exception) -> ComponentError:
    """Returns the error for arguments that `timm.create_model` refuses."""
    return ComponentError(
        f"timm cannot build {model} with these arguments: {err}",
        option="model_args",
        fix="Correct or remove the argument.",
    )


def undownloadable(model: str, *, fix: str) -> MissingWeights:
    """Returns the error for published weights that are neither in the cache nor within reach."""
    return MissingWeights(
        f"the published weights of {model} are not on this machine and cannot be downloaded.", option="weights", fix=fix
    )
