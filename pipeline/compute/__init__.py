"""What a fit computes on, and how: devices, how the work is divided among them, and the settings of its steps."""
