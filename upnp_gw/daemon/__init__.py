"""The daemon: builds every part from the settings, starts them, reloads the policy, and stops them.

process         the process of ``upnp-gw run``: the order of start and stop, and what a change of the network starts
composition     builds decider, engine, view and servers of the LAN: what a router and the emulator both have
gateway_above   makes the client of the gateway above, and passes on what it tells
decision_log    the log of decisions, ended mappings, incidents and questions
"""
