"""What happens to a request on its way: pure ASGI middleware, one class a file."""
