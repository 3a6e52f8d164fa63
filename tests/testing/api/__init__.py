"""Tests of the control API of `upnp-gw emulate`, over HTTP."""
