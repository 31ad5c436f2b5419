"""What options may be: functions for argparse's `type=`, whose refusals say what was expected."""

from __future__ import annotations

import argparse


def count(text: str) -> int:
    """'12' -> 12, from 1 on"""
    return _whole(text, 1)


def seed(text: str) -> int:
    """'0' -> 0, from 0 on"""
    return _whole(text, 0)


def seconds(text: str) -> float:
    """'1.5' -> 1.5, above 0"""
    try:
        number = float(text)
    except ValueError:
        number = 0.0
    if not 0 < number < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r} is no time limit, expected seconds above 0")
    return number


def _whole(text: str, least: int) -> int:
    try:
        number = int(text)
    except ValueError:
        number = least - 1
    if number < least:
        raise argparse.ArgumentTypeError(f"{text!r} will not do, expected a whole number from {least} on")
    return number
