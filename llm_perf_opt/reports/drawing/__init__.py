"""Every picture of a report, as self-contained SVG made without a library."""
