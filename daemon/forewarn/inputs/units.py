"""Units of temperature as devices write them, and readings in the unit that is wanted."""

from functools import lru_cache

from forewarn.core.conversions import CONVERSIONS, Conversion

_SPELLINGS = {
    "°C": ("°c", "c", "cel", "degc", "celsius", "℃"),
    "°F": ("°f", "f", "far", "degf", "fahrenheit", "℉"),
    "K": ("k", "kelvin"),
}
_UNITS = {spelling: unit for unit, spellings in _SPELLINGS.items() for spelling in spellings}
_CONVERSIONS = {conversion.name: conversion for conversion in CONVERSIONS}


@lru_cache(1024)
def conversion(declared: str, wanted: str) -> Conversion | None:
    """From a device's unit to the one that is wanted; None where both are the same or one is no temperature's."""
    here, there = (_UNITS.get(unit.strip().lower()) for unit in (declared, wanted))
    return _CONVERSIONS.get(f"{here} to {there}")
