"""OCI IAM policy statements: built, read back, and asked what they allow.

The grammar is Oracle's (Policy Syntax; Conditions): `Allow <subject> to <verb> <resource-type> in <location>
[where <condition>]`, a condition being `variable = 'value'`, `variable = /pattern*/` or `all {...}` / `any {...}` of
them. A variable that a request does not have makes its condition false, and comparisons ignore case, both as Oracle
documents. Only what this project writes is understood; everything else is refused, never guessed.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

VERBS = ("inspect", "read", "use", "manage")
"""Each includes those before it."""
_WORD = r"[A-Za-z0-9._:\-]+"
_STATEMENT = re.compile(
    rf"allow\s+(?P<subject>any-user|group\s+id\s+{_WORD})\s+to\s+(?P<verb>{'|'.join(VERBS)})\s+(?P<resource>[a-z0-9\-]+)"
    rf"\s+in\s+(?P<location>tenancy|compartment\s+id\s+{_WORD})(?:\s+where\s+(?P<where>.+))?",
    re.IGNORECASE | re.DOTALL,
)
_TERM = re.compile(
    r"\s*(?P<name>[a-z0-9._]+)\s*(?P<sign>!?=)\s*(?:'(?P<text>[^']*)'|/(?P<pattern>[^',]*)/)\s*", re.IGNORECASE
)
_QUOTA = re.compile(
    rf"(?:(?:zero|unset)\s+(?P<family>[a-z0-9\-]+)\s+quotas?(?:\s+{_WORD}(?:\s*,\s*{_WORD})*)?"
    rf"|set\s+(?P<set>[a-z0-9\-]+)\s+quotas?\s+{_WORD}(?:\s*,\s*{_WORD})*\s+to\s+\d+)"
    rf"\s+in\s+(?:tenancy|compartment\s+{_WORD})",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class Term:
    """`variable = 'value'`; `pattern`: the value is matched with `*` for anything."""

    variable: str
    value: str
    pattern: bool = False
    negated: bool = False

    def holds(self, request: Mapping[str, str]) -> bool:
        """Whether it does for a request's variables."""
        actual = request.get(self.variable)
        if actual is None:
            return False
        wanted = re.escape(self.value)
        if self.pattern:
            wanted = wanted.replace(r"\*", ".*")
        return (re.fullmatch(wanted, actual, re.IGNORECASE | re.DOTALL) is not None) != self.negated

    def __str__(self) -> str:
        sign = "!=" if self.negated else "="
        return f"{self.variable} {sign} " + (f"/{self.value}/" if self.pattern else f"'{self.value}'")


@dataclass(frozen=True)
class Statement:
    """One sentence of a policy."""

    subject: str
    verb: str
    resource: str
    location: str
    terms: tuple[Term, ...] = ()
    join: Literal["all", "any"] = "all"

    def allows(
        self, verb: str, resource: str, location: str, request: Mapping[str, str], groups: Sequence[str] = ()
    ) -> bool:
        """Whether it lets the request through. `groups` are the OCIDs of the caller's groups; `location` is
        `compartment id <ocid>`, and a statement about the tenancy is about every compartment."""
        mine = self.subject == "any-user" or self.subject.removeprefix("group id ") in groups
        there = self.location in ("tenancy", location)
        enough = VERBS.index(verb) <= VERBS.index(self.verb)
        held = [term.holds(request) for term in self.terms]
        condition = not held or (all(held) if self.join == "all" else any(held))
        return mine and there and enough and self.resource in (resource, "all-resources") and condition

    def __str__(self) -> str:
        text = f"Allow {self.subject} to {self.verb} {self.resource} in {self.location}"
        if not self.terms:
            return text
        inner = ", ".join(map(str, self.terms))
        return f"{text} where {self.join} {{{inner}}}"


def parse(text: str) -> Statement:
    """The statement. Raises ValueError, saying what, for anything that is not of the grammar above."""
    found = _STATEMENT.fullmatch(text.strip())
    if found is None:
        raise ValueError(f"is no policy statement: {text!r}")
    join, terms = _condition(found["where"])
    return Statement(
        subject=" ".join(found["subject"].split()),
        verb=found["verb"].lower(),
        resource=found["resource"],
        location=" ".join(found["location"].split()),
        terms=terms,
        join=join,
    )


def read_objects(
    *, namespace: str, account: str, cluster_id: str, compartment_id: str, bucket: str, prefix: str
) -> Statement:
    """A Kubernetes service account may read the objects below a prefix of a bucket, and nothing else.

    Listing is not part of it: a request to list names no object, so the condition on the name is false for it. The
    condition's variables are OKE's (Granting Workloads Access to OCI Resources) and Object Storage's.
    """
    return Statement(
        subject="any-user",
        verb="read",
        resource="objects",
        location=f"compartment id {compartment_id}",
        terms=(
            Term("request.principal.type", "workload"),
            Term("request.principal.namespace", namespace),
            Term("request.principal.service_account", account),
            Term("request.principal.cluster_id", cluster_id),
            Term("target.bucket.name", bucket),
            Term("target.object.name", f"{prefix.strip('/')}/*" if prefix.strip("/") else "*", pattern=True),
        ),
    )


def use_cluster(*, group: str, cluster_id: str, compartment_id: str) -> Statement:
    """Members of a group may ask the cluster's API server; what they may do there is RBAC's to say.

    That `target.cluster.id` is a variable of it is assumed.
    """
    return Statement(
        subject=f"group id {group}",
        verb="use",
        resource="clusters",
        location=f"compartment id {compartment_id}",
        terms=(Term("target.cluster.id", cluster_id),),
    )


def is_quota(text: str) -> bool:
    """Whether a quota policy has Oracle's form: `zero|unset <family> quotas [names] in ...`, `set ... to n in ...`."""
    return _QUOTA.fullmatch(text.strip()) is not None


def _condition(text: str | None) -> tuple[Literal["all", "any"], tuple[Term, ...]]:
    if text is None:
        return "all", ()
    found = re.fullmatch(r"\s*(all|any)\s*\{(.*)\}\s*", text, re.IGNORECASE | re.DOTALL)
    join: Literal["all", "any"] = "any" if found and found[1].lower() == "any" else "all"
    terms, rest = [], found[2] if found else text
    while True:
        term = _TERM.match(rest)
        if term is None:
            raise ValueError(f"has a condition that is not understood: {rest.strip()!r}")
        pattern = term["pattern"] is not None
        value = term["pattern"] if pattern else term["text"]
        terms.append(Term(term["name"].lower(), value, pattern, term["sign"] == "!="))
        rest = rest[term.end() :]
        if not rest:
            return join, tuple(terms)
        if not rest.startswith(","):
            raise ValueError(f"has a condition that is not understood: {rest.strip()!r}")
        rest = rest[1:]
