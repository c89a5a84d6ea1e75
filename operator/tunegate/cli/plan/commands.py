"""`plan` and what it takes."""

from __future__ import annotations

from tunegate.cli import oci_registry
from tunegate.cli.grammar import Grammar, add_output
from tunegate.cli.plan import plan, report


def add(commands: Grammar) -> None:
    """Add the command."""
    one = commands.add(
        "plan", plan.plan, "check a job's data, cost and limits on this machine, before anything is asked of the cluster",
        examples=["plan -n licenses-team -f finetunejob.yaml --from-cluster --volume licenses-data=data/ --volume smollm2=models/",
                  "plan -f finetunejob.yaml --with site/ --volume licenses-data=data/ --volume smollm2=models/"],
    )  # fmt: skip
    one.add_argument("-f", "--filename", required=True, help="YAML file of the job, or a folder of YAML files")
    one.add_argument(
        "--with", dest="with_", action="append", metavar="PATH",
        help="file or folder with the server, base model, pool, suite and policy; may be given again",
    )  # fmt: skip
    one.add_argument(
        "--from-cluster", action="store_true",
        help="take what no file has from the cluster, with your own rights: server, base model, pools, suites, policy; and ask "
        "whether it would take the job, and what would keep it waiting",
    )  # fmt: skip
    one.add_argument("--policy", metavar="NAME", help="of the namespace, where the cluster has several")
    one.add_argument(
        "--volume",
        action="append",
        metavar="CLAIM=FOLDER",
        help="where a claim of pvc://CLAIM/…, or a model of hf://ORG/NAME@…, lies on this machine",
    )
    add_output(
        one,
        tuple(report.FORMATS),
        "wide: all row numbers and unbroken lines; sarif: findings at their lines, for code review; json: the stage's result",
    )
    one.add_argument(
        "--max-download", metavar="BYTES", type=int,
        help="how large a pushed data set (oci://…) may be that is fetched; default: 2 GiB",
    )  # fmt: skip
    one.add_argument("--strict", action="store_true", help="warnings count as a refusal")
    one.add_argument("-q", "--quiet", action="store_true", help="no progress")
    oci_registry.add_options(
        one, "where a job names pushed data (oci://…): it is fetched with your own right, and kept by digest"
    )
