"""Text of clients made safe to show, and TOML of the operator with the line of each key. No I/O."""
