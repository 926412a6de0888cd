"""What programs ask: Traefik's API where the meaning is the same, and what of the Gateway API it has no words for."""
