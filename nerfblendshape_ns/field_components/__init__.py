"""Parts of the fields."""
