"""A fleet beyond one machine: the daemon's core on Apache Spark. Only `forewarn.fleet.spark` imports pyspark."""
