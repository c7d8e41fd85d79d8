"""List every category of the demo corpus. A change of the list or its order changes the objects of every seed."""

from stages.corpus.categories import (
    buildings,
    craft,
    food,
    furniture,
    household,
    kitchen,
    nature,
    road,
    tools,
    toys,
)
from stages.corpus.draw import Category

CATEGORIES: tuple[Category, ...] = (
    *furniture.CATEGORIES,
    *kitchen.CATEGORIES,
    *household.CATEGORIES,
    *road.CATEGORIES,
    *craft.CATEGORIES,
    *buildings.CATEGORIES,
    *nature.CATEGORIES,
    *toys.CATEGORIES,
    *tools.CATEGORIES,
    *food.CATEGORIES,
)
