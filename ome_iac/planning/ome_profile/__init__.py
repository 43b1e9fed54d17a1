"""The `ome` selection profile: which runtime OME's own selector would choose, rule for rule.

Held against OME 17b77eda (2026-05-06). It differs in three ways: every reason is listed instead of the first, what OME
leaves to the order of a Go map is sorted, and where OME panics there is an error.
"""

from ome_iac.planning.ome_profile.selection import Candidate, Check, Rejection, Selection, as_applied, check, select

__all__ = ["Candidate", "Check", "Rejection", "Selection", "as_applied", "check", "select"]
