"""Training: best weights restored, the same from a checkpoint, blind to the test part."""

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")

import torch

from forewarn.errors import SettingsError
from forewarn_training.data import Cut, prepare, scales
from forewarn_training.learner import tutorial
from forewarn_training.model import Network, NetworkSpec
from forewarn_training.trainer import Course, Recipe, Trainer
from tests.training.sensors import history, wave


def trainer_of(recipe: Recipe, *, units: int = 4, dropout: float = 0.0, horizon: int = 3) -> Trainer:
    data = prepare(history(Path("a.csv"), wave(400)), Cut(10, horizon))
    torch.manual_seed(recipe.seed)
    network = Network(NetworkSpec(10, 1, 0, horizon, units=units, dropout=dropout))
    for own, found in zip((network.input_scale, network.output_scale), scales(data.training), strict=True):
        own.copy_(torch.from_numpy(found))
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
    scaled, _, _ = network.normalise(torch.from_numpy(data.training.values[None, :, :]))
    assert (float(scaled.min()), float(scaled.max())) == (0, 1)


def test_the_tutorials_loss_is_the_squared_error_of_all_leads_alike() -> None:
    trainer = trainer_of(tutorial(Recipe(), 3))
    rows = torch.arange(20)
    part, network = trainer.training, trainer.network
    _, origin, unit = network.normalise(torch.from_numpy(part.inputs(rows.numpy())))
    wanted = (torch.from_numpy(part.targets(rows.numpy())) - origin) / unit
    said = (network(torch.from_numpy(part.inputs(rows.numpy()))) - origin) / unit
    assert trainer._loss(part, rows).item() == pytest.approx(((said - wanted) ** 2).mean().item(), rel=1e-4)
