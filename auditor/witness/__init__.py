"""A witness, who co-signs heads of ledgers that only ever grow, and those who ask one; the C2SP protocol tlog-witness.

`state` is what a witness remembers, `protocol` decides on a request (bytes in, answer out), `server` puts both behind
HTTP, `client` asks, `anchoring` asks for a whole ledger. A witness needs no ledger, and keeps of each log its latest
head alone.
"""

from auditor.witness.anchoring import cosign_ledger
from auditor.witness.client import Asked, ask
from auditor.witness.protocol import Answer, Policy, add_checkpoint
from auditor.witness.server import Server
from auditor.witness.state import Memory

__all__ = ["Answer", "Asked", "Memory", "Policy", "Server", "add_checkpoint", "ask", "cosign_ledger"]
