"""scanlight link: how a screen is let in."""

from __future__ import annotations

import typer

from appliance.access_token import TokenError, read_token
from appliance.addresses import is_wildcard, split
from appliance.commands.journal import ConfigOption
from appliance.config import DEFAULT_CONFIG, Config, ConfigError, load

CANNOT = 2


def link(config: ConfigOption = DEFAULT_CONFIG) -> None:
    """Print the link that opens the page on a screen for a year, and for longer while it is used.

    The access token is in it, so whoever has the link may see the page: open it there, and send it to nobody.
    Exit 2 when there is no link.
    """
    try:
        settings = load(config)
        if settings.access_token_file is None:
            raise TokenError(
                f"There is no access token, and no link: this machine sees the page at {_address(settings)}/."
            )
        typer.echo(f"{_address(settings)}/enter#{read_token(settings.access_token_file)}")
    except (ConfigError, TokenError) as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(CANNOT) from None


def _address(config: Config) -> str:
    """Raises TokenError."""
    host, port = split(config.listen)
    if config.hosts:
        host = config.hosts[0]
    elif is_wildcard(host):
        raise TokenError(
            f"listen ({config.listen}) names no machine: add hosts: [NAME] with the name of this one."
        )
    scheme = "http" if config.tls is None else "https"
    shown = f"[{host}]" if ":" in host else host
    return f"{scheme}://{shown}" + ("" if port == {"http": 80, "https": 443}[scheme] else f":{port}")
