"""``upnp-gw page``: the page for people, in a process of its own. It asks the daemon over its control socket, like
the command line, and has no other way to it.

process       builds, starts and stops everything
operator_part the routes of the operator
certificate   the page's own TLS certificate
readings      what the daemon says, read once for all open pages
rendering     templates and texts
views         a page: its template and values, as a whole or in live parts
overview      the first page of the operator
"""
