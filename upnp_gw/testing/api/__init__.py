"""The control API of `upnp-gw emulate`: HTTP on the loopback, for tests in any language. docs/emulate.md shows it.

bodies      types of its JSON bodies, besides those of ``upnp_gw.testing``
routes      method, path, body, query and answer of each operation
operations  what each operation does with an ``Emulator``
server      aiohttp; who may ask; errors
process     all of it until a signal comes
"""
