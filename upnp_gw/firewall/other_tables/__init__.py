"""other_tables."""
