"""The whole catalogue of faults and personalities, as clients see it."""
