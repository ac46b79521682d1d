"""HTTP/1.1 over sockets, which knows no models."""
