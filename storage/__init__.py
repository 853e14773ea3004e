"""What a backend and the landing zone are: config, credentials, listing, reading, wire format."""
