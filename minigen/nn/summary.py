"""How a module prints: one line for each part, with its settings, its tensors' shapes and its parameter count."""

from typing import Any


def summary(module: Any) -> str:
    """
    Sequential  15,724 parameters
      layers.0  Dense                 W (784, 20)  b (20,)  15,700
      layers.1  LeakyReLU(slope=0.1)
    """
    tensors = _owned(module)
    rows = [(name, _title(part), tensors[name], _count(part)) for name, part in module.named_modules()]
    first = "  ".join(filter(None, (*rows[0][1:3], f"{rows[0][3] or 0} parameters")))
    names, titles, shapes, counts = (
        max(map(len, column)) for column in zip(*(rows[1:] or rows), strict=True)
    )
    return "\n".join(
        [
            first,
            *(
                f"  {name:{names}}  {title:{titles}}  {shape:{shapes}}  {count:>{counts}}".rstrip()
                for name, title, shape, count in rows[1:]
            ),
        ]
    )


def _owned(module: Any) -> dict[str, str]:
    """For each part, by name: the tensors that belong to it and to no part inside it."""
    owned: dict[str, list[str]] = {name: [] for name, _ in module.named_modules()}
    for name, t in [*module.named_parameters(), *module.named_buffers()]:
        owner = name.rpartition(".")[0]
        while owner not in owned:  # a tensor in a list belongs to the module that holds the list
            owner = owner.rpartition(".")[0]
        note = "" if t.requires_grad else " (no gradient)"
        owned[owner].append(f"{name[len(owner) :].lstrip('.')} {tuple(t.shape)}{note}")
    return {name: "  ".join(found) for name, found in owned.items()}


def _title(part: Any) -> str:
    """The class, and the settings among its attributes."""
    settings = ", ".join(
        f"{name}={value}"
        for name, value in vars(part).items()
        if isinstance(value, int | float | str) and name != "training" and not name.startswith("_")
    )
    return type(part).__name__ + (f"({settings})" if settings else "")


def _count(part: Any) -> str:
    count = sum(p.size for p in part.parameters())
    return f"{count:,}" if count else ""
