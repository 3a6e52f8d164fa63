"""natpmp."""
