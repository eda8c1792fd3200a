"""Plain PyTorch on a frozen plan, resumable at any step on any number of ranks.

    windtunnel mixture plan recipes/tiny.yaml --output plan.json
    python examples/plain_torch/train.py --plan plan.json --shards web-en=FOLDER code=FOLDER …
        --out out --until-step 6
    torchrun --nproc-per-node 4 examples/plain_torch/train.py …    # goes on where the other stopped

``out/tokens.log`` has the digest of the tokens that all ranks consumed at each step; stops and
another number of ranks change nothing.
"""

import argparse
import os
from pathlib import Path
from signal import SIG_IGN, SIGTERM, signal

import torch
import torch.distributed as dist
import xxhash
from safetensors import safe_open
from safetensors.torch import save_file
from torch import nn
from torch.utils.data import DataLoader

from mixtures.loader.dataset import PlanDataset
from mixtures.order.sound_plan import load_plan

WIDTH, HEADS, LAYERS = 64, 4, 2


class Tiny(nn.Module):
    """A transformer over packed windows: attention stays in its document, positions begin anew with
    each. Tokens are (B, T).
    """

    def __init__(self, vocab: int, longest: int) -> None:
        super().__init__()
        self.token, self.place = nn.Embedding(vocab, WIDTH), nn.Embedding(longest, WIDTH)
        layer = nn.TransformerEncoderLayer(
            WIDTH, HEADS, 4 * WIDTH, dropout=0.0, batch_first=True, norm_first=True
        )
        self.layers = nn.TransformerEncoder(layer, LAYERS, enable_nested_tensor=False)
        self.head = nn.Linear(WIDTH, vocab, bias=False)

    def forward(self, tokens, positions, documents):
        other = documents[:, :, None] != documents[:, None, :]  # (B, T, T)
        ahead = torch.ones_like(other[0]).triu(1)
        # (B * HEADS, T, T), True where attention must not look
        mask = (other | ahead).repeat_interleave(HEADS, 0)
        return self.head(self.layers(self.token(tokens) + self.place(positions), mask=mask))


def update(model, optimizer, item, stop):
    """One step over all ranks' windows. Returns the loss per target, and whether some rank was
    asked to stop.
    """
    logits = model(item["tokens"], item["positions"], item["documents"])  # (B, T, V)
    # (B, T)
    nats = nn.functional.cross_entropy(
        logits.transpose(1, 2), item["targets"].long(), reduction="none"
    )
    (nats * item["weights"]).sum().backward()
    sums = torch.tensor(
        [(nats * item["weights"]).sum().item(), item["weights"].sum().item(), float(stop)]
    )
    everywhere = dist.all_reduce if dist.is_initialized() else lambda tensor: None
    everywhere(sums)
    for parameter in model.parameters():
        everywhere(parameter.grad)
        # a mean over the targets of the whole batch, however it is divided
        parameter.grad /= max(sums[1].item(), 1.0)
    optimizer.step()
    optimizer.zero_grad()
    return (sums[0] / sums[1]).item(), bool(sums[2])


def consumed(item, world_size):
    shares = [item["tokens"].numpy().tobytes()] * world_size  # of all ranks, in rank order
    if world_size > 1:
        dist.all_gather_object(shares, shares[0])
    return xxhash.xxh3_128_hexdigest(b"".join(shares))


def save(path, model, optimizer, step, plan):
    moments = {
        f"{name}.{key}": optimizer.state[value][key]
        for name, value in model.named_parameters()
        for key in optimizer.state[value]
    }
    save_file(
        {**dict(model.named_parameters()), **moments},
        f"{path}.new",
        {"step": str(step), "plan": plan.hash},
    )
    os.replace(f"{path}.new", path)


def load(path, model, optimizer, plan):
    with safe_open(path, "pt") as file:
        step, tensors = (
            int(file.metadata()["step"]),
            {name: file.get_tensor(name) for name in file.keys()},  # noqa: SIM118 - no dict
        )
        assert plan.agrees_with(file.metadata()["plan"], step), "the checkpoint is of another plan"
    for name, value in model.named_parameters():
        value.data.copy_(tensors[name])
        optimizer.state[value] = {
            key: tensors[f"{name}.{key}"] for key in ("step", "exp_avg", "exp_avg_sq")
        }
    return step


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--plan", required=True, type=load_plan)
    parser.add_argument("--shards", required=True, nargs="+", metavar="SOURCE=FOLDER")
    parser.add_argument("--out", required=True, type=Path)
    parser.add_argument("--until-step", type=int)
    options = parser.parse_args()
    rank, world_size, asked = (
        int(os.environ.get("RANK", 0)),
        int(os.environ.get("WORLD_SIZE", 1)),
        [],
    )
    if world_size > 1:
        dist.init_process_group("gloo")
    # the step is finished; processes that read ahead ignore it
    signal(SIGTERM, lambda number, frame: asked.append(number))
    torch.manual_seed(1)
    model = Tiny(
        options.plan.sources[0].vocab_size,
        max(context.sequence_length for context in options.plan.contexts),
    )
    optimizer = torch.optim.AdamW(model.parameters(), 1e-3, foreach=False)
    path, log = options.out / "checkpoint.safetensors", options.out / "tokens.log"
    step = load(path, model, optimizer, options.plan) if path.exists() else 0
    if rank == 0:
        options.out.mkdir(parents=True, exist_ok=True)
        # later steps are made again
        log.write_text("".join(log.read_text().splitlines(True)[:step]) if log.exists() else "")
    dataset = PlanDataset(
        options.plan, dict(pair.split("=", 1) for pair in options.shards), rank, world_size
    )
    steps = range(step, min(options.until_step or len(dataset), len(dataset)))
    for item in DataLoader(
        dataset,
        batch_size=None,
        sampler=steps,
        num_workers=1,
        worker_init_fn=lambda _: signal(SIGTERM, SIG_IGN),
    ):
        digest, (loss, stopped) = (
            consumed(item, world_size),
            update(model, optimizer, item, bool(asked)),
        )
        step += 1
        if rank == 0:
            with log.open("a") as out:
                out.write(f"{step} {digest}\n")
            print(f"step {step} loss {loss:.4f}", flush=True)
        if stopped:
            break
    if rank == 0:
        save(path, model, optimizer, step, options.plan)


if __name__ == "__main__":
    main()
