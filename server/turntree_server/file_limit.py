"""How many files and sockets this process may have open."""

from __future__ import annotations

import logging
import resource

from turntree_server.settings import LoadLimits

log = logging.getLogger(__name__)

_OF_A_NAMESPACE = 16
_OF_THE_SERVER = 100


def allow_open_files(limits: LoadLimits) -> None:
    """Raise the limit that was inherited to what these limits need, as far as the system lets this process.

    A server that is out of descriptors accepts no connection and opens no database; its own limit comes before that.
    """
    namespaces = limits.namespaces_max * _OF_A_NAMESPACE
    needed = limits.connections_max + namespaces + _OF_THE_SERVER
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= needed:
        return
    allowed = needed if hard == resource.RLIM_INFINITY else min(needed, hard)
    if allowed > soft:
        resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, hard))
    if allowed < needed:
        log.warning(
            "%d open files are allowed, and %d connections and %d namespaces may need %d: raise the hard limit"
            " (ulimit -Hn), or lower --connections-max or --namespaces-max",
            *(allowed, limits.connections_max, limits.namespaces_max, needed),
        )
