"""What a film costs on a rented machine: its frames by the frames a second that were measured, at a price an hour."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from restore_utils.errors import OptionError


def cost(frames: float, rate: float, price: float) -> float:
    """Of so many frames, in the currency of the price.

    Args:
        rate: frames a second.
        price: of an hour of the machine.

    Raises:
        OptionError: a rate or a price that cannot be.
    """
    if not rate > 0 or not price >= 0:
        raise OptionError(f"a price of {price:g} an hour at {rate:g} frames per second cannot be: give both above 0")
    return frames / rate / 3600 * price


def written(amount: float) -> str:
    """An amount of money: two digits of what is below a hundredth, else hundredths."""
    return f"{amount:.2f}" if amount >= 0.1 or not amount else f"{amount:.2g}"


def cost_lines(frames: int, left: int, rates: Mapping[str, float], price: float) -> Iterator[str]:
    """What a film costs, and what is left of it, by each of several measured speeds.

    Args:
        frames, left: of the film, and those of them that are still to be made.
        rates: frames a second, by the name of the worker or the device that makes them.
        price: of an hour of one of these.

    Raises:
        OptionError: a price or a rate that cannot be; or nobody has made anything yet.
    """
    measured = {name: rate for name, rate in rates.items() if rate}
    if not measured:
        raise OptionError("no speed is known yet to work a price out by: say it with --rate, in frames per second")
    for name, rate in sorted(measured.items()):
        whole, rest = (written(cost(count, rate, price)) for count in (frames, left))
        yield (
            f"{name}: {rate:.2f} frames per second at {price:g} an hour: {frames} frames cost {whole}"
            + (f", the {left} that are left {rest}" if 0 < left < frames else "")
        )
