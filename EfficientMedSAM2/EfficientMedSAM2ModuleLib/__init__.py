"""What the module's panel is made of: set-up, settings, sample data. Needs nothing that Slicer does not bring."""
