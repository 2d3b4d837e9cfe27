"""Objectives that come with capfw."""
