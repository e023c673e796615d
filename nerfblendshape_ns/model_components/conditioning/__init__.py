"""What a frame's field is conditioned on: expression, head pose, frame code, motion of the face."""
