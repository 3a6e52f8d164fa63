"""Sans-I/O codecs: bytes <-> typed messages <-> requests and replies of ``model.request``.

No module here imports asyncio, socket, subprocess, time or random. Any bytes give a message or a ``WireError``.
"""
