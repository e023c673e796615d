"""A procedural talking head with exact poses, labels, landmarks and coefficients; needs no external asset."""
