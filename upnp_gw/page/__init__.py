"""``upnp-gw page``: the page for people, in a process of its own. It asks the daemon over its control socket, like
the command line, and has no other way to it.

process         builds, starts and stops everything
operator_part   the operator's routes: overview, mappings, devices, questions, decisions (the log), policy_pages
lan_part        the page for a device of the LAN
sign_in         one-time links, cookies and tokens; sessions and tokens: what is kept of them
metrics_part    the listener of [metrics]
script_api      the control API for scripts with a token
local_socket    for ``upnp-gw open`` and ``upnp-gw token``
forms           forms that show what they write
serving         views as pages and as live streams; feed: the daemon's events
readings        what the daemon says, read once for all open pages
rendering       templates and texts; views: a template and its values; formats: times and amounts
chart           the traffic of a port as points of an SVG
static_files    style and script
request_checks  what every request passes and every answer has; connections: how many, and for how long
http_protocol   answers and log lines for what is no HTTP
listeners       the sockets and TLS; lan_sockets: those of the LAN; certificate: the page's own
"""
