"""The state of the gateway in one file, and back: ``upnp-gw backup`` and ``upnp-gw restore``.

manifest    the first member of the file: versions, time, sizes and checksums
archive     the file: a plain tar, written and read as a stream
making      a backup, while the gateway runs or without it
restoring   a restore: reads, checks, and puts in place
checking    a ledger from elsewhere, before anything is changed
rebuilding  a new ledger from the checked rows of another one
placing     puts the new files in place of the old ones, all or none
report      says what a restore brings
problem     the error of this package
"""
