"""Oracles of the prover: ``decide`` on every request of a small universe, and z3."""
