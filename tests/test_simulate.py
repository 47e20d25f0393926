"""The simulated fleet: deterministic, and its labels true."""

import csv
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from forewarn.errors import SettingsError
from forewarn.history import read_history
from forewarn.simulate import RECOVERY, USUAL_FAULTS, Fault, FaultLabel, FleetSpec, Simulation, simulate

SPEC = FleetSpec(n_device=8, duration_s=2 * 86_400.0, fault_every_s=7200.0)


def of(simulation: Simulation, device: str) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Times and values of one device."""
    mine = simulation.device == simulation.devices.index(device)
    return simulation.at[mine], simulation.value[mine]


def during(simulation: Simulation, label: FaultLabel) -> NDArray[np.float64]:
    """The values that a label covers."""
    at, value = of(simulation, label.device)
    return value[(at >= label.started_at) & (at <= label.ended_at)]


def test_the_same_seed_gives_the_same_bits_and_another_seed_does_not() -> None:
    first, second, other = simulate(SPEC), simulate(SPEC), simulate(replace(SPEC, seed=2))
    assert first.labels == second.labels
    assert first.at.tobytes() == second.at.tobytes()
    assert first.value.tobytes() == second.value.tobytes()
    assert first.value.tobytes() != other.value.tobytes()
    assert first.labels != other.labels


def test_a_device_does_not_depend_on_how_many_others_there_are() -> None:
    few = simulate(replace(SPEC, n_device=3, faults=()))
    many = simulate(replace(SPEC, n_device=30, faults=()))
    for device in few.devices:
        np.testing.assert_array_equal(of(few, device), of(many, device))


def test_readings_are_in_order_of_time_at_the_cadence_and_in_steps_of_the_resolution() -> None:
    simulation = simulate(replace(SPEC, faults=()))
    assert len(simulation) == SPEC.n_device * SPEC.n_step
    assert (np.diff(simulation.at) >= 0).all()
    for device in simulation.devices:
        at, value = of(simulation, device)
        np.testing.assert_allclose(np.diff(at), SPEC.cadence_s, atol=0.002)
        assert np.unique(value).size < 1000
        assert value.min() > -21.0
        assert value.max() < 27.0


def test_every_kind_of_fault_is_injected_after_the_warm_up_and_apart_from_the_next_on_its_device() -> None:
    simulation = simulate(SPEC)
    assert {label.kind for label in simulation.labels} == set(USUAL_FAULTS)
    assert all(label.started_at >= SPEC.start_at + SPEC.warm_up_s for label in simulation.labels)
    for device in simulation.devices:
        mine = [label for label in simulation.labels if label.device == device]
        for before, after in pairwise(mine):
            assert after.started_at >= before.ended_at + RECOVERY * SPEC.cadence_s


@pytest.mark.parametrize("kind", list(Fault))
def test_a_label_covers_what_the_fault_changed_and_nothing_else(kind: Fault) -> None:
    spec = replace(SPEC, faults=(kind,))
    faulty, sound = simulate(spec), simulate(replace(spec, faults=()))
    assert faulty.labels
    for device in faulty.devices:
        at, value = of(sound, device)
        inside = np.zeros(len(at), np.bool_)
        for label in faulty.labels:
            if label.device == device:
                inside |= (at >= label.started_at) & (at <= label.ended_at)
        kept, readings = of(faulty, device)
        if kind is Fault.SILENCE:
            np.testing.assert_array_equal(kept, at[~inside])
            np.testing.assert_array_equal(readings, value[~inside])
        else:
            np.testing.assert_array_equal(kept, at)
            np.testing.assert_array_equal(readings[~inside], value[~inside])


def test_each_fault_is_what_its_name_says() -> None:
    faulty, sound = simulate(SPEC), simulate(replace(SPEC, faults=()))
    for label in faulty.labels:
        values = during(faulty, label)
        if label.kind is Fault.SILENCE:
            assert len(values) == 0
            continue
        if label.kind is Fault.STUCK:
            assert len(values) >= 40
            assert len(set(values.tolist())) == 1
            continue
        away = np.abs(values - during(sound, label))
        peak = int(away.argmax())
        if label.kind is Fault.SPIKE:
            assert len(away) <= 3
            assert away.min() > 3.9
        elif label.kind is Fault.LEVEL_SHIFT:
            assert len(away) >= 25
            assert away.min() > 2.9
            assert away.max() - away.min() <= 0.11  # the coarsest resolution
        else:
            assert away.max() > 7.0
            assert (np.diff(away[: peak + 1]) > 0).all()
            assert (np.diff(away[peak:]) <= 0).all()


def test_the_faults_that_need_limits_are_what_their_names_say() -> None:
    kinds = (Fault.EXCURSION, Fault.UNIT_CHANGE, Fault.APPROACH)
    faulty, sound = simulate(replace(SPEC, faults=kinds)), simulate(replace(SPEC, faults=()))
    assert {label.kind for label in faulty.labels} == set(kinds)
    for label in faulty.labels:
        values, before = during(faulty, label), during(sound, label)
        if label.kind is Fault.UNIT_CHANGE:
            np.testing.assert_allclose(values, 1.8 * before + 32.0, atol=0.2)
        elif label.kind is Fault.EXCURSION:
            assert np.abs(values - before).min() > 59.0
        else:
            assert (np.diff(values - before) >= -0.11).all()
            assert 7.5 < values[-1] - before[-1] < 14.2


def test_the_size_scales_the_faults() -> None:
    spec = replace(SPEC, faults=(Fault.LEVEL_SHIFT,))
    one, half = simulate(spec), simulate(replace(spec, size=0.5))
    sound = simulate(replace(spec, faults=()))
    assert one.labels == half.labels
    np.testing.assert_allclose(half.value - sound.value, (one.value - sound.value) / 2, atol=0.11)


def test_the_csv_can_be_read_as_history_and_the_truth_lies_beside_it(tmp_path: Path) -> None:
    simulation = simulate(SPEC)
    simulation.write_csv(tmp_path / "fleet.csv")
    simulation.write_truth(tmp_path / "truth.csv")
    history = read_history(tmp_path / "fleet.csv")
    assert history.target == "temperature"
    assert history.device == [simulation.devices[i] for i in simulation.device]
    np.testing.assert_allclose(history.at, simulation.at, atol=5e-4)
    np.testing.assert_array_equal(history.values[:, 0], simulation.value)
    with (tmp_path / "truth.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert [row["kind"] for row in rows] == [label.kind for label in simulation.labels]
    assert list(rows[0]) == ["device", "metric", "kind", "started_at", "ended_at"]


def test_a_spec_that_cannot_be_simulated_is_refused_by_name() -> None:
    with pytest.raises(SettingsError, match="n_device is 0"):
        FleetSpec(n_device=0)
    with pytest.raises(SettingsError, match="cadence_s is 0"):
        FleetSpec(cadence_s=0.0)
