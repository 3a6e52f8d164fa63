"""The kernel tables behind four methods: open, apply, read, close (``base.Firewall``).

``nftables/`` is the real one, ``memory`` the emulator's and the unit tests'. One contract test suite runs
against both. Nothing here decides anything, and only ``gateway`` calls ``apply``.
"""
