"""Where a model is, in OME's grammar of `storageUri`.

hf://org/name[@revision][/subfolder]
oci://n/{namespace}/b/{bucket}/o/{prefix}      oci://{namespace}@{region}/{bucket}/{prefix}
pvc://[{namespace}:]{claim}/{path}
local:///absolute/path                         local://path-relative-to-the-document
vendor://{vendor}/{type}/{path}
https://host/path
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from urllib.parse import unquote, urlsplit

from ome_iac.problems import Problem, ProblemsError, did_you_mean


@dataclass(frozen=True)
class HubUri:
    """A repository of the Hugging Face Hub; `revision` is a branch, tag or commit."""

    repository: str
    revision: str = "main"
    subfolder: str = ""


@dataclass(frozen=True)
class ObjectStorageUri:
    """Objects of an OCI bucket; `region` None means the one of the credentials."""

    namespace: str
    bucket: str
    prefix: str
    region: str | None = None


@dataclass(frozen=True)
class PvcUri:
    """A folder of a PersistentVolumeClaim; `namespace` None means the one of the service."""

    namespace: str | None
    claim: str
    path: str


@dataclass(frozen=True)
class LocalUri:
    """A folder of this machine, absolute."""

    path: Path


@dataclass(frozen=True)
class VendorUri:
    """A model that its vendor's own image brings along."""

    vendor: str
    resource_type: str
    path: str


@dataclass(frozen=True)
class HttpsUri:
    """A folder of files behind a web server, without trailing slash."""

    url: str


ModelUri = HubUri | ObjectStorageUri | PvcUri | LocalUri | VendorUri | HttpsUri

GRAMMAR = {
    "hf": "hf://org/name[@revision][/subfolder]",
    "oci": "oci://n/{namespace}/b/{bucket}/o/{prefix}",
    "pvc": "pvc://[{namespace}:]{claim}/{path}",
    "local": "local:///{path}",
    "vendor": "vendor://{vendor}/{type}/{path}",
    "https": "https://{host}/{path}",
}
"""Scheme to the form its URIs have."""

# The Hub's own rules for a name, and Kubernetes' for a claim (DNS-1123 subdomain) and a namespace (label).
_HUB_NAME = re.compile(r"(?!.*(--|\.\.))[A-Za-z0-9_][A-Za-z0-9._-]{0,95}(?<![.-])")
_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
_SUBDOMAIN = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
_REGION = re.compile(r"[a-z]{2,4}-[a-z0-9]+-\d+")
_SECRET = re.compile(r"(?<=://)[^/@]*:[^/@]*(?=@)|(?<=\?).*")


def parse_uri(text: str, base: Path, where: str = "") -> ModelUri:
    """The URI's parts; a relative `local://` path is meant from `base`, the folder of its document.

    Raises ProblemsError, `where` (file:line of the declaration, else the URI itself) leading its line.
    """

    shown = _SECRET.sub("...", text) if text.isprintable() else ascii(text)

    def refuse(what: str, remedy: str) -> ProblemsError:
        return ProblemsError([Problem(where or shown, "storageUri" if where else "", what, remedy)])

    scheme, separator, rest = text.partition("://")
    if not separator:
        raise refuse(f'"{shown}" is no model URI', "one of " + ", ".join(GRAMMAR.values()))
    parse = _PARSERS.get(scheme)
    if not text.isprintable():
        raise refuse("holds a control character", "one of " + ", ".join(GRAMMAR.values()))
    if parse is None:
        raise refuse(f'unknown scheme "{scheme}"', did_you_mean(scheme, GRAMMAR))
    try:
        return parse(rest, base)
    except ValueError as error:
        raise refuse(str(error), f"the form is {GRAMMAR[scheme]}") from None


def _hub(rest: str, base: Path) -> HubUri:
    repository, at, after = rest.partition("@")
    names = repository.split("/")
    if at:
        revision, _, subfolder = after.partition("/")
        if revision == "refs":  # refs/pr/7, refs/convert/parquet: the only revisions of the Hub's own with slashes
            kind, number, subfolder = [*subfolder.split("/", 2), "", ""][:3]
            revision = f"refs/{kind}/{number}"
        revision = unquote(revision)
        if not revision or revision.endswith("/"):
            raise ValueError("the revision after @ is empty")
    else:
        revision, subfolder = "main", "/".join(names[2:])
        names = names[:2]
    if len(names) > 2 or not all(_HUB_NAME.fullmatch(name) for name in names):
        raise ValueError(f'"{"/".join(names)}" is no name of a repository')
    return HubUri("/".join(names), revision, _relative(subfolder))


def _object_storage(rest: str, base: Path) -> ObjectStorageUri:
    parts = rest.split("/")
    if "@" in parts[0]:
        namespace, _, region = parts[0].partition("@")
        if not _REGION.fullmatch(region):
            raise ValueError(f'"{region}" is no region, such as us-chicago-1')
        bucket, prefix = parts[1] if len(parts) > 1 else "", "/".join(parts[2:])
    else:
        if len(parts) < 6 or (parts[0], parts[2], parts[4]) != ("n", "b", "o"):
            raise ValueError("namespace, bucket and prefix are not all given")
        region, namespace, bucket, prefix = "", parts[1], parts[3], "/".join(parts[5:])
    if not namespace or not bucket:
        raise ValueError("the namespace or the bucket is empty")
    return ObjectStorageUri(namespace, bucket, prefix.strip("/"), region or None)


def _pvc(rest: str, base: Path) -> PvcUri:
    volume, _, path = rest.partition("/")
    namespace, colon, claim = volume.rpartition(":")
    if colon and not _LABEL.fullmatch(namespace):
        raise ValueError(f'"{namespace}" is no name of a namespace')
    if not _SUBDOMAIN.fullmatch(claim) or len(claim) > 253:
        raise ValueError(f'"{claim}" is no name of a PersistentVolumeClaim')
    if not path.strip("/"):
        raise ValueError("the path inside the claim is missing")
    return PvcUri(namespace if colon else None, claim, _relative(path))


def _local(rest: str, base: Path) -> LocalUri:
    if not rest:
        raise ValueError("the path is missing")
    return LocalUri((base / Path(rest).expanduser()).resolve())


def _vendor(rest: str, base: Path) -> VendorUri:
    vendor, kind, path = [*rest.split("/", 2), "", ""][:3]
    if not (vendor and kind and path):
        raise ValueError("vendor, type and path are not all given")
    return VendorUri(vendor, kind, path)


def _https(rest: str, base: Path) -> HttpsUri:
    address = urlsplit(f"https://{rest}")
    if not address.hostname:
        raise ValueError("the host is missing")
    if address.username is not None or address.password is not None:
        raise ValueError("a password in a URI ends up in logs and locks; a netrc file is read instead")
    if address.query or address.fragment:
        raise ValueError("a query or fragment cannot be part of a folder's address")
    return HttpsUri(f"https://{rest}".rstrip("/"))


def _relative(path: str) -> str:
    """A path inside the model's place, without the ways out of it."""
    parts = PurePosixPath(path.strip("/")).parts
    if ".." in parts:
        raise ValueError(f'"{path}" leads out of the model\'s folder')
    return "/".join(parts)


_PARSERS: dict[str, Callable[[str, Path], ModelUri]] = {
    "hf": _hub,
    "oci": _object_storage,
    "pvc": _pvc,
    "local": _local,
    "vendor": _vendor,
    "https": _https,
}
