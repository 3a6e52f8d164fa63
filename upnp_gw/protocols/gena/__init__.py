"""GENA eventing, sans-I/O: ``messages`` has the requests and their bytes, ``subscriptions`` the table."""
