"""The commands of `capfw`, one module a family: parse, call the engine, print. `cli.py` puts them together."""
