"""Text of clients and of the operator. No I/O.

escape  text of clients, safe to show
toml    TOML of the operator, and the line of each key
"""
