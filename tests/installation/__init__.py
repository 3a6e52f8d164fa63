"""Tests of a system installation."""
