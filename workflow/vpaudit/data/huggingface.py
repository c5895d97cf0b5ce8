"""Files from the Hugging Face hub, or any server that speaks its paths (HF_ENDPOINT), at a pinned revision.

huggingface_hub fetches: in parallel, resumed where a file was cut, with progress, with HF_TOKEN where one is set.
Around it stands what a study needs: retries with growing pauses, a folder of one's own that is tried first, one clear
message a failure, and a lock file that says which revision and which bytes were fetched the first time.
"""

import errno
import fnmatch
import os
import shutil
import time
from pathlib import Path

import httpx2
import yaml
from huggingface_hub import HfApi, constants, snapshot_download
from huggingface_hub import errors as hub

from vpaudit.base import files
from vpaudit.base.errors import VpauditError

PAUSES = (1.0, 4.0, 16.0)  # seconds before the second, third and fourth try
LOCAL = "local"  # in place of a commit: copied from VPAUDIT_MIRROR, whose revision nobody knows
TOKEN = "set HF_TOKEN after accepting its licence on the hub"
AGAIN = "check the network, HF_ENDPOINT and HF_HUB_OFFLINE; the same command resumes"


def download(repo, revision, patterns, folder: Path, kind: str = "model", pauses=PAUSES, workers: int = 4) -> str:
    """Bring the files of a repository that match `patterns` into `folder`; what was fetched before is kept.

    Args:
        patterns: of file names; of several in a tuple the first that the repository holds is fetched.
        revision: branch, tag or commit.
        kind: "model" or "dataset".

    Returns:
        the commit the revision stands for; LOCAL if all came from the folder named by VPAUDIT_MIRROR.

    Raises:
        VpauditError: no access, no such repository, revision or file, no network, no space.
    """
    groups = [pattern if isinstance(pattern, tuple) else (pattern,) for pattern in patterns]
    mirror = os.environ.get("VPAUDIT_MIRROR")
    if mirror and _from_mirror(Path(mirror), groups, folder):
        return LOCAL

    def fetch() -> str:
        commit, wanted = revision, [pattern for group in groups for pattern in group]
        if not constants.HF_HUB_OFFLINE:
            about = HfApi().repo_info(repo, revision=revision, repo_type=kind)
            commit, names = about.sha, [file.rfilename for file in about.siblings]
            wanted = [_first(group, names, f"{repo} at {commit}") for group in groups]
        snapshot_download(
            repo, revision=commit, repo_type=kind, allow_patterns=wanted, local_dir=folder, max_workers=workers
        )
        return commit

    return _patiently(fetch, repo, revision, pauses)


def _first(group: tuple[str, ...], names: list[str], where: str) -> str:
    """The first pattern that has a file."""
    found = [pattern for pattern in group if fnmatch.filter(names, pattern)]
    if not found:
        raise VpauditError(f"{where} holds no {' or '.join(group)}", "correct the card's file names")
    return found[0]


def matching(folder: Path, pattern: str) -> list[Path]:
    """Files below a folder whose path there matches, sorted."""
    found = (path for path in folder.rglob("*") if path.is_file())
    return sorted(path for path in found if fnmatch.fnmatch(path.relative_to(folder).as_posix(), pattern))


def _from_mirror(mirror: Path, groups: list[tuple[str, ...]], folder: Path) -> bool:
    """Copy from a folder of the user's own what lies there under the same paths; false if something is missing."""
    found = [next((paths for p in group if (paths := matching(mirror, p))), []) for group in groups]
    if not all(found):
        return False
    for path in sorted({path for paths in found for path in paths}):
        with files.atomic(folder / path.relative_to(mirror)) as temporary:
            shutil.copyfile(path, temporary)
    return True


def _patiently(fetch, repo: str, revision: str, pauses) -> str:
    """Call `fetch`; what may be better later is tried again after a pause, all else is said at once."""
    for pause in (*pauses, None):
        try:
            return fetch()
        except hub.GatedRepoError as error:
            raise VpauditError(f"{repo} is gated", TOKEN) from error
        except hub.RepositoryNotFoundError as error:
            raise VpauditError(f"{repo} was not found, or is private", f"check the card's repo, or {TOKEN}") from error
        except hub.RevisionNotFoundError as error:
            raise VpauditError(f"{repo} has no revision {revision}", "correct the card's revision") from error
        except hub.HfHubHTTPError as error:
            status = getattr(getattr(error, "response", None), "status_code", None)
            if status is not None and status < 500 and status != 429:
                raise VpauditError(f"{repo}: HTTP {status}: {str(error).splitlines()[0]}", TOKEN) from error
            if pause is None:
                text = f"{repo} could not be reached: HTTP {status}: {str(error).splitlines()[0]}"
                raise VpauditError(text, AGAIN) from error
        except hub.LocalEntryNotFoundError as error:
            if pause is None or constants.HF_HUB_OFFLINE:
                raise VpauditError(f"{repo} could not be reached: {error.__cause__ or error}", AGAIN) from error
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise VpauditError(f"no space left for {repo}", "free disk space; the same command resumes") from error
            if pause is None:
                raise VpauditError(f"{repo}: {error}", AGAIN) from error
        except httpx2.HTTPError as error:  # a connection cut in the middle
            if pause is None:
                raise VpauditError(f"{repo} could not be reached: {error}", AGAIN) from error
        time.sleep(pause)
    raise AssertionError("every way out of the loop returns or raises")


def pinned(lock: Path, name: str, about: dict) -> str:
    """The revision to fetch: the commit that the lock recorded, else the card's."""
    recorded = _read(lock).get(name, {})
    known = recorded.get("repo") == about["repo"] and recorded["revision"] != LOCAL
    return recorded["revision"] if known else about["revision"]


def record(lock: Path, name: str, repo: str, commit: str, digests: dict[str, str]) -> None:
    """Write what was fetched into the lock the first time; afterwards refuse anything else.

    Args:
        digests: sha256 by file name.

    Raises:
        VpauditError: the lock says other bytes; both are named.
    """
    content = _read(lock)
    if name in content and content[name]["repo"] == repo:
        before = content[name]["files"]
        changed = [file for file in digests if file in before and before[file] != digests[file]]
        if changed:
            raise VpauditError(
                f"{repo}: {changed[0]} has sha256 {digests[changed[0]]}, {lock} recorded {before[changed[0]]}",
                f"if the change is meant, delete {name} from {lock} and fetch again; results will differ",
            )
        return
    content[name] = {"repo": repo, "revision": commit, "files": digests}
    with files.atomic(lock) as temporary:
        temporary.write_text(yaml.safe_dump(content, sort_keys=True), encoding="utf-8")


def _read(lock: Path) -> dict:
    return (yaml.safe_load(lock.read_text(encoding="utf-8")) or {}) if lock.exists() else {}
