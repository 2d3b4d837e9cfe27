"""The observers of a run: the log, the progress display and plugins; and the report at the end."""
