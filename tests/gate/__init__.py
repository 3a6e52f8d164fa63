"""Tests of the policy gate."""
