"""One user's process: the scene, files in and out, measurements."""
