"""gena."""
