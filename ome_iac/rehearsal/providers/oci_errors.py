"""What OCI answers when it refuses: status, code, words, and what a person can do about it.

Codes and which of them a retry may help with are from Oracle's "API Errors". The official provider retries 429 and 5xx
by itself for a while; what is rehearsed is what a person sees once it has given up.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ome_iac.rehearsal.providers.package import ProviderError


@dataclass(frozen=True)
class ServiceError:
    """An answer of OCI's."""

    status: int
    code: str
    says: str
    remedy: str

    def sentence(self, detail: str = "") -> str:
        """One line for a person."""
        facts = f" ({detail})" if detail else ""
        return f"OCI answered {self.status}-{self.code}: {self.says}{facts}; {self.remedy}"

    def raised(self, detail: str) -> ProviderError:
        """The same, to be raised."""
        return ProviderError(self.sentence(detail))


ERRORS: dict[str, ServiceError] = {
    "out-of-capacity": ServiceError(
        500,
        "InternalError",
        "Out of host capacity",
        "run it again later, or take another availability domain, fewer nodes or a capacity reservation",
    ),
    "limit-exceeded": ServiceError(
        400,
        "LimitExceeded",
        "Oracle's service limit of the tenancy would be exceeded",
        "ask Oracle for a higher limit, or make fewer",
    ),
    "quota-exceeded": ServiceError(
        400,
        "QuotaExceeded",
        "The administrator's quota of the compartment would be exceeded",
        "ask your administrator for a higher quota, or make fewer",
    ),
    "not-found": ServiceError(
        404,
        "NotAuthorizedOrNotFound",
        "The resource does not exist, or you may not use it",
        "refresh the stack, or check the OCID and the policies",
    ),
    "conflict": ServiceError(
        409,
        "IncorrectState",
        "Another change of the resource is under way, or something still uses it",
        "run it again once that is over",
    ),
    "too-many-requests": ServiceError(
        429,
        "TooManyRequests",
        "Too many requests in too short a time",
        "run it again in a minute, with a lower --parallel",
    ),
    "internal-error": ServiceError(500, "InternalServerError", "An error inside OCI", "run it again"),
    "unavailable": ServiceError(
        503, "ServiceUnavailable", "The service is not available at the moment", "run it again"
    ),
}
"""The answers, by the name that a fault gives them."""


def fault(name: str, times: int | None = None, delay_seconds: float = 0.0, after: bool = False) -> dict[str, Any]:
    """An entry of a faults file (providers/faults.py) with one of the errors above."""
    entry: dict[str, Any] = {"error": ERRORS[name].sentence(), "delaySeconds": delay_seconds, "after": after}
    return entry if times is None else {**entry, "times": times}
