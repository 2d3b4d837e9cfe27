"""Imports the checkpoints and features of other projects."""
