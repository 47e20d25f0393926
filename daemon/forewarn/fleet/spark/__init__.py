"""The fleet on Apache Spark: the only importer of pyspark."""
