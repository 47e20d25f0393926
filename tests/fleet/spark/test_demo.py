import re
import subprocess
import sys


def test_the_demonstration_tells_alerts_and_ends_by_itself() -> None:
    command = [sys.executable, "-m", "forewarn", "fleet", "demo", "--devices", "300", "--duration", "30"]
    done = subprocess.run([*command, "--speed", "400"], capture_output=True, text=True, check=False, timeout=240)
    assert done.returncode == 0, done.stderr
    first, *alerts, last = done.stdout.splitlines()
    assert re.match(r"300 sensors, \d+ readings a second for 30 s; the first of \d+ faults", first)
    found = re.fullmatch(r"(\d+) scored, (\d+) warming_up; 300 series, (\d+) alerts", last)
    assert found is not None, last
    assert int(found[1]) + int(found[2]) > 50_000
    assert len(alerts) >= int(found[3]) > 0
