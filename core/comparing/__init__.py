"""Compares systems on the same images: runs, or files of candidates. It needs no torch."""

from .comparison import Comparison, Difference, ImageChange, SystemScore, compare

__all__ = ["Comparison", "Difference", "ImageChange", "SystemScore", "compare"]
