"""Code that several plugins share. Each module is about one thing, imports core.protocols only and registers nothing."""
