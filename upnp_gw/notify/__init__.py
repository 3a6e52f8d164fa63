"""Tells people what happens: ``[[notify]]``, in the process of the page. No request waits for it.

messages  an event as a title and a sentence
requests  a message as an HTTP request to a target, with its signature
delivery  one attempt, and when to try again
outbox    the messages that wait for one target
sources   the events of the gateway, over restarts of it
running   all of these, beside the page
trying    a test message to every target, for ``upnp-gw notify test``
counts    sent and failed messages, for metrics
"""

from upnp_gw.notify.running import run

__all__ = ["run"]
