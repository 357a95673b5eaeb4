"""From files in the export folder to series that are complete."""
