"""Tests of the emulator: through real clients and sockets, as its users use it."""
