"""``omnireid serve token``: who may use a service. Each function is one subcommand."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import tyro

from omnireid.commands.options import GalleryOption, JsonOption, check_json, field_text, leave_json, text_stream
from omnireid.service.options import ServiceOptions
from omnireid.service.tokens import Role

TokensOption = Annotated[Path | None, tyro.conf.arg(help=field_text(ServiceOptions, "tokens"))]
NameOption = Annotated[str, tyro.conf.arg(help="Who uses the token, such as anna or desk-2; the log names this.")]


def add(*, gallery: GalleryOption, name: NameOption, role: Role = "read", tokens: TokensOption = None) -> None:
    """Make a token, and print it. This is the only time that it is shown: only its hash is kept.

    Example: omnireid serve token add --gallery people.gallery --name anna --role write

    Args:
        role: What it allows: read (search and look), write (add and decide too), erase (erase too) or admin (read the
            log too).
    """
    from omnireid.service.tokens import add_token, tokens_file

    print(add_token(tokens_file(gallery, tokens), name, role))


def list(*, gallery: GalleryOption, tokens: TokensOption = None, json: JsonOption = None) -> None:  # noqa: A001
    """List the tokens: whose they are, what they allow, and which are revoked.

    Example: omnireid serve token list --gallery people.gallery
    """
    from omnireid.service.tokens import read_tokens, tokens_file

    check_json(json)
    found = read_tokens(tokens_file(gallery, tokens))
    say = text_stream(json)
    for token in found:
        state = "" if token.revoked is None else f"  revoked {token.revoked}"
        print(f"{token.name}  {token.role}  made {token.created}{state}", file=say)
    print(f"{sum(token.revoked is None for token in found):,} tokens count", file=say)
    leave_json(json, {"tokens": [token.json() for token in found]})


def revoke(*, gallery: GalleryOption, name: NameOption, tokens: TokensOption = None) -> None:
    """Revoke a token. A service that runs refuses it from its next request on.

    Example: omnireid serve token revoke --gallery people.gallery --name anna
    """
    from omnireid.service.tokens import revoke_token, tokens_file

    revoked = revoke_token(tokens_file(gallery, tokens), name)
    print(f"{revoked.name}: revoked")
