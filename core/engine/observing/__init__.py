"""Who is told of a run: the log, the progress display, plugins, and the report at the end."""
