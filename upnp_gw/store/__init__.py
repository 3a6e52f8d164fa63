"""The ledger on disk: one SQLite database, written by one thread at a time.

store              opens, writes and loads; one batch of the writer is one transaction, see ``batch``
connection         a connection to the file, with a bounded cache
schema             the tables, made or upgraded
upgrade            the steps from older schemas
mapping_rows       mappings with their leases, and pending cuts, as rows
decision_rows      the audit log
decision_encoding  splits a decision into its shared part and its own values
shared_parts       parts that many decisions share, each stored once
pruning            deletes old decisions in portions
policy_rows        policies that decisions of the audit log refer to
highest_numbers    the highest numbers ever used
evidence_rows      how mappings were used
traffic_rows       the traffic of ports over two days
device_rows        devices, incidents and questions, as notes
syncing            syncs SQLite's log to the disk, and moves it into the database file
high_water         the number of the last transaction on the disk, in a file of its own
reader             long queries on a thread of their own
erasing            erases what is kept of a device
copying            a copy in one file while the gateway goes on
missing_history    compares the files with that number at the start
"""
