"""Names of expression coefficients: which are ARKit's, which are no expression at all."""
