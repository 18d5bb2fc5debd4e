"""The arguments of each verb, in light modules: nothing that a verb needs is loaded to print its help."""
