"""Code that several plugins share, by the library it is about. It imports core.protocols only, and registers nothing."""
