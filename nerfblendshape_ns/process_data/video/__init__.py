"""Reading the video: shots, frames, crop."""
