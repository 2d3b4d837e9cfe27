"""Readers of other projects' checkpoints and features, for `capfw import`."""
