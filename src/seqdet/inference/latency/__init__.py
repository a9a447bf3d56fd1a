"""How long a detector takes."""
