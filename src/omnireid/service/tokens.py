"""Tokens: made once, shown once, and kept as hashes in one small file."""

from __future__ import annotations

import hashlib
import hmac
import json
import re
import secrets
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, get_args

from omnireid.errors import RoleError, ServiceError, SettingError, TokenError
from omnireid.files import atomic_output, sole_writer

Role = Literal["read", "write", "erase", "admin"]
ROLES: tuple[Role, ...] = get_args(Role)
"""From the lowest to the highest. Each includes those before it."""

TOKENS_FILE = ".tokens.json"
_PREFIX = "omnireid_"
_RANDOM_BYTES = 32
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]{0,63}", re.ASCII)


@dataclass(frozen=True)
class Token:
    """What is kept of a token. The token itself has 256 random bits, so one plain SHA-256 of it cannot be guessed.

    Attributes:
        name: Who uses it; the log names this.
        role: What it allows: read, write (add and decide too), erase (erase too) or admin (read the log too).
        sha256: SHA-256 of the token.
        created: When it was made, in UTC.
        revoked: When it was revoked; None while it counts.
    """

    name: str
    role: Role
    sha256: str = field(repr=False)
    created: str
    revoked: str | None = None

    def __post_init__(self) -> None:
        check_role(self.role)
        if not _NAME.fullmatch(self.name):
            raise SettingError(
                f"The name {self.name!r} is none for a token: use letters, digits and . _ @ -, 64 at most, such as "
                "anna or desk-2."
            )

    def allows(self, role: Role) -> bool:
        """Whether its role includes another one."""
        return ROLES.index(self.role) >= ROLES.index(role)

    def json(self) -> dict[str, Any]:
        """What may be shown of it."""
        return {"name": self.name, "role": self.role, "created": self.created, "revoked": self.revoked}


def check_role(role: str) -> Role:
    """Check the name of a role.

    Raises:
        SettingError: there is no such role.
    """
    for known in ROLES:
        if role == known:
            return known
    raise SettingError(f"role: there is no {role!r}. Known: {', '.join(ROLES)}.")


def tokens_file(gallery: str, named: Path | None) -> Path:
    """The file of a gallery's tokens.

    Raises:
        SettingError: the gallery is on object storage, and no file is named.
    """
    if named is not None:
        return named
    if "://" in gallery:
        raise SettingError(
            f"The gallery {gallery} is no folder, so its tokens need a file of their own. Name one: tokens (--tokens)."
        )
    return Path(gallery) / TOKENS_FILE


def read_tokens(file: Path) -> tuple[Token, ...]:
    """The tokens, oldest first; none where there is no file.

    Raises:
        SettingError: the file is damaged. Nobody is let in by a file that cannot be read.
    """
    try:
        records = json.loads(file.read_text(encoding="utf-8"))["tokens"]
        return tuple(Token(**record) for record in records)
    except FileNotFoundError:
        return ()
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise SettingError(
            f"The tokens in {file} cannot be read ({error!r}). Restore the file from a copy, or remove it and make the "
            "tokens again with: omnireid serve token add"
        ) from error


def add_token(file: Path, name: str, role: str) -> str:
    """Make a token. It is returned, and only its hash is kept.

    Raises:
        SettingError: the name is taken or none, there is no such role, or there is no gallery in the folder.
    """
    if not file.parent.is_dir():
        raise SettingError(f"There is no folder {file.parent} for the tokens. Make the gallery first.")
    text = _PREFIX + secrets.token_urlsafe(_RANDOM_BYTES)
    made = Token(name, check_role(role), _hash(text), datetime.now(UTC).isoformat(timespec="seconds"))
    with sole_writer(file, wait=True):
        tokens = read_tokens(file)
        if any(token.name == name and token.revoked is None for token in tokens):
            raise SettingError(f"There is a token {name!r} already. Revoke it first, or choose another name.")
        _write(file, (*tokens, made))
    return text


def revoke_token(file: Path, name: str) -> Token:
    """Revoke the token of a name. A service that runs refuses it from its next request on.

    Raises:
        SettingError: there is no such token that counts.
    """
    with sole_writer(file, wait=True):
        tokens = read_tokens(file)
        found = [token for token in tokens if token.name == name and token.revoked is None]
        if not found:
            raise SettingError(f"There is no token {name!r} that counts. omnireid serve token list shows them.")
        revoked = replace(found[0], revoked=datetime.now(UTC).isoformat(timespec="seconds"))
        _write(file, tuple(revoked if token is found[0] else token for token in tokens))
    return revoked


@dataclass
class TokenCheck:
    """Finds out who a request comes from. The file is read again when it changes.

    Attributes:
        file: The file of the tokens.
        open_access: Whether requests without a token are let in as long as no token exists, with every role.
    """

    file: Path
    open_access: bool
    _stamp: tuple[int, int, int] | None = None
    _tokens: tuple[Token, ...] = ()

    @property
    def is_open(self) -> bool:
        """Whether requests without a token are let in now."""
        return self.open_access and not self._read()

    def check(self, authorization: str | None, role: Role) -> Token | None:
        """The token of a request; None where the service is open to whoever can reach it.

        Args:
            authorization: The header of this name.
            role: What the request needs.

        Raises:
            TokenError: there is no token, or it is unknown or revoked.
            RoleError: its role does not include `role`.
        """
        tokens = self._read()
        if self.open_access and not tokens:
            return None
        scheme, _, text = (authorization or "").partition(" ")
        if scheme.lower() != "bearer" or not text.strip():
            raise TokenError("This needs a token, in the header: Authorization: Bearer TOKEN.")
        token = _find(text.strip(), tokens)
        if token is None or token.revoked is not None:
            raise TokenError("The token is unknown or revoked. Ask the operator for another one.")
        if not token.allows(role):
            raise RoleError(f"This needs the role {role}, and the token has the role {token.role}.")
        return token

    def _read(self) -> tuple[Token, ...]:
        try:
            status = self.file.stat()
            stamp = (status.st_mtime_ns, status.st_size, status.st_ino)
        except FileNotFoundError:
            # A service that had tokens stays closed when the file is gone.
            return self._tokens
        if stamp != self._stamp:
            try:
                self._tokens, self._stamp = read_tokens(self.file), stamp
            except SettingError as error:
                raise ServiceError(str(error)) from error
        return self._tokens


def _find(text: str, tokens: Sequence[Token]) -> Token | None:
    """The token of a text. Every hash is compared, each in constant time."""
    wanted, found = _hash(text), None
    for token in tokens:
        if hmac.compare_digest(token.sha256, wanted):
            found = token
    return found


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def _write(file: Path, tokens: Sequence[Token]) -> None:
    with atomic_output(file) as temporary:
        temporary.chmod(0o600)
        temporary.write_text(json.dumps({"tokens": [asdict(token) for token in tokens]}, indent=2) + "\n", "utf-8")
