"""Inside of the volume predictor: where slices come from, what is known of an object, how it is propagated."""
