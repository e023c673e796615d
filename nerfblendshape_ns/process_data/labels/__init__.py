"""Labels, mattes and the clean plate."""
