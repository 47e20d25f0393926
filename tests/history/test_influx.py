"""Exports of InfluxDB as its own documentation and programs write them."""

from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from forewarn.errors import DataError
from forewarn.history import read_history
from forewarn.history.columns import Choice
from forewarn.history.influx import is_influx, samples
from forewarn.history.samples import history_of

# The example of https://docs.influxdata.com/influxdb/v2/reference/syntax/annotated-csv/ (section Rows).
DOCUMENTED = """\
#group,false,false,true,true,false,false,true,true,true,true
#datatype,string,long,dateTime:RFC3339,dateTime:RFC3339,dateTime:RFC3339,double,string,string,string,string
#default,mean,,,,,,,,,
,result,table,_start,_stop,_time,_value,_field,_measurement,host,region
,,0,2022-12-31T05:41:24Z,2023-01-31T05:41:24.001Z,2023-01-01T00:52:00Z,15.43,mem,m,A,east
,,1,2022-12-31T05:41:24Z,2023-01-31T05:41:24.001Z,2023-01-01T00:52:00Z,59.25,mem,m,B,east
,,2,2022-12-31T05:41:24Z,2023-01-31T05:41:24.001Z,2023-01-01T00:52:00Z,52.62,mem,m,C,east
"""
# Two schemas in one file, as the section Tables has it: an empty line, then annotations and header anew.
TWO_SCHEMAS = """\
#datatype,string,long,dateTime:RFC3339,string,string,string,double
#group,false,false,false,true,true,true,false
#default,_result,,,,,,
,result,table,_time,_measurement,device,_field,_value
,,0,2026-01-01T00:00:00Z,hall,a,temperature,20
,,0,2026-01-01T00:01:00Z,hall,a,temperature,21
,,1,2026-01-01T00:00:00Z,hall,b,temperature,5

#datatype,string,long,dateTime:RFC3339,string,string,string,long
#group,false,false,false,true,true,true,false
#default,_result,,,,a,,
,result,table,_time,_measurement,device,_field,_value
,,2,2026-01-01T00:00:00Z,hall,,humidity,50
,,2,2026-01-01T00:01:00Z,hall,,humidity,51
"""
# As `formatResults` of cmd/influx/cli/cli.go (InfluxDB 1.x) writes it: a header for each series.
CLI = """\
name,tags,time,mean,max
hall,"device=a,room=north\\, left",1767225600000000000,20.5,21
hall,"device=a,room=north\\, left",1767225660000000000,20.75,22
name,tags,time,mean,max
hall,"device=b,room=south",1767225600000000000,5,6
"""
# As `TestResponseWriter_CSV` of services/httpd/response_writer_test.go has it, `Accept: application/csv`.
HTTP = """\
name,tags,time,value
cpu,"host=server01,region=uswest",10,2.5
cpu,"host=server01,region=uswest",20,5
cpu,"host=server01,region=uswest",30,
cpu,"host=server01,region=uswest",40,foobar
cpu,"host=server01,region=uswest",50,true
"""


def write(folder: Path, text: str, name: str = "export.csv") -> Path:
    path = folder / name
    path.write_text(text, "utf-8", newline="")
    return path


def test_the_documented_example_is_a_device_for_each_host(tmp_path: Path) -> None:
    history = read_history(write(tmp_path, DOCUMENTED.replace("\n", "\r\n")))
    assert history.features == ("mem",)
    assert history.device == ["A", "B", "C"]
    assert history.values[:, 0].tolist() == [15.43, 59.25, 52.62]
    assert history.at.tolist() == [1672534320.0] * 3
    without = DOCUMENTED.partition("#default")[2].partition("\n")[2]
    bare = without.replace("\n,", "\n").removeprefix(",").replace("\n,", "\nmean,")
    for text in (without, bare):
        assert read_history(write(tmp_path, text)).values.tolist() == history.values.tolist()


def test_tables_of_several_schemas_are_one_history(tmp_path: Path) -> None:
    path = write(tmp_path, TWO_SCHEMAS)
    history = read_history(path, features=["temperature", "humidity"], target="temperature")
    assert list(zip(history.timestamp_text, history.device, strict=True)) == [
        ("2026-01-01T00:00:00Z", "a"),
        ("2026-01-01T00:00:00Z", "b"),
        ("2026-01-01T00:01:00Z", "a"),
    ]
    assert np.array_equal(history.values, np.array([[20, 50], [5, np.nan], [21, 51]]), equal_nan=True)


def test_a_pivoted_table_has_a_metric_in_each_column_of_numbers(tmp_path: Path) -> None:
    text = "#group,false,false,false,true,false,false\n#datatype,string,long,dateTime:RFC3339,string,double,double\n"
    text += "#default,_result,,,,,\n,result,table,_time,device_id,temperature,humidity\n"
    text += ",,0,2026-01-01T00:00:00Z,7,20,50\n,,0,2026-01-01T00:01:00Z,7,21,\n"
    history = read_history(write(tmp_path, text), features=["temperature", "humidity"], target="temperature")
    assert history.device == ["7", "7"]
    assert np.array_equal(history.values, np.array([[20, 50], [21, np.nan]]), equal_nan=True)


def test_a_field_called_value_is_told_by_its_measurement(tmp_path: Path) -> None:
    text = TWO_SCHEMAS.replace(",temperature,", ",value,").replace(",humidity,", ",value,")
    path = write(tmp_path, text.replace(",,2,2026-01-01T00:00:00Z,hall", ",,2,2026-01-01T00:00:00Z,damp"))
    with pytest.raises(DataError, match=r"which metric is forecast.*damp, hall"):
        read_history(path)


def test_series_that_only_another_tag_tells_apart_are_refused(tmp_path: Path) -> None:
    path = write(tmp_path, DOCUMENTED.replace(",B,east", ",A,west"))
    with pytest.raises(DataError, match=r"two series are both 'mem' of 'A'; they differ in region.*--device-column"):
        read_history(path)
    assert read_history(path.parent, device_column="region", metric_column="host", target="A").device == [
        "east",
        "west",
    ]


def test_the_only_tag_that_differs_is_the_device(tmp_path: Path) -> None:
    path = write(tmp_path, DOCUMENTED.replace("host", "rack"))
    assert read_history(path).device == ["A", "B", "C"]
    with pytest.raises(DataError, match=r"which label is the device.*--device-column, one of rack, region"):
        read_history(write(tmp_path, DOCUMENTED.replace("host", "rack").replace(",B,east", ",B,west")))
    with pytest.raises(DataError, match=r"has no label 'rak' .*did you mean 'rack'"):
        read_history(path, device_column="rak")


@pytest.mark.parametrize(
    "error",
    [
        "#datatype,string,long\n,error,reference\n,Failed to parse query,897\n",
        "error,reference\nFailed to parse query,897\n",
        f"{DOCUMENTED}\n#datatype,string,long\n,error,reference\n,Failed to parse query,897\n",
    ],
    ids=["annotated", "plain", "after a table"],
)
def test_an_error_of_influxdb_is_told_in_its_words(tmp_path: Path, error: str) -> None:
    """https://docs.influxdata.com/influxdb/v2/reference/syntax/annotated-csv/ (Errors) and the Flux specification."""
    with pytest.raises(DataError, match="InfluxDB says: Failed to parse query, 897"):
        read_history(write(tmp_path, error))


def test_the_shell_of_influxql_writes_a_header_for_each_series(tmp_path: Path) -> None:
    history = read_history(write(tmp_path, CLI), target="mean")
    assert history.device == ["a", "b", "a"]
    assert history.values[:, 0].tolist() == [20.5, 5, 20.75]
    assert history.at.tolist() == [1767225600.0, 1767225600.0, 1767225660.0]
    assert read_history(tmp_path, target="mean", device_column="room").device == ["north, left", "south", "north, left"]


def test_the_answer_of_influxql_over_http_is_read_alike(tmp_path: Path) -> None:
    history = read_history(write(tmp_path, f'{HTTP}cpu,"host=server01,region=uswest",60\n'))  # cut off
    assert (history.features, history.device) == (("cpu",), ["server01", "server01"])
    assert history.values[:, 0].tolist() == [2.5, 5]


def test_names_and_nanoseconds_are_influxql_and_names_with_other_times_are_not(tmp_path: Path) -> None:
    rows = "hall,1767225600000000000,a,true,20\nhall,1767225660000000000,a,false,21\n"
    influx = read_history(write(tmp_path, f"name,time,device,lit,temperature\n{rows}"))
    assert (influx.device, influx.features) == (["a", "a"], ("temperature",))
    plain = read_history(write(tmp_path, "name,time,temperature\nhall,1767225600,20\nyard,1767225600,5\n"))
    assert plain.device == ["hall", "yard"]


CELLS = (
    *("", "#group", "#datatype", "#default", "result", "table", "name", "tags", "time", "_time", "_value", "_field"),
    *("_measurement", "device", "error", "reference", "1767225600000000000", "a=b,c", "4.5", "true", "x", "\\"),
)


@given(st.lists(st.lists(st.sampled_from(CELLS), min_size=1, max_size=6), max_size=8))
def test_no_rows_break_the_reader(rows: list[list[str]]) -> None:
    read = [row for row in rows if any(row)]
    if is_influx(read[0] if read else [], read[1] if read[1:] else []):
        with suppress(DataError):
            history_of(Path("x.csv"), "", samples("x.csv", read), Choice())


def test_a_table_without_times_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="has no column '_time'"):
        read_history(write(tmp_path, DOCUMENTED.replace("_time", "hour")))
