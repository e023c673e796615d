"""Expression coefficients received live."""
