"""Writes first drafts: a spec for the user's files, and a plugin package."""
