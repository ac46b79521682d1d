"""The REST API: routes, JSON in, JSON out."""
