"""Where objects come from. A provider loads them once and then says what changed; see ``app.providers.base``."""
