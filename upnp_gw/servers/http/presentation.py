"""The page at the ``presentationURL``: it leads to the page for people where that runs."""

from http import HTTPStatus

from upnp_gw.servers.http.answers import Answer

HTML = 'text/html; charset="utf-8"'
NONE = b"""<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><title>upnp-gw</title></head>
<body><p>This gateway runs upnp-gw without its page. To start it there: <code>upnp-gw page</code>.</p></body></html>
"""
ELSEWHERE = """<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><title>upnp-gw</title></head>
<body><p><a href="{url}">upnp-gw</a></p></body></html>
"""


def presentation(local_address: str, port: int) -> Answer:
    """``local_address``: of the connection, so the client reaches it. ``port``: of the page; 0: it does not run."""
    if not port:
        return Answer(HTTPStatus.OK, {"CONTENT-TYPE": HTML}, NONE)
    address = local_address.partition("%")[0]
    url = f"http://[{address}]:{port}/" if ":" in address else f"http://{address}:{port}/"
    fields = {"CONTENT-TYPE": HTML, "LOCATION": url, "CACHE-CONTROL": "no-store"}
    return Answer(HTTPStatus.FOUND, fields, ELSEWHERE.format(url=url).encode("ascii"))
