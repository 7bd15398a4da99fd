"""Exporting datasets, and what is in them."""

from beam_jobs import export_audio
from beam_jobs.dataset.reading import open_dataset, read_mixtures


def export(dataset, output, layout, *arguments):
    """Runs the command in this process and returns its exit status."""
    return export_audio.main(
        [f"--dataset={dataset}", f"--output={output}", f"--layout={layout}", *arguments]
    )


def stored(folder):
    """Returns the mixtures of a dataset, by their ids."""
    described = open_dataset(str(folder))
    return {
        mixture.recipe.id: mixture
        for info in described.shards
        for mixture in read_mixtures(str(folder), described, info)
    }
