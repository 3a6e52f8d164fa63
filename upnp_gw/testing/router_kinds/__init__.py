"""The personalities: mappings, descriptions, addresses. ``testing.personalities`` has their names."""
