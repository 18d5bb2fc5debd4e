"""What an inventory of chips comes to under the rules: tiers of destinations, licences, ways past them, allocations.

The law stands in the packs (`auditor.rules`), the chips in the catalogue (`auditor.hardware`). This room puts the
questions that rules ask to an inventory, and says what follows; it knows which rule to ask for what, and no number.
"""
