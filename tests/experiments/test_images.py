import http.server
import os
import pickle
import struct
import subprocess
import sys
import tarfile
import threading
from hashlib import md5
from pathlib import Path
from types import SimpleNamespace

import images
import numpy as np
import pytest
import torch
from images import CIFAR10DataModule, DatasetError, DigitsDataModule, crop, read_batch
from ray import cloudpickle
from torch.utils.data import DataLoader, TensorDataset

N = 20


class TinyCIFAR10(CIFAR10DataModule):
    images_per_file = N

    def __init__(self, data_dir=None, train_size=5, val_size=4, batch_size=1, split_seed=0):
        super().__init__(data_dir, train_size, val_size, batch_size, split_seed=split_seed)


def batch_bytes(data: np.ndarray, labels: list[int]) -> bytes:
    """The opcodes of the published files: Python 2, protocol 2, byte strings."""
    raw = data.tobytes()
    parts = [b"\x80\x02}(U\x0bbatch_labelU\x07batch 1U\x06labels]("]
    parts += [b"K" + bytes([label]) for label in labels]
    parts += [
        b"eU\x04datacnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\nK\x00\x85U\x01btR"
    ]
    parts += [b"(K\x01J", struct.pack("<i", data.shape[0]), b"J", struct.pack("<i", data.shape[1])]
    parts += [b"\x86cnumpy\ndtype\nU\x02u1K\x00K\x01\x87R(K\x03U\x01|NNNJ\xff\xff\xff\xff"]
    parts += [b"J\xff\xff\xff\xffK\x00tb\x89T", struct.pack("<i", len(raw)), raw, b"tbu."]
    return b"".join(parts)


def random_batch(file_number: int) -> tuple[np.ndarray, list[int]]:
    rng = np.random.default_rng(file_number)
    data = rng.integers(0, 256, (N, 3072), dtype=np.uint8)
    # The first two bytes say which image of which file it is.
    data[:, 0], data[:, 1] = file_number, np.arange(N)
    return data, [int(label) for label in rng.integers(0, 10, N)]


def identities(batch_images: torch.Tensor) -> list[tuple[int, int]]:
    return [(int(image[0, 0, 0]), int(image[0, 0, 1])) for image in batch_images]


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / "cifar-10-batches-py"
    folder.mkdir()
    for i in range(1, 6):
        (folder / f"data_batch_{i}").write_bytes(batch_bytes(*random_batch(i)))
    (folder / "test_batch").write_bytes(batch_bytes(*random_batch(6)))
    return folder


def split(data, name):
    data.setup("test" if name == "test" else "fit")
    return data._splits[name]


class TestReadBatch:
    def test_puts_bytes_where_the_layout_says(self, folder):
        data, labels = random_batch(1)
        pixels, classes = read_batch(folder / "data_batch_1", N)
        assert pixels.shape == (N, 3, 32, 32)
        assert pixels.dtype == torch.uint8
        for image, channel, row, column in [(0, 0, 0, 1), (3, 1, 7, 30), (N - 1, 2, 31, 31)]:
            expected = data[image, channel * 1024 + row * 32 + column]
            assert pixels[image, channel, row, column] == expected
        assert classes.tolist() == labels
        assert classes.dtype == torch.int64

    def test_reads_a_batch_that_a_newer_numpy_saved_again(self, tmp_path):
        data, labels = random_batch(1)
        path = tmp_path / "data_batch_1"
        path.write_bytes(pickle.dumps({b"data": data, b"labels": labels}, protocol=4))
        assert torch.equal(read_batch(path, N)[0].flatten(1), torch.from_numpy(data))

    def test_calls_nothing_a_pickle_asks_for(self, tmp_path):
        trace = tmp_path / "trace"
        path = tmp_path / "data_batch_1"
        path.write_bytes(b"cos\nsystem\n(U" + bytes([len(f"touch {trace}")]))
        path.write_bytes(path.read_bytes() + f"touch {trace}".encode() + b"tR.")
        with pytest.raises(DatasetError, match=r"data_batch_1.*os\.system"):
            read_batch(path, N)
        assert not trace.exists()
        # The file does what it says to an unpickler that lets it.
        pickle.loads(path.read_bytes(), encoding="bytes")
        assert trace.exists()

    @pytest.mark.parametrize(
        "name", ["numpy.core.multiarray fromstring", "numpy load", "builtins eval", "images Path"]
    )
    def test_refuses_names_beyond_the_list(self, tmp_path, name):
        path = tmp_path / "data_batch_1"
        path.write_bytes(f"c{name.replace(' ', chr(10))}\n.".encode())
        with pytest.raises(DatasetError, match=name.replace(" ", r"\.")):
            read_batch(path, N)

    @pytest.mark.parametrize(
        "content",
        [
            batch_bytes(*random_batch(1))[:-2000],
            b"",
            b"<html>not found</html>",
            batch_bytes(random_batch(1)[0][:-1], random_batch(1)[1][:-1]),
            batch_bytes(random_batch(1)[0], random_batch(1)[1][:-1]),
            batch_bytes(random_batch(1)[0], [10] * N),
            pickle.dumps({b"label_names": [b"airplane"], b"num_vis": 3072}),
            pickle.dumps([1, 2]),
            pickle.dumps({b"data": np.zeros((N, 3072)), b"labels": [0] * N}, protocol=4),
        ],
        ids=["short", "empty", "html", "image", "label", "range", "meta", "list", "floats"],
    )
    def test_names_a_broken_file(self, tmp_path, content):
        path = tmp_path / "data_batch_3"
        path.write_bytes(content)
        with pytest.raises(DatasetError, match=r"data_batch_3.*unpack https://"):
            read_batch(path, N)


class TestCIFAR10Split:
    def test_ignores_the_global_seed(self, folder):
        torch.manual_seed(1)
        first = split(TinyCIFAR10(folder), "val")
        torch.manual_seed(2)
        torch.rand(3)
        second = split(TinyCIFAR10(folder), "val")
        assert identities(first.images) == identities(second.images)

    def test_leaves_the_global_generator_alone(self, folder):
        torch.manual_seed(1)
        before = torch.get_rng_state()
        TinyCIFAR10(folder).setup("fit")
        assert torch.equal(torch.get_rng_state(), before)

    def test_follows_the_split_seed(self, folder):
        zero = split(TinyCIFAR10(folder), "val")
        one = split(TinyCIFAR10(folder, split_seed=1), "val")
        assert identities(zero.images) != identities(one.images)

    def test_more_training_images_are_added_to_the_same_ones(self, folder):
        small = TinyCIFAR10(folder, train_size=5)
        large = TinyCIFAR10(folder, train_size=60)
        assert identities(split(small, "val").images) == identities(split(large, "val").images)
        n_small = identities(split(small, "train").images)
        assert identities(split(large, "train").images)[:5] == n_small

    def test_uses_every_image_once(self, folder):
        data = CIFAR10DataModule.__new__(TinyCIFAR10)
        CIFAR10DataModule.__init__(data, folder, val_size=30, batch_size=1)
        used = identities(torch.cat([split(data, "train").images, split(data, "val").images]))
        assert data.train_size == 70
        assert sorted(used) == [(i, j) for i in range(1, 6) for j in range(N)]

    def test_labels_stay_with_their_images(self, folder):
        data = TinyCIFAR10(folder, train_size=60, val_size=30)
        labels = {i: random_batch(i)[1] for i in range(1, 7)}
        for name in ("train", "val", "test"):
            part = split(data, name)
            expected = [labels[file][image] for file, image in identities(part.images)]
            assert part.labels.tolist() == expected

    def test_keeps_the_test_batch_apart(self, folder):
        data = TinyCIFAR10(folder)
        assert identities(split(data, "test").images) == [(6, j) for j in range(N)]
        assert "train" not in data._splits

    @pytest.mark.parametrize("sizes", [(97, 4), (0, 4), (5, 0), (-1, 4)])
    def test_refuses_sizes_that_do_not_fit(self, sizes):
        with pytest.raises(ValueError, match="train_size"):
            TinyCIFAR10(train_size=sizes[0], val_size=sizes[1])

    @pytest.mark.parametrize("batch_size", [0, 6])
    def test_refuses_a_batch_size_without_a_batch(self, batch_size):
        with pytest.raises(ValueError, match=rf"batch_size={batch_size} .*train_size=5"):
            TinyCIFAR10(train_size=5, batch_size=batch_size)


class TestCIFAR10Files:
    def test_reads_only_what_the_sizes_need(self, folder):
        for name in ("data_batch_2", "data_batch_3", "data_batch_4", "data_batch_5", "test_batch"):
            (folder / name).unlink()
        assert len(split(TinyCIFAR10(folder, train_size=16, val_size=4), "train")) == 16

    def test_takes_the_folder_around_the_batches_too(self, folder):
        inside = split(TinyCIFAR10(folder), "train")
        around = split(TinyCIFAR10(str(folder.parent)), "train")
        assert torch.equal(inside.images, around.images)

    def test_names_the_missing_files_and_what_to_do(self, folder):
        (folder / "data_batch_2").unlink()
        (folder / "data_batch_4").unlink()
        with pytest.raises(DatasetError) as caught:
            TinyCIFAR10(folder, train_size=36, val_size=5).setup("fit")
        message = str(caught.value)
        assert "lacks data_batch_2," in message
        assert "data_batch_4" not in message
        assert str(folder) in message
        assert all(advice in message for advice in ("--data-dir", "--train-size", "digits"))

    def test_names_a_missing_test_batch(self, folder):
        (folder / "test_batch").unlink()
        with pytest.raises(DatasetError, match="test_batch"):
            TinyCIFAR10(folder).setup("test")

    def test_never_downloads_beside_a_data_dir(self, tmp_path, monkeypatch):
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
        TinyCIFAR10(tmp_path / "nothing").prepare_data()
        assert not (tmp_path / "cache").exists()


class Archive(http.server.BaseHTTPRequestHandler):
    content = b""

    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Length", str(len(self.content)))
        self.end_headers()
        self.wfile.write(self.content)

    def log_message(self, *args):
        pass


@pytest.fixture
def website(folder, tmp_path, monkeypatch):
    """The archive on a local server, and an empty cache; closes the server when asked."""
    archive = tmp_path / "archive.tar.gz"
    with tarfile.open(archive, "w:gz") as tar:
        tar.add(folder, arcname=folder.name)
    monkeypatch.setattr(Archive, "content", archive.read_bytes())
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Archive)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()

    def close():
        if thread.is_alive():
            server.shutdown()
            server.server_close()
            thread.join()

    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(images, "CIFAR10_URL", f"http://127.0.0.1:{server.server_port}/c.tar.gz")
    monkeypatch.setattr(images, "CIFAR10_MD5", md5(Archive.content).hexdigest())
    yield close
    close()


class TestDownload:
    def test_comes_once(self, website, folder):
        data = TinyCIFAR10()
        data.prepare_data()
        website()
        data.prepare_data()
        assert torch.equal(split(data, "train").images, split(TinyCIFAR10(folder), "train").images)

    def test_says_what_to_do_without_network(self, website):
        website()
        with pytest.raises(DatasetError, match=r"--data-dir.*--dataset digits"):
            TinyCIFAR10().prepare_data()

    def test_refuses_another_file(self, website, monkeypatch, tmp_path):
        monkeypatch.setattr(images, "CIFAR10_MD5", "0" * 32)
        with pytest.raises(DatasetError, match="hash"):
            TinyCIFAR10().prepare_data()
        assert not list((tmp_path / "cache").rglob("data_batch_1"))


class TestLoaders:
    def order(self, data, n_epochs=1):
        data.setup("fit")
        loader = data.train_dataloader()
        return [identities(torch.cat([batch for batch, _ in loader])) for _ in range(n_epochs)]

    def test_follow_the_global_seed_like_any_shuffling_loader(self, folder):
        data = TinyCIFAR10(folder, train_size=30, batch_size=5)
        torch.manual_seed(3)
        ours = self.order(data, 2)
        part = split(data, "train")
        torch.manual_seed(3)
        plain = DataLoader(TensorDataset(part.images, part.labels), batch_size=5, shuffle=True)
        theirs = [identities(torch.cat([batch for batch, _ in plain])) for _ in range(2)]
        assert ours == theirs
        assert ours[0] != ours[1]

    def test_go_on_alike_from_a_restored_generator(self, folder):
        data = TinyCIFAR10(folder, train_size=30, batch_size=5)
        torch.manual_seed(3)
        self.order(data)
        state = torch.get_rng_state()
        uninterrupted = self.order(data)
        torch.manual_seed(99)
        torch.set_rng_state(state)
        resumed = self.order(TinyCIFAR10(folder, train_size=30, batch_size=5))
        assert resumed == uninterrupted

    def test_pick_batches_without_touching_single_images(self, folder, monkeypatch):
        monkeypatch.delattr(images.ImageTensors, "__getitem__")
        data = TinyCIFAR10(folder, train_size=17, batch_size=5)
        data.setup("fit")
        batches = list(data.train_dataloader())
        assert [tuple(pixels.shape) for pixels, _ in batches] == [(5, 3, 32, 32)] * 3
        assert [tuple(labels.shape) for _, labels in batches] == [(5,)] * 3

    def test_evaluate_every_image_in_order(self, folder):
        data = TinyCIFAR10(folder, val_size=13)
        data.eval_batch_size = 5
        part = split(data, "val")
        loaded = [pixels for pixels, _ in data.val_dataloader()]
        assert [len(pixels) for pixels in loaded] == [5, 5, 3]
        assert torch.equal(torch.cat(loaded), part.images)


def slow_crop(pixels, top, left, mirrored, padding):
    """One pixel at a time."""
    out = np.zeros_like(pixels)
    n, n_channels, n_rows, n_columns = pixels.shape
    for i, c, y, x in np.ndindex(n, n_channels, n_rows, n_columns):
        row = y + top[i] - padding
        column = (n_columns - 1 - x if mirrored[i] else x) + left[i] - padding
        if 0 <= row < n_rows and 0 <= column < n_columns:
            out[i, c, y, x] = pixels[i, c, row, column]
    return out


class TestAugment:
    @pytest.mark.parametrize("padding", [0, 1, 4])
    def test_crop_equals_a_slow_reference(self, padding):
        rng = np.random.default_rng(padding)
        pixels = rng.integers(1, 256, (12, 3, 9, 7), dtype=np.uint8)
        top, left = rng.integers(0, 2 * padding + 1, (2, 12))
        mirrored = rng.random(12) < 0.5
        fast = crop(*map(torch.from_numpy, (pixels, top, left, mirrored)), padding)
        assert fast.shape == pixels.shape
        assert np.array_equal(fast.numpy(), slow_crop(pixels, top, left, mirrored, padding))

    @pytest.mark.parametrize("data", [DigitsDataModule(), TinyCIFAR10()])
    def test_draws_every_shift_and_flip_equally_often(self, data):
        side = 2 * data.padding + 1
        n_kinds = side * side * (2 if data.flip else 1)
        n = 400 * n_kinds
        # A mark left of the middle, of which neither shifting nor mirroring makes the same image.
        pixels = torch.zeros(n, 1, 16, 16, dtype=torch.uint8)
        pixels[:, :, 8, 7] = 1
        pixels[:, :, 8, 8] = 2
        torch.manual_seed(0)
        moved = data.augment(pixels)
        _, counts = torch.unique(moved.flatten(1), dim=0, return_counts=True)
        assert len(counts) == n_kinds
        # Pearson's chi-squared: mean n_kinds - 1, variance twice that.
        chi2 = float(((counts - 400) ** 2 / 400).sum())
        assert abs(chi2 - (n_kinds - 1)) < 5 * np.sqrt(2 * (n_kinds - 1))

    def test_moves_all_channels_together(self):
        pixels = torch.randint(256, (50, 1, 32, 32), dtype=torch.uint8).expand(-1, 3, -1, -1)
        moved = TinyCIFAR10().augment(pixels)
        assert torch.equal(moved[:, 0], moved[:, 1])
        assert torch.equal(moved[:, 0], moved[:, 2])
        assert not torch.equal(moved, pixels)

    def test_follows_the_seed(self):
        pixels = torch.randint(256, (50, 3, 32, 32), dtype=torch.uint8)
        draws = []
        for seed in (1, 1, 2):
            torch.manual_seed(seed)
            draws.append(TinyCIFAR10().augment(pixels))
        assert torch.equal(draws[0], draws[1])
        assert not torch.equal(draws[0], draws[2])

    def test_only_while_training(self):
        data = TinyCIFAR10()
        pixels = torch.randint(256, (50, 3, 32, 32), dtype=torch.uint8)
        labels = torch.arange(50)
        plain = data.normalise(pixels)
        for training in (False, True):
            data.trainer = SimpleNamespace(training=training)
            torch.manual_seed(0)
            batch, same_labels = data.on_after_batch_transfer((pixels, labels), 0)
            assert torch.equal(batch, plain) is not training
            assert torch.equal(same_labels, labels)
        torch.manual_seed(0)
        assert torch.equal(batch, data.normalise(data.augment(pixels)))


class TestNormalise:
    def test_uses_the_published_statistics(self):
        # Of the 50,000 training images, bytes divided by 255.
        mean = np.array([0.49140, 0.48216, 0.44653])
        std = np.array([0.24703, 0.24348, 0.26159])
        assert np.allclose(CIFAR10DataModule.mean, 255 * mean, atol=0.01)
        assert np.allclose(CIFAR10DataModule.std, 255 * std, atol=0.01)

    def test_treats_each_channel_by_its_own(self):
        pixels = torch.tensor([[[[0, 255]], [[100, 3]], [[7, 8]]]], dtype=torch.uint8)
        normal = TinyCIFAR10().normalise(pixels)
        assert normal.dtype == torch.float32
        assert normal[0, 1, 0, 0].item() == pytest.approx((100 - 122.95) / 62.09)
        assert normal[0, 2, 0, 1].item() == pytest.approx((8 - 113.87) / 66.70)

    def test_centres_the_digits(self):
        data = DigitsDataModule()
        every = torch.cat([split(data, name).images for name in ("train", "val", "test")])
        normal = data.normalise(every)
        assert normal.mean().item() == pytest.approx(0, abs=1e-3)
        assert normal.std().item() == pytest.approx(1, abs=1e-3)


class TestDigits:
    def test_splits_into_three(self):
        data = DigitsDataModule()
        parts = [split(data, name) for name in ("train", "val", "test")]
        assert [len(part) for part in parts] == [1000, 500, 297]
        assert parts[0].images.shape[1:] == data.image_shape
        assert int(parts[0].images.max()) == 16
        assert all(len(torch.unique(part.labels)) == 10 for part in parts)

    def test_keeps_pixels_and_labels_of_every_image(self):
        from sklearn.datasets import load_digits

        digits = load_digits()
        data = DigitsDataModule()
        parts = [split(data, name) for name in ("train", "val", "test")]
        ours = [
            (*image.flatten().tolist(), int(label))
            for part in parts
            for image, label in zip(part.images, part.labels, strict=True)
        ]
        theirs = [
            (*map(int, row), int(label))
            for row, label in zip(digits.data, digits.target, strict=True)
        ]
        assert sorted(ours) == sorted(theirs)

    def test_splits_alike_under_any_seed_and_size(self):
        torch.manual_seed(1)
        small = DigitsDataModule(train_size=64)
        torch.manual_seed(2)
        large = DigitsDataModule()
        for name in ("val", "test"):
            assert torch.equal(split(small, name).images, split(large, name).images)
        assert torch.equal(split(small, "train").images, split(large, "train").images[:64])
        other = DigitsDataModule(split_seed=1)
        assert not torch.equal(split(other, "val").images, split(large, "val").images)

    def test_refuses_more_than_there_are(self):
        with pytest.raises(ValueError, match="1500"):
            DigitsDataModule(train_size=1001)


def test_travels_to_a_process_without_this_folder(tmp_path):
    """As nodes do that have the packages, but not the experiments."""
    cloudpickle.register_pickle_by_value(images)
    try:
        data = DigitsDataModule()
        data.setup("fit")
        content = cloudpickle.dumps((DigitsDataModule, CIFAR10DataModule))
    finally:
        cloudpickle.unregister_pickle_by_value(images)
    assert len(content) < 100_000
    (tmp_path / "classes").write_bytes(content)
    script = (
        "import sys, pickle, importlib.util\n"
        "assert importlib.util.find_spec('images') is None\n"
        "digits, cifar = pickle.load(open('classes', 'rb'))\n"
        "data = digits(); data.setup('fit'); print(len(next(iter(data.train_dataloader()))[1]))\n"
        "try: cifar('nowhere').setup('fit')\n"
        "except RuntimeError as error: print(error)\n"
    )
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.startswith("64\n")
    assert "data_batch_1" in done.stdout
    assert Path(images.__file__).parent.name not in done.stdout
