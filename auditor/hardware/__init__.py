"""What a device is: what it says of itself, and what the catalogue says of its part."""
