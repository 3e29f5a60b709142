"""Networks that predict the next frames of a video."""
