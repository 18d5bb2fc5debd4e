"""Evidence that a device signed: an attestation report over a fresh nonce, with its chain of certificates.

Where confidential computing is on, the device itself signs what it is, with a key that its maker certified. It
is kept as it came and never judged here: that takes the maker's root certificate, its revocation lists and its
reference measurements, none of which this machine can be trusted to supply.
"""

from __future__ import annotations

import base64
import hashlib
import secrets
from typing import TYPE_CHECKING, Any, NamedTuple

from auditor.hardware.answers import attempt

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_NONCE_BYTES = 32
_ENVIRONMENTS = {0: "unavailable", 1: "simulation", 2: "production"}
_NAMES = ("attestation_report_sha256", "attestation_certificates_sha256")


class Attested(NamedTuple):
    """Fields of an identity, the reasons for those that are missing, and the evidence itself in base64."""

    given: Mapping[str, str]
    not_given: Mapping[str, str]
    evidence: Mapping[str, str]


def state(library: Any) -> str:
    """Whether confidential computing is on, and in which environment."""
    now = library.nvmlSystemGetConfComputeState()
    parts = ["enabled" if now.ccFeature else "disabled"]
    if now.ccFeature:
        parts.append(_ENVIRONMENTS.get(now.environment, f"environment {now.environment}"))
    if now.devToolsMode:
        parts.append("open to development tools")
    return ", ".join(parts)


def attest(library: Any, handle: Any, computing: str) -> Attested:
    """What the device signed now. ``computing``: what `state` said, "" where it could not be asked."""
    if not computing.startswith("enabled"):
        reason = "confidential computing is not enabled" if computing else "whether it is enabled is not known"
        return Attested({}, dict.fromkeys(_NAMES, reason), {})
    nonce = secrets.token_bytes(_NONCE_BYTES)
    questions: dict[str, Callable[[], dict[str, bytes]]] = {
        _NAMES[0]: lambda: _report(library.nvmlDeviceGetConfComputeGpuAttestationReport(handle, nonce)),
        _NAMES[1]: lambda: _certificates(library.nvmlDeviceGetConfComputeGpuCertificate(handle)),
    }
    given: dict[str, str] = {"attestation": "not verified", "attestation_nonce": nonce.hex()}
    not_given: dict[str, str] = {}
    evidence: dict[str, str] = {}
    for name, question in questions.items():
        found, reason = attempt(question)
        if reason or not any(found.values()):
            not_given[name] = reason or "the device gave nothing"
            continue
        given[name] = hashlib.sha256(b"".join(found.values())).hexdigest()
        evidence |= {f"{part}_base64": base64.b64encode(data).decode() for part, data in found.items() if data}
    if not evidence:
        given = {}
    return Attested(given, not_given, evidence | ({"nonce": nonce.hex()} if evidence else {}))


def _report(answer: Any) -> dict[str, bytes]:
    found = {"report": bytes(answer.attestationReport)[: answer.attestationReportSize]}
    if answer.isCecAttestationReportPresent:
        found["controller_report"] = bytes(answer.cecAttestationReport)[: answer.cecAttestationReportSize]
    return found


def _certificates(answer: Any) -> dict[str, bytes]:
    return {"certificates": bytes(answer.attestationCertChain)[: answer.attestationCertChainSize]}
