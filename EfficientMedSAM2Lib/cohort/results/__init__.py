"""What a cohort leaves behind: measurements, provenance, contact sheet, scenes to correct."""
