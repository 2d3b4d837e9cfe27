"""What every part of capfw agrees on. Nothing outside `core.engine` imports torch."""
