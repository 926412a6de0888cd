"""WebSocket (RFC 6455) through the gateway: as a tunnel between two connections, or message by message."""
