"""On which device, in which precision, deterministic how."""
