"""Live values to TF1 Hub format: specs, signatures, attached messages."""
