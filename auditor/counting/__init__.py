"""How operators are seen: counters, phases, steps, and a second opinion. Everything here needs torch."""
