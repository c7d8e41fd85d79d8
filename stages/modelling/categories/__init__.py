"""Every category of the demo corpus. The order is part of the corpus: a new one changes what the seeds give."""

from stages.modelling.categories import buildings, food, furniture, household, kitchen, nature, tools, toys, vehicles
from stages.modelling.draw import Category

CATEGORIES: tuple[Category, ...] = (
    *furniture.CATEGORIES,
    *kitchen.CATEGORIES,
    *household.CATEGORIES,
    *vehicles.CATEGORIES,
    *buildings.CATEGORIES,
    *nature.CATEGORIES,
    *toys.CATEGORIES,
    *tools.CATEGORIES,
    *food.CATEGORIES,
)
