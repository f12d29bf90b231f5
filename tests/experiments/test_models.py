import math
from types import SimpleNamespace

import pytest
import torch
from images import DigitsDataModule
from lightning import Trainer, seed_everything
from models import LitClassifier, ResNet18, SmallCNN, warmup_cosine
from torch.nn import functional

pytestmark = [
    # Lightning advises more loader processes; images in memory are faster without.
    pytest.mark.filterwarnings("ignore:.*does not have many workers"),
    # The loggerless trainer of these tests has nothing to log at an interval.
    pytest.mark.filterwarnings("ignore:.*smaller than the logging interval"),
]


def fit(module, data, max_epochs=1, **kwargs):
    quiet = {
        "logger": False,
        "enable_checkpointing": False,
        "enable_progress_bar": False,
        "enable_model_summary": False,
        "accelerator": "cpu",
        "deterministic": True,
    }
    trainer = Trainer(max_epochs=max_epochs, **{**quiet, **kwargs})
    trainer.fit(module, datamodule=data)
    return trainer


def digits_classifier(**kwargs):
    return LitClassifier(in_channels=1, **kwargs)


class TestNetworks:
    def test_resnet18_has_the_parameters_of_its_cifar_form(self):
        assert sum(p.numel() for p in ResNet18().parameters()) == 11_173_962

    def test_resnet18_keeps_the_stem_at_full_size(self):
        images = torch.zeros(2, 3, 32, 32)
        network = ResNet18()
        assert network.stem(images).shape == (2, 64, 32, 32)
        assert network.blocks(network.stem(images)).shape == (2, 512, 4, 4)

    def test_resnet18_adds_its_shortcuts(self):
        network = ResNet18().eval()
        for block in network.blocks:
            torch.nn.init.zeros_(block.body[2][1].weight)
        images = torch.randn(2, 64, 8, 8)
        assert torch.equal(network.blocks[0](images), images.relu())

    @pytest.mark.parametrize("network", [ResNet18, SmallCNN])
    @pytest.mark.parametrize("shape", [(1, 8, 8), (3, 32, 32)])
    def test_takes_the_images_of_both_datasets(self, network, shape):
        model = network(in_channels=shape[0], num_classes=7)
        assert model(torch.zeros(2, *shape)).shape == (2, 7)

    def test_small_cnn_grows_with_its_width(self):
        n_parameters = [sum(p.numel() for p in SmallCNN(width=w).parameters()) for w in (24, 48)]
        # By hand, width w: 9 (3 w + 2 w² + 8 w²) + 2 (w + 2 w + 4 w) + 10 · 4 w + 10.
        assert n_parameters == [90 * w * w + 81 * w + 10 for w in (24, 48)]


class TestWarmupCosine:
    @pytest.mark.parametrize(
        ("step", "n_steps", "share"),
        [
            (0, 100, 0.1),
            (4, 100, 0.5),
            (9, 100, 1.0),
            (10, 100, 1.0),
            (55, 100, 0.5),
            (100, 100, 0.0),
            (140, 100, 0.0),
            (0, 1, 1.0),
            (1, 1, 1.0),
        ],
    )
    def test_goes_up_then_down(self, step, n_steps, share):
        assert warmup_cosine(step, n_steps) == pytest.approx(share)

    def test_reaches_the_end_of_training(self):
        module = digits_classifier(lr=0.02)
        trainer = fit(module, DigitsDataModule(train_size=200, batch_size=10), max_epochs=2)
        assert trainer.global_step == 40
        schedule = trainer.lr_scheduler_configs[0].scheduler
        assert schedule.last_epoch == 40
        assert schedule.get_last_lr()[0] == pytest.approx(0, abs=1e-9)


class TestLitClassifier:
    @pytest.mark.parametrize(
        ("model_name", "optimizer", "lr", "n_steps"),
        [
            ("small_cnn", "sgd", 0.05, 30),
            ("small_cnn", "adamw", 0.01, 30),
            ("resnet18", "sgd", 0.05, 10),
        ],
    )
    def test_fits_one_batch(self, model_name, optimizer, lr, n_steps):
        seed_everything(0, verbose=False)
        module = digits_classifier(model_name=model_name, optimizer=optimizer, lr=lr)
        images, labels = torch.randn(16, 1, 8, 8), torch.arange(16) % 10
        module.trainer = SimpleNamespace(estimated_stepping_batches=n_steps)
        module.log = lambda *args, **kwargs: None
        setup = module.configure_optimizers()
        for _ in range(n_steps):
            setup["optimizer"].zero_grad()
            loss = module.training_step((images, labels), 0)
            loss.backward()
            setup["optimizer"].step()
            setup["lr_scheduler"]["scheduler"].step()
        assert loss.item() < 0.1

    def test_logs_what_it_says(self):
        seed_everything(1, verbose=False)
        data = DigitsDataModule()
        module = digits_classifier(optimizer="adamw", lr=0.01)
        trainer = fit(module, data, max_epochs=3)
        logged = {name: float(value) for name, value in trainer.callback_metrics.items()}
        assert set(logged) == {"train_loss", "val_loss", "val_acc"}

        val = data._splits["val"]
        with torch.no_grad():
            logits = module.eval()(data.normalise(val.images))
        right = (logits.argmax(1) == val.labels).float().mean().item()
        assert logged["val_acc"] == pytest.approx(right)
        loss = functional.cross_entropy(logits, val.labels).item()
        assert logged["val_loss"] == pytest.approx(loss, rel=1e-4)
        assert right > 0.9

        [tested] = trainer.test(module, data, verbose=False)
        test = data._splits["test"]
        with torch.no_grad():
            logits = module.eval()(data.normalise(test.images))
        assert tested["test_acc"] == pytest.approx(
            (logits.argmax(1) == test.labels).float().mean().item()
        )

    def test_is_a_function_of_the_seed(self):
        losses = []
        for seed in (5, 5, 6):
            seed_everything(seed, workers=True, verbose=False)
            module = digits_classifier()
            trainer = fit(module, DigitsDataModule(train_size=256))
            losses.append(
                (float(trainer.callback_metrics["train_loss"]), module.network.head.weight.detach())
            )
        assert losses[0][0] == losses[1][0]
        assert torch.equal(losses[0][1], losses[1][1])
        assert losses[0][0] != losses[2][0]

    def test_smooths_training_labels_only(self):
        module = digits_classifier(label_smoothing=0.3).eval()
        logged = {}
        module.log = lambda name, value, **kwargs: logged.update({name: value})
        module.log_dict = lambda scores, **kwargs: logged.update(scores)
        images, labels = torch.randn(8, 1, 8, 8), torch.arange(8)
        log_p = module(images).log_softmax(1)
        plain = -log_p[torch.arange(8), labels].mean()
        smooth = 0.7 * plain - 0.3 * log_p.mean()
        assert torch.allclose(module.training_step((images, labels), 0), smooth)
        module.validation_step((images, labels), 0)
        assert torch.allclose(logged["train_loss"], smooth)
        assert torch.allclose(logged["val_loss"], plain)

    def test_hands_its_arguments_to_sgd(self):
        module = digits_classifier(lr=0.3, momentum=0.7, weight_decay=0.01)
        group = self.optimizer(module, torch.optim.SGD).param_groups[0]
        assert (group["initial_lr"], group["momentum"], group["weight_decay"]) == (0.3, 0.7, 0.01)
        assert group["nesterov"]
        plain = self.optimizer(digits_classifier(momentum=0.0), torch.optim.SGD)
        assert not plain.param_groups[0]["nesterov"]

    def test_hands_its_arguments_to_adamw(self):
        module = digits_classifier(optimizer="adamw", lr=0.3, momentum=0.7, weight_decay=0.01)
        group = self.optimizer(module, torch.optim.AdamW).param_groups[0]
        assert (group["initial_lr"], group["betas"], group["weight_decay"]) == (
            0.3,
            (0.7, 0.999),
            0.01,
        )

    def optimizer(self, module, kind):
        module.trainer = SimpleNamespace(estimated_stepping_batches=10)
        optimizer = module.configure_optimizers()["optimizer"]
        assert type(optimizer) is kind
        parameters = {id(p) for group in optimizer.param_groups for p in group["params"]}
        assert parameters == {id(p) for p in module.parameters()}
        return optimizer

    def test_needs_an_end(self):
        module = digits_classifier()
        module.trainer = SimpleNamespace(estimated_stepping_batches=math.inf)
        with pytest.raises(ValueError, match="max_epochs"):
            module.configure_optimizers()

    def test_trains_in_half_precision(self):
        trainer = fit(digits_classifier(), DigitsDataModule(train_size=128), precision="bf16-true")
        assert math.isfinite(float(trainer.callback_metrics["val_loss"]))

    def test_leaves_plain_checkpoints(self, tmp_path):
        module = digits_classifier(lr=0.02, optimizer="adamw")
        trainer = fit(module, DigitsDataModule(train_size=128))
        path = tmp_path / "module.ckpt"
        trainer.save_checkpoint(path)
        # What needs no code to load can be loaded by anybody.
        assert torch.load(path, weights_only=True)["hyper_parameters"]["lr"] == 0.02
        again = LitClassifier.load_from_checkpoint(path, weights_only=True)
        images = torch.randn(4, 1, 8, 8)
        assert torch.equal(again.eval()(images), module.eval()(images))

    @pytest.mark.parametrize(
        ("name", "value"),
        [
            ("optimizer", "adam"),
            ("model_name", "vgg"),
            ("lr", 0.0),
            ("lr", math.nan),
            ("momentum", 1.0),
            ("momentum", -0.1),
        ],
    )
    def test_refuses_values_out_of_range(self, name, value):
        with pytest.raises(ValueError, match=f"{name} must .*{value}"):
            LitClassifier(**{name: value})
