"""The benchmark needs the right to make a lab."""

from tests.lab.conftest import namespaces

__all__ = ["namespaces"]
