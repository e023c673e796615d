"""Parts of the models: losses, metrics, occupancy, the source of expressions."""
