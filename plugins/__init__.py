"""Built-in components. Each folder is one plugin: a light half (`__init__.py`) and a heavy half (`model.py`)."""
