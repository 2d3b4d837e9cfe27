"""The commands of `capfw`, one module per family: parse, call the engine, print. `cli.py` combines them."""
