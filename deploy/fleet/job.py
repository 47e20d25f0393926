"""The main file of the fleet job where spark-submit starts it: `mainApplicationFile` in sparkapplication.yaml.

The connector for Kafka is of the submission (`deps.packages`), since Spark's JVM runs by the time that this is read.
"""

import sys

from forewarn.cli import main

SETTINGS = "/etc/forewarn/fleet.toml"

if __name__ == "__main__":
    sys.exit(main(["fleet", "run", "--config", SETTINGS]))
