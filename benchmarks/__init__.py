"""What this package costs, beside the raw way to do the same thing."""
