"""Sans-I/O codecs: bytes <-> typed messages, and messages <-> the gateway's ``Request`` and ``Reply``.

No module here imports asyncio, socket, subprocess, time or random. Any bytes give a message or a ``WireError``.
"""
