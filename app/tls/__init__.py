"""TLS on listeners: certificates from Secrets, chosen by the name that the client asks for."""
