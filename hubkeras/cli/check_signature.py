"""`hubkeras check-signature`: what a module lacks of a common signature."""

from __future__ import annotations

import click

from hubkeras.cli.verbs import HANDLE, echo, quiet_tensorflow, verb

_EXAMPLES = ("hubkeras check-signature path/to/mobilenet image_feature_vector",)


@verb(name="check-signature", examples=_EXAMPLES, short_help="Say what a module lacks of a common signature.")
@HANDLE
@click.argument(
    "name", metavar="NAME", type=click.Choice(["text_embedding", "image_feature_vector", "image_classification"])
)
@click.pass_context
def command(context: click.Context, handle: str, name: str) -> None:
    """Says what a module lacks of a common signature, which it is put through for that.

    NAME is text_embedding, image_feature_vector or image_classification. The exit status is 1 where something is found.
    """
    with quiet_tensorflow():
        import hubkeras

        findings = hubkeras.check_signature(handle, name)
    for finding in findings:
        echo(finding)
    if findings:
        context.exit(1)
    click.echo(f"as {name} is described")
