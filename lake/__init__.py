"""Tables, the one Delta speaker, metrics and what readers ask."""
