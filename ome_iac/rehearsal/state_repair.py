"""What an engine leaves in its file backend when it is killed, put right, so that the next run simply goes on.

Checkpoints themselves are replaced atomically. Two small files beside them are not: the lock, for which Pulumi would
ask for a `pulumi cancel`, and the attributes of each file, without which the backend reads it all the same, but which
it cannot read half written.
"""

from __future__ import annotations

import json
import socket
from pathlib import Path

from ome_iac.rehearsal.processes import process_id


def repair(state: Path) -> None:
    """Take away dead engines' locks and half-written attributes. No engine may be about to write in `state`."""
    for path in (state / ".pulumi" / "locks").rglob("*.json"):
        if _is_dead(path):
            path.unlink(missing_ok=True)
    for path in (state / ".pulumi").rglob("*.attrs"):
        try:
            json.loads(path.read_bytes())
        except ValueError:
            path.unlink(missing_ok=True)
        except OSError:
            continue


def _is_dead(path: Path) -> bool:
    try:
        lock = json.loads(path.read_bytes())
        return lock["hostname"] == socket.gethostname() and not process_id(int(lock["pid"])).started
    except OSError:
        return False  # its engine has just ended
    except (ValueError, KeyError, TypeError):
        return True
