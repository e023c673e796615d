"""Driving an avatar: where expressions and head poses come from, how they are mapped to this person, and the video."""
