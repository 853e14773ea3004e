"""How each kind of backend is listed."""
