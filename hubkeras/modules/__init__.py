"""What `hubkeras.load` returns."""
