"""Writes the dashboards as JSON: `make dashboards`, or `python -m deploy.grafana FOLDER` to another folder."""

import sys
from pathlib import Path

from deploy.grafana.daemon import daemon
from deploy.grafana.device import device
from deploy.grafana.fleet import fleet
from deploy.grafana.frame import as_json
from deploy.grafana.spark import spark


def main(arguments: list[str]) -> None:
    """Write one file for each dashboard to the folder of the arguments, or to `dashboards` beside this file."""
    folder = Path(*arguments) if arguments else Path(__file__).parent / "dashboards"
    for make in (fleet, device, daemon, spark):
        (folder / f"{make.__name__}.json").write_text(as_json(make()), "utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
