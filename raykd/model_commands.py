"""Commands of a model folder: export, shrink, push and serve. Heavy libraries are imported in the functions."""

from typing import Annotated

import typer


def export(
    model: Annotated[str, typer.Argument(metavar="DIR", help="Folder of a trained model.")],
    format_: Annotated[str, typer.Option("--format", help="onnx, or openvino (pip install 'raykd[openvino]').")] = "onnx",
    int8: Annotated[bool, typer.Option(help="Also write a file with 8-bit weights, unless it is worse.")] = False,
    tolerance: Annotated[
        float,
        typer.Option(
            min=0.0,
            help="Points of the headline metric that the lower end of int8's 95% interval on the run's validation rows may lie "
            "below the float file.",
        ),
    ] = 0.5,
) -> None:
    """Export a model to DIR/onnx or DIR/openvino, compare and time both. Exit code 1: int8 was refused."""
    from raykd.config.paths import expand_home
    from raykd.errors import Int8RefusedError
    from raykd.model_export import export as export_model
    from raykd.progress import Terminal

    try:
        export_model(expand_home(model, "DIR"), form=format_, int8=int8, terminal=Terminal(), tolerance=tolerance)
    except Int8RefusedError as error:
        typer.echo(f"raykd: {error}", err=True)
        raise typer.Exit(1) from None


def shrink(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="Model folder, or a model name on the Hugging Face hub.")],
    out: Annotated[str, typer.Option(metavar="DIR", help="Folder of the smaller model; it must not exist.")],
    layers: Annotated[
        str | None, typer.Option(metavar="0,2,4", help="Encoder layers to keep, numbered from 0; default: all.")
    ] = None,
    text: Annotated[
        list[str] | None,
        typer.Option(metavar="FILE", help="TSV or text file, or glob, whose tokens are kept; may be repeated. Default: all."),
    ] = None,
    min_count: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="Times that a token must stand in the text to be kept; default: 1.")
    ] = None,
) -> None:
    """Make a smaller model from some layers of a model and the tokens that a text uses, and print the sizes of both."""
    from raykd.config.paths import expand_home
    from raykd.model_shrink import shrink as shrink_model_folder

    sizes = shrink_model_folder(
        expand_home(model, "MODEL"),
        layers=layers,
        min_count=min_count,
        text=[expand_home(file, "--text") for file in text or ()],
        out=expand_home(out, "--out"),
    )
    typer.echo("\n".join(sizes))


def push(
    model: Annotated[str, typer.Argument(metavar="DIR", help="Folder of a trained model.")],
    repository: Annotated[str, typer.Argument(metavar="REPO", help="OWNER/NAME on the hub (HF_ENDPOINT, huggingface.co).")],
    public: Annotated[bool, typer.Option(help="Make a new repository public.")] = False,
) -> None:
    """Upload a model, its card and its exported files to a Hugging Face hub; the token comes from HF_TOKEN."""
    from raykd.config.paths import expand_home
    from raykd.model_push import push as push_model

    typer.echo(push_model(expand_home(model, "DIR"), repository, private=not public))


def serve(
    model: Annotated[str, typer.Argument(metavar="DIR", help="Folder of a trained model, or of a run: its best student.")],
    teacher: Annotated[
        str | None, typer.Option(metavar="DIR", help="Model that answers texts of which the student is unsure.")
    ] = None,
    threshold: Annotated[
        float | None, typer.Option(min=0, max=1, help="Confidence below which the teacher answers; default: the run's choice.")
    ] = None,
    format_: Annotated[str, typer.Option("--format", help="torch; onnx or openvino, made by raykd export.")] = "torch",
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
    from raykd.serve.serve_command import serve_http, serve_lines
    from raykd.serve.served_application import check_served, command_settings

    settings = command_settings(
        expand_home(model, "DIR"), None if teacher is None else expand_home(teacher, "--teacher"),
        threshold=threshold, form=format_, int8=int8, replicas=replicas, threads=threads,
    )  # fmt: skip
    check_served(settings)
    if stdin:
        serve_lines(settings)
    else:
        serve_http(settings, host=host, port=port, tell=lambda text: typer.echo(text, err=True))
