"""The command line: one parser, one file per verb."""
