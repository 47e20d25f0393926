"""Training: best weights restored, the same from a checkpoint, blind to the test part."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")

import torch

from forewarn.errors import SettingsError
from forewarn_training.data import Cut, prepare
from forewarn_training.learner import tutorial
from forewarn_training.model import Network, NetworkSpec, Outputs
from forewarn_training.trainer import Course, Recipe, Trainer
from tests.training.sensors import history, wave


def trainer_of(recipe: Recipe, *, units: int = 4, dropout: float = 0.0, horizon: int = 3) -> Trainer:
    data = prepare(history(Path("a.csv"), wave(400)), Cut(10, horizon))
    torch.manual_seed(recipe.seed)
    network = Network(NetworkSpec(10, 1, 0, horizon, units=units, dropout=dropout))
    network.take_scales(data.training)
    return Trainer(network, data.training, data.validation, recipe)


def weights(network: Network) -> bytes:
    return b"".join(value.numpy().tobytes() for value in network.state_dict().values())


def test_training_learns() -> None:
    course = trainer_of(Recipe(epochs=20, batch_size=16, learning_rate=0.01), units=16).run()
    assert course.validation_loss[course.best_epoch] < 0.7 * course.validation_loss[0]


def test_the_same_seed_gives_the_same_weights_and_another_one_others() -> None:
    trained = []
    for seed in (1, 1, 2):
        trainer = trainer_of(Recipe(epochs=2, seed=seed), dropout=0.2)
        trainer.run()
        trained.append(weights(trainer.network))
    assert trained[0] == trained[1] != trained[2]


def test_early_stopping_restores_the_best_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    trainer = trainer_of(Recipe(epochs=20, patience=3))
    losses = iter([3.0, 1.0, 2.0, 1.0, 2.0, 0.1])
    seen: list[bytes] = []

    def validate() -> float:
        seen.append(weights(trainer.network))
        return next(losses)

    monkeypatch.setattr(trainer, "_validate", validate)
    course = trainer.run()
    assert course.validation_loss == [3.0, 1.0, 2.0, 1.0, 2.0]
    assert course.best_epoch == 1
    assert weights(trainer.network) == seen[1] != seen[-1]


def test_a_training_resumed_after_an_interrupt_ends_with_the_same_weights(tmp_path: Path) -> None:
    recipe = Recipe(epochs=6, batch_size=32)
    whole = trainer_of(recipe, dropout=0.2)
    expected = whole.run()

    def interrupt(course: Course) -> None:
        if len(course.training_loss) == 3:
            raise KeyboardInterrupt

    path = tmp_path / "half.pt"
    with pytest.raises(KeyboardInterrupt):
        trainer_of(recipe, dropout=0.2).run(checkpoint=path, on_epoch=interrupt)
    torch.manual_seed(99)
    resumed = trainer_of(recipe, dropout=0.2)
    resumed.resume(path)
    assert resumed.run(checkpoint=path) == expected
    assert weights(resumed.network) == weights(whole.network)
    assert [p.name for p in tmp_path.iterdir()] == ["half.pt"]


def test_resuming_what_is_finished_trains_no_more(tmp_path: Path) -> None:
    recipe = Recipe(epochs=2)
    done = trainer_of(recipe)
    done.run(checkpoint=tmp_path / "a.pt")
    again = trainer_of(recipe)
    again.resume(tmp_path / "a.pt")
    batches: list[int] = []
    again.run(on_batch=batches.append)
    assert not batches
    assert weights(again.network) == weights(done.network)


def test_a_checkpoint_of_another_training_is_refused(tmp_path: Path) -> None:
    trainer_of(Recipe(epochs=1)).run(checkpoint=tmp_path / "a.pt")
    with pytest.raises(SettingsError, match="units 4 there, 5 here"):
        trainer_of(Recipe(epochs=1), units=5).resume(tmp_path / "a.pt")
    with pytest.raises(SettingsError, match="epochs 1 there, 9 here"):
        trainer_of(Recipe(epochs=9)).resume(tmp_path / "a.pt")


@pytest.mark.parametrize("content", [b"", b"nothing of the kind", None])
def test_what_is_no_checkpoint_is_refused(tmp_path: Path, content: bytes | None) -> None:
    if content is not None:
        (tmp_path / "a.pt").write_bytes(content)
    with pytest.raises(SettingsError, match="without --resume"):
        trainer_of(Recipe(epochs=1)).resume(tmp_path / "a.pt")


def test_gradients_are_clipped(monkeypatch: pytest.MonkeyPatch) -> None:
    norms: list[float] = []
    step = torch.optim.AdamW.step

    def watched(self: torch.optim.AdamW, closure: None = None) -> object:
        squares = [float((p.grad**2).sum()) for group in self.param_groups for p in group["params"]]
        norms.append(float(np.sqrt(sum(squares))))
        return step(self, closure)

    monkeypatch.setattr(torch.optim.AdamW, "step", watched)
    trainer_of(Recipe(epochs=1, clip=0.01)).run()
    assert max(norms) <= 0.01 * 1.001


def test_lead_one_has_its_share_of_the_loss() -> None:
    trainer = trainer_of(Recipe(lead_one=0.5), horizon=3)
    assert trainer._lead_weights.tolist() == [0.5, 0.25, 0.25]
    assert trainer_of(Recipe(lead_one=0.5), horizon=1)._lead_weights.tolist() == [1.0]


def test_the_tutorials_recipe_keeps_its_rate_and_resumes_to_the_same_weights(tmp_path: Path) -> None:
    recipe = tutorial(Recipe(epochs=3, learning_rate=1e-3), 3)
    whole = trainer_of(recipe)
    whole.run()
    assert whole._optimizer.param_groups[0]["lr"] == 1e-3
    stopped = trainer_of(recipe)
    stopped._epoch(lambda _: None)
    stopped.save(tmp_path / "t.pt")
    resumed = trainer_of(recipe)
    resumed.resume(tmp_path / "t.pt")
    resumed.run()
    assert weights(resumed.network) == weights(whole.network)


def test_the_tutorials_scaling_is_the_range_of_the_training_part() -> None:
    data = prepare(history(Path("a.csv"), np.arange(400.0)), Cut(10, 3))
    network = Network(NetworkSpec(10, 1, 0, 3, level=True))
    network.take_scales(data.training)
    scaled = network.normalise(torch.from_numpy(data.training.values[None, :, :]), torch.ones(1)).inputs
    assert (float(scaled.min()), float(scaled.max())) == (0, 1)


def test_the_tutorials_loss_is_the_squared_error_of_all_leads_alike() -> None:
    trainer = trainer_of(replace(tutorial(Recipe(), 3), block_weight=0.0))
    rows = torch.arange(20)
    part, network = trainer.training, trainer.network
    windows, spread = torch.from_numpy(part.inputs(rows.numpy())), torch.from_numpy(part.spreads(rows.numpy()))
    _, _, origin, unit, _ = network.normalise(windows, spread)
    wanted = (torch.from_numpy(part.targets(rows.numpy())) - origin) / unit
    said = (network(windows, spread).path - origin) / unit
    assert trainer._loss(part, rows).item() == pytest.approx(((said - wanted) ** 2).mean().item(), rel=1e-4)


def test_the_loss_of_blocks_is_the_students_t_likelihood_of_those_that_are_there() -> None:
    trainer = trainer_of(Recipe())
    with torch.no_grad():
        trainer._tails.copy_(torch.tensor([0.5, 3.0]))
    mean, log_scale = torch.tensor([[0.0, 1.0], [0.5, -1.0]]), torch.tensor([[0.0, 0.5], [-1.0, 1.0]])
    wanted = torch.tensor([[0.3, torch.nan], [2.0, -4.0]])
    freedom = 2 + torch.nn.functional.softplus(trainer._tails)
    surprise = -torch.distributions.StudentT(freedom, mean, log_scale.exp()).log_prob(wanted.nan_to_num())  # type: ignore[no-untyped-call] # torch publishes no type for it
    found = trainer._block_loss(Outputs(mean, mean, log_scale), wanted)
    assert found.item() == pytest.approx(surprise[[0, 1, 1], [0, 0, 1]].mean().item(), rel=1e-5)
    assert trainer._block_loss(Outputs(mean, mean, log_scale), torch.full((2, 2), torch.nan)).item() == 0


def test_blocks_and_their_errors_are_learnt() -> None:
    data = prepare(history(Path("a.csv"), wave(3000)), Cut(24, 3))
    torch.manual_seed(0)
    network = Network(NetworkSpec(24, 1, 0, 3, units=16))
    network.take_scales(data.training)
    Trainer(network, data.training, data.validation, Recipe(epochs=12, learning_rate=0.01, block_weight=0.3)).run()
    part = data.test
    with torch.no_grad():
        said = network(torch.from_numpy(part.inputs()), torch.from_numpy(part.spreads()))
    wanted = part.block_targets()
    away = np.abs(said.block_mean.numpy() - wanted)
    naive = np.abs(part.inputs()[:, -1] - wanted)
    assert (np.nanmean(away, axis=0) < 0.4 * np.nanmean(naive, axis=0)).all()
    in_errors = np.nanmean(away / said.block_log_scale.exp().numpy(), axis=0)
    assert ((in_errors > 0.4) & (in_errors < 1.6)).all()


def test_a_batch_without_any_whole_block_still_trains() -> None:
    data = prepare(history(Path("a.csv"), wave(120)), Cut(10, 3))
    assert not np.isfinite(data.validation.block_targets()).any()
    network = Network(NetworkSpec(10, 1, 0, 3, units=4))
    network.take_scales(data.training)
    course = Trainer(network, data.training, data.validation, Recipe(epochs=2)).run()
    assert np.isfinite(course.validation_loss).all()


def test_a_network_that_scales_each_window_cares_for_neither_level_nor_unit() -> None:
    network = Network(NetworkSpec(16, 1, 0, 3, units=8, per_window=True))
    window = torch.from_numpy(np.random.default_rng(0).normal(size=(5, 16, 1)).astype(np.float32))
    spread = torch.linspace(0.5, 30, 5)
    with torch.no_grad():
        plain, moved = network(window, spread), network(1000 * window + 4000, 1000 * spread)
    assert moved.path == pytest.approx(1000 * plain.path + 4000, rel=1e-3, abs=5)
    assert moved.block_mean == pytest.approx(1000 * plain.block_mean + 4000, rel=1e-3, abs=5)
    assert moved.block_log_scale == pytest.approx(plain.block_log_scale + np.log(1000), abs=0.02)


def test_a_calm_window_is_scaled_by_a_share_of_the_spread() -> None:
    network = Network(NetworkSpec(4, 1, 0, 1, units=2, per_window=True))
    window = torch.tensor([[[1.0], [3.0], [1.0], [2.0]]])
    variance = 11 / 16
    for spread in (0.0, 1.0, 100.0):
        found = network.normalise(window, torch.tensor([spread]))
        scale = np.sqrt(variance + (0.05 * spread) ** 2)
        assert found.unit.item() == pytest.approx(scale, rel=1e-4)
        relative, steps = found.inputs[0].T.tolist()
        assert relative == pytest.approx([-1 / scale, 1 / scale, -1 / scale, 0], rel=1e-4)
        assert steps == pytest.approx([0, 2 / scale, -2 / scale, 1 / scale], rel=1e-4)
        assert found.context is not None
        ratio = np.log10(scale / spread + 1e-3) if spread else 2.0
        assert found.context.item() == pytest.approx(min(ratio, 2), abs=1e-3)


@pytest.mark.parametrize("per_window", [False, True])
def test_the_blocks_move_the_hidden_state_only_where_each_window_has_its_own_scale(per_window: bool) -> None:
    network = Network(NetworkSpec(8, 1, 0, 3, units=4, per_window=per_window))
    window = torch.from_numpy(np.random.default_rng(0).normal(size=(5, 8, 1)).astype(np.float32))
    said = network.scaled_outputs(network.normalise(window, torch.ones(5)))
    (said.block_mean.sum() + said.block_log_scale.sum()).backward()  # type: ignore[no-untyped-call] # as in the trainer
    moved = [weight.grad is not None for weight in network.recurrent.parameters()]
    assert moved == [per_window] * len(moved)
    assert network.head.weight.grad is not None
