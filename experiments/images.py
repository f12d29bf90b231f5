"""CIFAR-10 and scikit-learn's digits as Lightning data modules, without torchvision.

Images stay in memory as bytes and are picked, shifted, flipped and normalised a whole batch at a
time, so small models on a CPU do not wait for Python.
"""

from __future__ import annotations

import pickle
import tarfile
import tempfile
from abc import abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from filelock import FileLock
from jaxtyping import Bool, Float, Int64, UInt8
from lightning import LightningDataModule
from torch import Tensor
from torch.nn import functional
from torch.utils.data import DataLoader, Dataset

CIFAR10_URL = "https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz"
CIFAR10_MD5 = "c58f30108f718f92721af3b95e74349a"
CIFAR10_FOLDER = "cifar-10-batches-py"

Images = tuple[UInt8[Tensor, "n channel row column"], Int64[Tensor, " n"]]


class DatasetError(RuntimeError):
    """The images cannot be read; the message says which file and what to do."""


class ImageTensors(Dataset[tuple[Tensor, Tensor]]):
    """Images and labels in memory, of which a loader takes a whole batch by one indexing.

    Args:
        images: bytes, unnormalised.
        labels: class indices.
    """

    def __init__(
        self, images: UInt8[Tensor, "n channel row column"], labels: Int64[Tensor, " n"]
    ) -> None:
        self.images = images
        self.labels = labels

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        return self.images[index], self.labels[index]

    # DataLoader asks for this name first. A BatchSampler given as `sampler` would be as fast, but
    # Lightning replaces samplers under DDP, and batches would silently become single images.
    def __getitems__(self, indices: list[int]) -> Images:
        return self.images[indices], self.labels[indices]


def _as_it_is(batch: Images) -> Images:
    return batch


def crop(
    images: UInt8[Tensor, "n channel row column"],
    top: Int64[Tensor, " n"],
    left: Int64[Tensor, " n"],
    mirrored: Bool[Tensor, " n"],
    padding: int,
) -> UInt8[Tensor, "n channel row column"]:
    """Cut a window of the original size out of each zero-padded image, and mirror some of them.

    Args:
        images: bytes; zero is what surrounds them.
        top: first row of each window in the padded image, 0 … 2 · padding; ``padding`` is the
            middle.
        left: first column, likewise.
        mirrored: which windows are turned left to right.
        padding: pixels added at each of the four sides.
    """
    n, _, n_rows, n_columns = images.shape
    padded = functional.pad(images, (padding,) * 4)
    device = images.device
    rows = top[:, None] + torch.arange(n_rows, device=device)
    columns = left[:, None] + torch.arange(n_columns, device=device)
    columns = torch.where(mirrored[:, None], columns.flip(1), columns)
    image = torch.arange(n, device=device)
    picked = padded[image[:, None, None], :, rows[:, :, None], columns[:, None, :]]
    return picked.permute(0, 3, 1, 2)


class ImageDataModule(LightningDataModule):
    """Batches of images from memory, normalised, and moved about while training.

    The order of the training images comes from torch's global generator, as in any shuffling
    ``DataLoader``, and the augmentation from the generator of the batch's device; so both follow
    the run's seed. The split into training and validation images follows ``split_seed`` alone.
    """

    #: Mean and standard deviation of each channel, in the bytes' own units.
    mean: ClassVar[tuple[float, ...]]
    std: ClassVar[tuple[float, ...]]
    image_shape: ClassVar[tuple[int, int, int]]
    n_classes: ClassVar[int] = 10
    #: Pixels by which a training image moves at most, and whether it may be mirrored.
    padding: ClassVar[int]
    flip: ClassVar[bool]

    #: Evaluation only: it changes speed and memory, not the scores.
    eval_batch_size: ClassVar[int] = 250

    def __init__(
        self, train_size: int, val_size: int, batch_size: int, num_workers: int, split_seed: int
    ) -> None:
        super().__init__()
        if val_size < 1 or train_size < 1:
            raise ValueError(
                f"train_size={train_size} and val_size={val_size} must each be at least 1"
            )
        # Whole batches only, since batch normalisation refuses a last batch of one image.
        if not 1 <= batch_size <= train_size:
            raise ValueError(f"batch_size={batch_size} must be in 1 … train_size={train_size}")
        self.train_size = train_size
        self.val_size = val_size
        self.batch_size = batch_size
        self.num_workers = num_workers
        self.split_seed = split_seed
        self._splits: dict[str, ImageTensors] = {}

    @abstractmethod
    def read_training(self) -> tuple[Images, Images]:
        """Read the training images and the validation images."""

    @abstractmethod
    def read_test(self) -> Images:
        """Read the images that tuning never sees."""

    def setup(self, stage: str) -> None:
        """Read what the stage needs, unless it is there.

        Raises:
            DatasetError: a file is missing or broken.
        """
        if stage == "test":
            if "test" not in self._splits:
                self._splits["test"] = ImageTensors(*self.read_test())
        elif "train" not in self._splits:
            train, val = self.read_training()
            self._splits |= {"train": ImageTensors(*train), "val": ImageTensors(*val)}

    def train_dataloader(self) -> DataLoader[tuple[Tensor, Tensor]]:
        """Shuffled batches of ``batch_size``; the images left over sit this epoch out."""
        return DataLoader(
            self._splits["train"],
            batch_size=self.batch_size,
            shuffle=True,
            drop_last=True,
            num_workers=self.num_workers,
            collate_fn=_as_it_is,
        )

    def val_dataloader(self) -> DataLoader[tuple[Tensor, Tensor]]:
        """All validation images in a fixed order."""
        return self._evaluation_loader("val")

    def test_dataloader(self) -> DataLoader[tuple[Tensor, Tensor]]:
        """All test images in a fixed order."""
        return self._evaluation_loader("test")

    def _evaluation_loader(self, split: str) -> DataLoader[tuple[Tensor, Tensor]]:
        return DataLoader(
            self._splits[split],
            batch_size=self.eval_batch_size,
            num_workers=self.num_workers,
            collate_fn=_as_it_is,
        )

    def on_after_batch_transfer(
        self, batch: Images, dataloader_idx: int
    ) -> tuple[Float[Tensor, "n channel row column"], Int64[Tensor, " n"]]:
        """Augment where the trainer is training, then normalise, on the batch's own device."""
        images, labels = batch
        if self.trainer is not None and self.trainer.training:
            images = self.augment(images)
        return self.normalise(images), labels

    def augment(
        self, images: UInt8[Tensor, "n channel row column"]
    ) -> UInt8[Tensor, "n channel row column"]:
        """Shift each image by up to ``padding`` pixels each way, and mirror half where allowed."""
        n, device = len(images), images.device
        top, left = torch.randint(2 * self.padding + 1, (2, n), device=device)
        if self.flip:
            mirrored = torch.rand(n, device=device) < 0.5
        else:
            mirrored = torch.zeros(n, dtype=torch.bool, device=device)
        return crop(images, top, left, mirrored, self.padding)

    def normalise(
        self, images: UInt8[Tensor, "n channel row column"]
    ) -> Float[Tensor, "n channel row column"]:
        """Bring each channel to zero mean and unit spread over the training images."""
        mean = torch.tensor(self.mean, device=images.device)[:, None, None]
        std = torch.tensor(self.std, device=images.device)[:, None, None]
        return (images - mean) / std


class CIFAR10DataModule(ImageDataModule):
    """CIFAR-10 (Krizhevsky 2009): 50,000 training and 10,000 test images, 32×32 in colour.

    Validation images come from the head of the training batches, shuffled within each batch file;
    the training images follow them. So a larger ``train_size`` only adds images, leaves the
    validation images as they are, and small sizes need the first files only.

    Args:
        data_dir: folder with the python batches ``data_batch_1`` …, or with ``cifar-10-batches-py``
            in it; the same path on every node. None downloads the archive once per node, 170 MB.
        train_size: images to train on; None takes all that ``val_size`` leaves.
        val_size: images to validate on; more of them make a finer score and a slower epoch.
        batch_size: images per training step.
        num_workers: loader processes; 0 is fastest for images in memory.
        split_seed: decides which images validate; keep it fixed to compare runs.

    Raises:
        ValueError: the sizes do not fit each other or the 50,000 images.
    """

    mean = (125.31, 122.95, 113.87)
    std = (62.99, 62.09, 66.70)
    image_shape = (3, 32, 32)
    padding = 4
    flip = True

    train_files: ClassVar[tuple[str, ...]] = tuple(f"data_batch_{i}" for i in range(1, 6))
    test_file: ClassVar[str] = "test_batch"
    images_per_file: ClassVar[int] = 10_000

    def __init__(
        self,
        data_dir: str | Path | None = None,
        train_size: int | None = None,
        val_size: int = 5000,
        batch_size: int = 128,
        num_workers: int = 0,
        split_seed: int = 0,
    ) -> None:
        n_images = self.images_per_file * len(self.train_files)
        train_size = n_images - val_size if train_size is None else train_size
        if train_size + val_size > n_images:
            raise ValueError(
                f"train_size={train_size} and val_size={val_size} together exceed "
                f"CIFAR-10's {n_images} training images"
            )
        super().__init__(train_size, val_size, batch_size, num_workers, split_seed)
        self.data_dir = None if data_dir is None else Path(data_dir).expanduser()

    def prepare_data(self) -> None:
        """Download and unpack the archive, unless ``data_dir`` was given or it is there.

        Raises:
            DatasetError: no way to the archive, usually a machine without network.
        """
        if self.data_dir is None:
            _download(_cache())

    def read_training(self) -> tuple[Images, Images]:
        """Read as many batch files as the sizes need, and split them.

        Raises:
            DatasetError: one of these files is missing or broken.
        """
        n_files = -(-(self.train_size + self.val_size) // self.images_per_file)
        parts = self._read(
            self.train_files[:n_files], f"train_size={self.train_size}, val_size={self.val_size}"
        )
        images = torch.cat([part[0] for part in parts])
        labels = torch.cat([part[1] for part in parts])
        generator = torch.Generator().manual_seed(self.split_seed)
        order = torch.cat(
            [
                i * self.images_per_file + torch.randperm(self.images_per_file, generator=generator)
                for i in range(n_files)
            ]
        )
        return _split(images, labels, order, self.val_size, self.train_size)

    def read_test(self) -> Images:
        """Read the test batch.

        Raises:
            DatasetError: it is missing or broken.
        """
        return self._read([self.test_file], "testing")[0]

    def _read(self, names: Sequence[str], purpose: str) -> list[Images]:
        data_dir = _cache() if self.data_dir is None else self.data_dir
        folder = data_dir / CIFAR10_FOLDER
        folder = folder if folder.is_dir() else data_dir
        missing = [name for name in names if not (folder / name).is_file()]
        if missing:
            raise DatasetError(
                f"{folder} lacks {', '.join(missing)}, needed for {purpose}. Unpack {CIFAR10_URL} "
                f"and pass its folder {CIFAR10_FOLDER} as --data-dir, or ask for fewer images "
                "with --train-size, or take --dataset digits, which needs no files"
            )
        return [read_batch(folder / name, self.images_per_file) for name in names]


class DigitsDataModule(ImageDataModule):
    """scikit-learn's 1,797 handwritten digits, 8×8 in 17 shades of grey; comes with the package.

    They stay 8×8: the models average over whatever area is left, and 32×32 would cost 16 times as
    much for no new information. 297 images are kept for testing.

    Args:
        train_size: images to train on; None takes all that ``val_size`` leaves of 1,500.
        val_size: images to validate on.
        batch_size: images per training step.
        num_workers: loader processes; 0 is fastest for images in memory.
        split_seed: decides which images train, validate and test.

    Raises:
        ValueError: the sizes do not fit each other or the 1,500 images.
    """

    mean = (4.884,)
    std = (6.017,)
    image_shape = (1, 8, 8)
    padding = 1
    flip = False

    n_images: ClassVar[int] = 1797
    test_size: ClassVar[int] = 297

    def __init__(
        self,
        train_size: int | None = None,
        val_size: int = 500,
        batch_size: int = 64,
        num_workers: int = 0,
        split_seed: int = 0,
    ) -> None:
        n_left = self.n_images - self.test_size
        train_size = n_left - val_size if train_size is None else train_size
        if train_size + val_size > n_left:
            raise ValueError(
                f"train_size={train_size} and val_size={val_size} together exceed the "
                f"{n_left} digits that are not kept for testing"
            )
        super().__init__(train_size, val_size, batch_size, num_workers, split_seed)

    def read_training(self) -> tuple[Images, Images]:
        """Split the images that are not kept for testing."""
        images, labels, order = self._read()
        return _split(images, labels, order[self.test_size :], self.val_size, self.train_size)

    def read_test(self) -> Images:
        """Take the images kept for testing."""
        images, labels, order = self._read()
        return images[order[: self.test_size]], labels[order[: self.test_size]]

    def _read(self) -> tuple[Tensor, Tensor, Tensor]:
        from sklearn.datasets import load_digits

        digits: Any = load_digits()
        images = torch.from_numpy(digits.images.astype(np.uint8))[:, None]
        # Neighbours in the file were written by the same hand, so the split must shuffle.
        order = torch.randperm(
            self.n_images, generator=torch.Generator().manual_seed(self.split_seed)
        )
        return images, torch.from_numpy(digits.target).long(), order


def _split(
    images: Tensor, labels: Tensor, order: Tensor, val_size: int, train_size: int
) -> tuple[Images, Images]:
    val, train = order[:val_size], order[val_size : val_size + train_size]
    return (images[train], labels[train]), (images[val], labels[val])


class _BatchUnpickler(pickle.Unpickler):
    """Builds arrays and plain containers, and refuses every other name a pickle may ask for.

    A pickle can call any function it can import. The published batches need these three; the
    second spelling of the first is what NumPy 2 writes when somebody saves them again.
    """

    _allowed: ClassVar[dict[tuple[str, str], Any]] = {
        ("numpy.core.multiarray", "_reconstruct"): np.empty(0).__reduce__()[0],
        ("numpy._core.multiarray", "_reconstruct"): np.empty(0).__reduce__()[0],
        ("numpy", "ndarray"): np.ndarray,
        ("numpy", "dtype"): np.dtype,
    }

    def find_class(self, module_name: str, global_name: str) -> Any:
        """Look a name up in the list instead of importing it."""
        try:
            return self._allowed[module_name, global_name]
        except KeyError:
            raise pickle.UnpicklingError(
                f"it asks for {module_name}.{global_name}, which no CIFAR-10 batch needs"
            ) from None


def read_batch(path: Path, n_images: int = 10_000) -> Images:
    """Read one python batch file of CIFAR-10, trusting nothing in it.

    Args:
        path: the file.
        n_images: how many images it must hold.

    Raises:
        DatasetError: the file is cut short, or is not such a batch.
    """
    remedy = f"delete it and unpack {CIFAR10_URL} again"
    try:
        with path.open("rb") as file:
            content = _BatchUnpickler(file, encoding="bytes").load()
    # A broken pickle fails in whichever way its bytes happen to ask for.
    except Exception as error:
        raise DatasetError(
            f"{path} cannot be read as a CIFAR-10 batch: {error}; {remedy}"
        ) from error
    data = content.get(b"data") if isinstance(content, dict) else None
    labels = content.get(b"labels") if isinstance(content, dict) else None
    if not isinstance(data, np.ndarray) or not isinstance(labels, list):
        raise DatasetError(f"{path} is not a CIFAR-10 batch: it lacks data or labels; {remedy}")
    if data.dtype != np.uint8 or data.shape != (n_images, 3072) or len(labels) != n_images:
        raise DatasetError(
            f"{path} holds {len(labels)} labels and {data.dtype} images of shape {data.shape}, "
            f"not {n_images} labels and uint8 images of shape {(n_images, 3072)}; {remedy}"
        )
    if any(not isinstance(label, int) or not 0 <= label < 10 for label in labels):
        raise DatasetError(f"{path} holds labels other than 0 … 9; {remedy}")
    return torch.from_numpy(data).view(-1, 3, 32, 32), torch.tensor(labels)


def _cache() -> Path:
    # Imported where it is used, so nodes that share a data_dir do without the download's packages.
    try:
        import pooch
    except ModuleNotFoundError as error:
        raise DatasetError(
            "downloading CIFAR-10 needs pooch and tqdm: pip install 'tune-seeds[experiments]', "
            "or pass --data-dir with the batches, or take --dataset digits"
        ) from error
    return Path(pooch.os_cache("tune_seeds"))


def _download(cache: Path) -> None:
    import pooch

    try:
        cache.mkdir(parents=True, exist_ok=True)
        # Every run of a node prepares its data, and many start at once.
        with FileLock(cache / "cifar-10.lock"):
            if (cache / CIFAR10_FOLDER).is_dir():
                return
            archive = pooch.retrieve(
                CIFAR10_URL,
                known_hash=f"md5:{CIFAR10_MD5}",
                fname="cifar-10-python.tar.gz",
                path=cache,
                downloader=pooch.HTTPDownloader(progressbar=True),
            )
            # Renamed when whole, so a killed process leaves no half-unpacked folder behind.
            with tempfile.TemporaryDirectory(dir=cache) as unpacked:
                with tarfile.open(archive) as tar:
                    tar.extractall(unpacked, filter="data")
                (Path(unpacked) / CIFAR10_FOLDER).rename(cache / CIFAR10_FOLDER)
    # OSError covers the network's errors and the disk's, ValueError a wrong checksum.
    except (OSError, ValueError, tarfile.TarError) as error:
        raise DatasetError(
            f"CIFAR-10 could not be downloaded from {CIFAR10_URL} to {cache}: {error}. Unpack the "
            "archive by hand and pass its folder as --data-dir, or take --dataset digits, which "
            "needs no download"
        ) from error
