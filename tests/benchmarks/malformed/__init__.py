"""Malformed, truncated, oversized and wrong-typed requests; what each is answered is worked out before it is sent."""
