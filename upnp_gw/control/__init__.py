"""The control socket, and the commands of the operator that it answers.

server       HTTP on the Unix socket
socket_path  the socket file
operator     mappings, status, decisions, devices, events
devices      rules for devices, the queue, incidents
policy       explain, try, policy, reload
evidence     evidence, suggest, stale
dry_run      requests that are only tried
replay       recorded decisions under another policy
serialize    mappings, decisions and events as types of the API
"""
