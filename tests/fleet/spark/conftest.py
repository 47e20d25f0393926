"""These run Spark: `make test-fleet`, which installs the extra and says so where there is no Java, sets FLEET=1."""

import os

collect_ignore_glob = [] if os.environ.get("FLEET") == "1" else ["test_*.py"]
