"""The survey: real models of many libraries, one training step each, counted by the auditor and by others."""
