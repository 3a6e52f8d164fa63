"""Every parser of bytes that come from outside, fed with anything: any bytes give a message or its named error.

``python -m tests.fuzz`` runs a coverage-guided fuzzer over the same targets that ``test_targets`` runs in each run.
"""
