"""`python -m capfw`."""

from .cli import main

main()
