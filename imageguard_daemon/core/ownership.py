"""One root, one account: what root writes into another account's folders, that account could not use any more."""

import os
import pwd
from contextlib import suppress

from imageguard_daemon.core.errors import PermissionDeniedError

ROOT_USER = 0


def require_own(*folders: os.PathLike[str]) -> None:
    """Refuse to let root write into the folder of another account.

    The first folder that is there decides: a root's state folder, which a daemon made, else the root folder. Other
    accounts meet the permissions that there are.

    Raises:
        PermissionDeniedError: naming the account, and the two ways out.
    """
    if os.geteuid() != ROOT_USER:
        return
    for folder in folders:
        with suppress(OSError):
            owner = os.stat(folder).st_uid
            if owner == ROOT_USER:
                return
            account = account_name(owner)
            raise PermissionDeniedError(
                f"{folder} belongs to the account {account}, which could not use what root writes there: give the "
                f"same command with `sudo -u {account}` before it. If root is meant to work here, chown it to root"
            )


def account_name(user_id: int) -> str:
    """Give the name of an account, as sudo takes it."""
    try:
        return pwd.getpwuid(user_id).pw_name
    except KeyError:
        return f"#{user_id}"
