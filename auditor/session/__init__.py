"""One audited run, from the counter to the ledger, and what goes along with it on threads of its own."""
