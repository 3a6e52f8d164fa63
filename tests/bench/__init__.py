"""Measurements; run by hand, no tests."""
