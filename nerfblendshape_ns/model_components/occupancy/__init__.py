"""Where a head can be: visual hull and occupancy grid."""
