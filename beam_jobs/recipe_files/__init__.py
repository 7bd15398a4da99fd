"""Recipes that are given, where others are drawn: one small module for each format of files."""

from beam_jobs.recipe_files import librimix, recipe_jsonl, spleeter_csv
from beam_jobs.recipe_files.format import RecipeFormat

FORMATS: tuple[RecipeFormat, ...] = (recipe_jsonl, librimix, spleeter_csv)
