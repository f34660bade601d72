"""Never early, never overwriting: a sample of what the full run does."""

from tests.faults import early, names
from tests.faults.requirements import SFTP_SERVER, need, need_strace, need_tools


def test_no_half_written_file_is_judged(launcher, tmp_path):
    """Slow copies, files opened twice, mappings, rsync, SFTP and a torn upload: judged whole, and all of them."""
    need_tools("rsync")
    need(SFTP_SERVER.exists(), f"{SFTP_SERVER}, of the package openssh-sftp-server")
    assert early.upload_slowly(launcher, tmp_path, 2).violations == []


def test_equal_names_never_overwrite_one_another(launcher, tmp_path):
    """Eight uploaders send files of the same names at the same time, and every one of them is kept."""
    assert names.equal_names(launcher, tmp_path, 80).violations == []


def test_equal_names_never_overwrite_where_renames_cannot_refuse(launcher, tmp_path):
    """The same where renameat2 answers EINVAL, as on NFS."""
    need_strace()
    assert names.equal_names(launcher, tmp_path, 40, refuse_renames=True).violations == []


def test_what_is_in_the_way_is_never_replaced_or_followed(launcher, tmp_path):
    """A folder, a link or a foreign file at the destination stays as it is, and nothing is written behind a link."""
    assert names.destinations_in_the_way(launcher, tmp_path).violations == []
