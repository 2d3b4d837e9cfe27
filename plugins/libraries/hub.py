"""The Hugging Face hub: how to bring a repository to a machine without a network. No torch."""

from __future__ import annotations


def how_to_download(repository: str) -> str:
    """Returns the sentence, for an error's fix, that names the command and what to copy."""
    return f"Run `hf download {repository}` on a machine with a network, and copy its Hugging Face cache to this one."
