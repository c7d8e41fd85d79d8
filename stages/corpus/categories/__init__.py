"""Every category of the demo corpus. The order is part of the corpus: a new one changes what the seeds give."""

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
