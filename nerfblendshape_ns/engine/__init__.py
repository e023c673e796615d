"""Training machinery: the table optimiser, schedules and the wall-clock budget."""
