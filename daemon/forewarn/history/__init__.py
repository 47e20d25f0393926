"""Past readings, as columns: of CSV and Parquet files, of exports of InfluxDB, of Prometheus.

Whatever they come from, `read_history` gives one `History`; backtest, replay and training know nothing else.
"""

from forewarn.history.columns import Asked
from forewarn.history.history import History, parse_number, parse_time
from forewarn.history.read import read_for, read_history

__all__ = ["Asked", "History", "parse_number", "parse_time", "read_for", "read_history"]
