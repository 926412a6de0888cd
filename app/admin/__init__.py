"""What operators ask the gateway, on a port of its own."""
