"""The core of capfw. Only `core.engine` and `core.conformance` import torch at module level."""
