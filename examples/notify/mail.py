#!/usr/bin/python3
"""Receives messages of [[notify]] on the loopback and hands each to sendmail. Needs Python 3.11 and nothing else.

    mail.py --to you@example.org --secret-file /etc/upnp-gw/notify.secret

Why a program of its own: the page runs with no right to start other programs, and sendmail is one that changes its
group (postdrop). Only messages with a valid signature, at most five minutes old, become mail.
"""

import argparse
import hashlib
import hmac
import json
import subprocess
import sys
import time
from datetime import datetime
from email.message import EmailMessage
from email.utils import format_datetime
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

LARGEST = 64 * 1024
OLDEST_S = 300


def valid(secret: bytes, header: str, body: bytes, now: float) -> bool:
    """True for a signature ``t=SECONDS,v1=HEX`` of this body and of a time near ``now``."""
    fields = dict(part.partition("=")[::2] for part in header.split(","))
    when = fields.get("t", "")
    if not when.isdigit() or abs(now - int(when)) > OLDEST_S:
        return False
    expected = hmac.new(secret, when.encode() + b"." + body, hashlib.sha256).hexdigest()
    return hmac.compare_digest(expected, fields.get("v1", ""))


def mail_of(message: dict[str, str], sender: str, recipient: str) -> EmailMessage:
    mail = EmailMessage()
    mail["From"], mail["To"] = sender, recipient
    mail["Subject"] = f"[upnp-gw] {message['title']}"
    mail["Date"] = format_datetime(datetime.fromisoformat(message["at"]))
    mail["Auto-Submitted"] = "auto-generated"
    mail.set_content(message["text"] + "\n")
    return mail


class Handler(BaseHTTPRequestHandler):
    """Answers 204 once sendmail has taken the mail; 500 makes the gateway try again."""

    timeout = 10

    def do_POST(self) -> None:
        size = self.headers.get("Content-Length", "")
        if not size.isdigit() or int(size) > LARGEST:
            self.send_error(413)
            return
        body = self.rfile.read(int(size))
        if not valid(options.secret, self.headers.get("X-Upnp-Gw-Signature", ""), body, time.time()):
            self.send_error(403, "the signature is missing, wrong or too old")
            return
        mail = mail_of(json.loads(body), options.sender, options.to)
        sent = subprocess.run([options.sendmail, "-oi", "-t"], input=mail.as_bytes(), check=False)
        self.send_response(204 if sent.returncode == 0 else 500)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, form: str, *values: object) -> None:
        print(form % values, file=sys.stderr)


parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--to", required=True, metavar="ADDRESS")
parser.add_argument("--sender", default="upnp-gw", metavar="ADDRESS")
parser.add_argument("--secret-file", required=True, type=Path, metavar="FILE")
parser.add_argument("--port", default=9925, type=int)
parser.add_argument("--sendmail", default="/usr/sbin/sendmail", metavar="PATH")
options = parser.parse_args()
options.secret = options.secret_file.read_bytes().strip(b"\r\n")

with HTTPServer(("127.0.0.1", options.port), Handler) as server:
    print(f"listens at http://127.0.0.1:{server.server_port}/", flush=True)
    server.serve_forever()
