"""A run's model goes where a server finds it: `modelmill push`."""
