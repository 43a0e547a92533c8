"""Commands of a finished model: ``raykd serve`` and ``raykd push``. Heavy libraries are imported in the functions."""

from typing import Annotated

import typer


def push(
    model: Annotated[str, typer.Argument(metavar="DIR", help="Folder of a trained model.")],
    repository: Annotated[str, typer.Argument(metavar="REPO", help="OWNER/NAME on the hub (HF_ENDPOINT, huggingface.co).")],
    public: Annotated[bool, typer.Option(help="Make a new repository public.")] = False,
) -> None:
    """Upload a model, its card and its ONNX files to a Hugging Face hub; the token comes from HF_TOKEN."""
    from raykd.config.paths import expand_home
    from raykd.model_push import push as push_model

    typer.echo(push_model(expand_home(model), repository, private=not public))


def serve(
    model: Annotated[str, typer.Argument(metavar="DIR", help="Folder of a trained model, or of a run: its best student.")],
    teacher: Annotated[
        str | None, typer.Option(metavar="DIR", help="Model that answers texts of which the student is unsure.")
    ] = None,
    threshold: Annotated[
        float | None, typer.Option(min=0, max=1, help="Confidence below which the teacher answers; default: the run's choice.")
    ] = None,
    format_: Annotated[str, typer.Option("--format", help="onnx (made by raykd export) or torch.")] = "torch",
    int8: Annotated[bool, typer.Option(help="The ONNX file with 8-bit weights.")] = False,
    host: Annotated[
        str, typer.Option(help="Address to listen on; the default is reachable from this machine alone.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=1, max=65535)] = 8000,
    replicas: Annotated[str, typer.Option(metavar="MIN,MAX", help="Copies of the model; more start under load.")] = "1",
    threads: Annotated[int, typer.Option(min=1, help="CPU threads of a copy.")] = 1,
    stdin: Annotated[bool, typer.Option(help="Answer lines of JSON from standard input; no server.")] = False,
) -> None:
    """Serve a model over HTTP with Ray Serve, in the format of Hugging Face's inference API."""
    from raykd.config.paths import expand_home
    from raykd.serve.serve_command import check_served, serve_http, serve_lines
    from raykd.serve.served_application import command_settings

    settings = command_settings(
        expand_home(model), None if teacher is None else expand_home(teacher), threshold=threshold, form=format_, int8=int8,
        replicas=replicas, threads=threads,
    )  # fmt: skip
    check_served(settings)
    if stdin:
        serve_lines(settings)
    else:
        serve_http(settings, host=host, port=port, tell=lambda text: typer.echo(text, err=True))
