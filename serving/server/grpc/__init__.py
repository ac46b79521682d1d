"""gRPC: the server, its services and what they answer."""
