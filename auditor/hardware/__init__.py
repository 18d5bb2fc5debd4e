"""What a device is: what it says of itself, and what the catalogue says of its part."""

from auditor.hardware.catalogue import digest, load
from auditor.hardware.doors import observe, survey

__all__ = ["digest", "load", "observe", "survey"]
