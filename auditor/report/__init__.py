"""What a person sees of a ledger: numbers once (view), then terminal, HTML and JSON. No torch."""
