"""The parts of a daemon's memory, from outside and from inside.

resident    resident memory of a process by kind, and the slope of a line through samples
heap        the C library's heap, block by block
inside      figures of the allocators and of the objects, in the daemon's process
asking      asks a daemon that has ``inside`` for its figures, and compares them
daemon      the command: upnp-gw with ``inside``
"""
