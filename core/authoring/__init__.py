"""Writes first drafts: a spec over somebody's own files, and a plugin package."""
