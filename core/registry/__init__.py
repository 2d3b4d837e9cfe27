"""Finds plugins, checks their components, looks components up, and reports the versions of their code."""

from .code_version import changed_code, code_of, code_version
from .registry import PluginStatus, Registry, State, brief

__all__ = ["PluginStatus", "Registry", "State", "brief", "changed_code", "code_of", "code_version"]
