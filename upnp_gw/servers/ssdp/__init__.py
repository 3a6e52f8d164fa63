"""ssdp."""
