"""A jail for programs that a model wrote: no network, no processes, little time, few own files.

``find_backend`` says what this machine can confine a program with; ``Jails`` runs programs in it.
The process in the jail (``zygote``) is a script that knows nothing of this package but ``confine``,
the layers of confinement, and ``syscalls``, what a program may ask of the kernel.
"""

from smalltolarge.jail.backends import find_backend
from smalltolarge.jail.jails import Jails
from smalltolarge.jail.worker import Ran

__all__ = ["Jails", "Ran", "find_backend"]
