"""The loaders that Lightning asks for."""

from __future__ import annotations

import torch
from lightning import LightningDataModule
from torch.utils.data import DataLoader

from ..config import DataConfig
from ..loading import TrainingLoader, TrainingOrder, evaluation_loader, open_split
from ..structures import Clip


class ClipDataModule(LightningDataModule):
    """Training batches as one long sequence over all epochs, so that it can be resumed anywhere; validation clips.

    Args:
        config: the data.
        batches: training batches in all.
    """

    def __init__(self, config: DataConfig, *, batches: int) -> None:
        super().__init__()
        self.config, self.batches = config, batches
        self.dataset = open_split(config, "train")

    def order(self, rank: int = 0, ranks: int = 1) -> TrainingOrder:
        """The cues of one of ``ranks`` processes."""
        return TrainingOrder(self.config, self.dataset.weights, steps=self.batches, rank=rank, ranks=ranks)

    def train_dataloader(self) -> TrainingLoader:
        return TrainingLoader(self.dataset, self.order(*self._place), workers=self.config.workers)

    def val_dataloader(self) -> DataLoader[Clip]:
        rank, ranks = self._place
        return evaluation_loader(self.config, "validation", rank=rank, ranks=ranks)

    @property
    def _place(self) -> tuple[int, int]:
        """The number of this process, and how many there are."""
        assert self.trainer is not None
        return self.trainer.global_rank, self.trainer.world_size

    def transfer_batch_to_device(self, batch: Clip, device: torch.device, dataloader_idx: int) -> Clip:
        return batch.to(device)
