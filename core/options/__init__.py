"""Models of options: their base class, and their types and errors in words. Pydantic alone."""

from .model import Options

__all__ = ["Options"]
