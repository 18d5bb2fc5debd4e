"""Early warning: at what pace a run nears each line, when it will be there, what falls due before, and who is told."""
