"""Which versions of which models are there: found on disk, loaded, warmed up, swapped, unloaded."""
