"""The data of a step: inputs from sources, features, captions, and batches of them."""
