"""How the auditor is attached: around a block of code, around a command, in each process that a command starts."""
