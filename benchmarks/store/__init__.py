"""How long a store takes."""
