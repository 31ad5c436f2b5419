"""What a training run says that was stopped by Ctrl-C."""

from pathlib import Path


class Interrupted(KeyboardInterrupt):
    """Ctrl-C during training: the step was finished and saved first."""

    def __init__(self, folder: Path | None, step: int):
        where = f", saved in {folder}" if folder else ", not saved (no run folder)"
        super().__init__(f"interrupted after step {step:,}{where}")
        self.folder, self.step = folder, step
