"""Other projects' checkpoints and features, taken over."""
