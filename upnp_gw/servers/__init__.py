"""The asyncio shells: sockets, deadlines, limits, timers. They feed the codecs and decide nothing."""
