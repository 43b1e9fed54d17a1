"""The `default` profile: which runtime serves a model, by what was read of it, with a proof that it fits and reasons.

It differs from OME's rules: a field that a runtime leaves out takes any model, so that generic runtimes exist; a field
that it writes must be the model's; our own engines stand beside the declared runtimes; what is not known is said to be
unknown; and a runtime that fits no GPU, or that serves under another model's name, is refused.
"""

from ome_iac.planning.default_profile.answers import Candidate, Check, Rejection, Selection
from ome_iac.planning.default_profile.question import Question
from ome_iac.planning.default_profile.selection import check, select

__all__ = ["Candidate", "Check", "Question", "Rejection", "Selection", "check", "select"]
