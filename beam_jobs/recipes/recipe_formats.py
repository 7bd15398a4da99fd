"""Recipes that are given, where others are drawn: one small module for each format of files."""

from beam_jobs.recipes import librimix_csv, recipe_jsonl, spleeter_csv
from beam_jobs.recipes.recipe_format import RecipeFormat

FORMATS: tuple[RecipeFormat, ...] = (recipe_jsonl, librimix_csv, spleeter_csv)
