"""One model trained by several processes, the ranks: each takes its share of every batch.

    mpiexec -n 2 minigen train vae --ranks mpi
    with ranks.opened("mpi") as team:                   # in a script of one's own, started the same way
        train(model, dataset, ..., ranks=team)

`Communicator` is what the ranks say to each other (communicator.py, mpi.py, nccl.py), `Share` which images of a batch
are whose (share.py), `Rows` how a random number finds its image (rows.py). The loss of a batch is a mean over its
images; so is its gradient: the mean of the shares' gradients, weighted by their sizes. Batch statistics are the one
thing that looks across images, and are made of all ranks' (norm.py). The numbers are one process's, to rounding.
"""

from minigen.ranks.agreement import agree, exchange, first, once, total
from minigen.ranks.communicator import Communicator
from minigen.ranks.session import opened, take_device
from minigen.ranks.share import Share, current, cut, sharing

__all__ = [
    "Communicator",
    "Share",
    "agree",
    "current",
    "cut",
    "exchange",
    "first",
    "once",
    "opened",
    "sharing",
    "take_device",
    "total",
]
