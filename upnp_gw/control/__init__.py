"""The control socket, and the commands of the operator that it answers.

on_demand    waits for the first connection, and loads all the others
build        puts them together
server       HTTP on the Unix socket
socket_path  the socket file, and the claim to it
operator     mappings, status, decisions, devices
event_streams, event_formats: numbered events for each watcher, as lines of JSON or server-sent events
measurements counts and times since the start
devices      rules for devices, the queue, incidents
targets      the device that a command names
known_device a device and its rules
policy       explain, try, policy, reload; kernel_proof: the kernel against the ledger
backup       the state in one file; download: a file as an answer; erase
leases       leases of the gateway that ran here before
evidence     evidence, suggest, stale
dry_run      requests that are only tried
replay       recorded decisions under another policy
serialize    mappings, decisions and events as types of the API
above        the gateway above; address_kind: public, private or shared
"""
